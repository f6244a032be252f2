"""The table of the figures, each beside the native relay's of the same run."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.relay.gateways import NATIVE

Measurements = Sequence[Mapping[str, Any]]


def median(measured: Measurements, row: str, kind: str, *path: str) -> float | None:
    """The median over the rounds of one figure of one row."""
    values = []
    for measurement in measured:
        if (measurement["row"], measurement["kind"]) == (row, kind):
            figure: Any = measurement["figures"]
            for name in path:
                figure = figure.get(name) if isinstance(figure, Mapping) else None
            if figure is not None:
                values.append(float(figure))
    return statistics.median(values) if values else None


def table(measured: Measurements) -> str:
    """Markdown: a line for each figure, a column for each row measured."""
    rows = list(dict.fromkeys(str(measurement["row"]) for measurement in measured))
    lines = [["figure", *rows]]
    figures: list[tuple[str, tuple[str, ...], int, bool]] = [
        ("instructions / 20 ms frame", ("instructions", "per_frame"), 0, True),
        ("CPU ms / call-second", ("paced", "cpu_ms_per_session_s"), 2, True),
        ("saturated CPU µs / frame", ("saturated", "cpu_us_per_up"), 1, True),
        ("p50 added ms", ("paced", "both", "p50_ms"), 2, True),
        ("p99 added ms", ("paced", "both", "p99_ms"), 2, True),
        ("p99.9 added ms", ("paced", "both", "p999_ms"), 2, True),
        ("lost", ("paced", "lost"), 0, False),
        ("reordered", ("paced", "reordered"), 0, False),
        ("KiB / idle call", ("idle", "rss_kib_per_session"), 0, False),
        ("KiB / busy call", ("paced", "rss_kib_per_session"), 0, False),
        ("CPU ms / call-second, 10 calls", ("paced-10", "cpu_ms_per_session_s"), 2, True),
        ("CPU ms / call-second, 100 calls", ("paced-100", "cpu_ms_per_session_s"), 2, True),
        ("CPU ms / call-second, 200 calls", ("paced-200", "cpu_ms_per_session_s"), 2, True),
    ]
    kinds = {measurement["kind"] for measurement in measured}
    for label, path, digits, has_ratio in figures:
        if path[0] not in kinds:
            continue
        native = median(measured, NATIVE, *path)
        cells = [label]
        for row in rows:
            value = median(measured, row, *path)
            cell = "-" if value is None else f"{value:,.{digits}f}"
            if value is not None and native and has_ratio and row != NATIVE:
                cell += f" (x {value / native:.1f})"
            cells.append(cell)
        lines.append(cells)
    return "\n".join(_markdown(lines))


def _markdown(lines: Sequence[Sequence[str]]) -> Iterable[str]:
    for index, cells in enumerate(lines):
        yield f"| {' | '.join(cells)} |"
        if index == 0:
            yield "|---" * len(cells) + "|"
