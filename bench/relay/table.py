"""The table, in Markdown, and below it what falls short."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from bench.relay.figures import CALLS, CPU, FIGURES, Figure, Measurements, paced
from bench.relay.gateways import GATEWAY, NATIVE

NOISE: Final = 1.05
"""CPU time of the same program differs this much from one run to the next."""
WELL_PACED: Final = 0.9
MOST_LOAD: Final = 0.7
"""Above this share of a core the load generator is the limit."""


def table(measured: Measurements) -> str:
    """A line for each figure that was measured, a column for each row."""
    rows = list(dict.fromkeys(str(measurement["row"]) for measurement in measured))
    kinds = {measurement["kind"] for measurement in measured}
    figures = [figure for figure in FIGURES if figure.kind in kinds]
    lines = [["", "goal", *rows], ["---"] * (len(rows) + 2)]
    lines += [
        [figure.label, figure.goal(), *(_cell(figure, measured, row) for row in rows)] for figure in figures
    ]
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    short = [sentence for figure in figures for sentence in figure.shortfalls(measured)]
    short += [*_rising(measured), *_errors(measured)]
    return (
        text
        + "\n\n"
        + ("\n".join(f"- {sentence}" for sentence in short) or "Every goal that was measured is reached.")
    )


def _cell(figure: Figure, measured: Measurements, row: str) -> str:
    value, ratio = figure.of(measured, row), figure.ratio(measured, row)
    if value is None:
        return "-"
    shown = f"{value:,.{figure.digits}f}"
    return shown if ratio is None or row == NATIVE else f"{shown} ({ratio:.1f} x)"


def _rising(measured: Measurements) -> Iterator[str]:
    """Where the cost of a call is above that at fewer calls."""
    costs = [(calls, Figure("", paced(calls), CPU).of(measured, GATEWAY)) for calls in CALLS]
    known = [(calls, cost) for calls, cost in costs if cost is not None]
    for (fewer, before), (more, after) in pairwise(known):
        if after > before * NOISE:
            yield f"{GATEWAY}: a call costs {after:.2f} ms at {more} calls, {before:.2f} ms at {fewer}"


def _errors(measured: Measurements) -> Iterator[str]:
    """What could not be measured, and what was measured badly."""
    for measurement in measured:
        figures = measurement["figures"]
        where = f"{measurement['row']}, {measurement['kind']}"
        if "error" in figures:
            yield f"{where}: {figures['error']}"
        if figures.get("pace", 1) < WELL_PACED:
            yield f"{where}: only {figures['pace']:.0%} of the frames kept their pace"
        if figures.get("gen_share", 0) > MOST_LOAD:
            yield f"{where}: the load generator was busy {figures['gen_share']:.0%} of the time"
