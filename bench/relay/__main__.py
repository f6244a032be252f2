"""The cost of the gateway's daily work, beside a relay in C: `make bench-relay`, or parts of it.

Rows are measured one after another, again and again (A B C, A B C), on one core each.
"""

import argparse
import json
import signal
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from bench.relay.figures import CALLS, CODEC, COUNTED, IDLE, SATURATED, USUAL_CALLS, paced
from bench.relay.gateways import ALONE, GATEWAY, GATEWAYS, NATIVE, Gateway
from bench.relay.hit_rate import hit_rate
from bench.relay.instructions import count_instructions
from bench.relay.loads import Load, measure
from bench.relay.processes import BenchError
from bench.relay.table import table


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to measure a row."""

    measure: Callable[[Gateway], Mapping[str, Any]]
    rows: Collection[str] = tuple(gateway.name for gateway in GATEWAYS)
    once: bool = False
    """Further rounds would say the same."""


GROWING: Final = (NATIVE, GATEWAY, ALONE)
"""The rows that are measured with more than the usual number of calls; the others do not hold them all."""

KINDS: Final[Mapping[str, Kind]] = {
    COUNTED: Kind(lambda gateway: asdict(count_instructions(gateway)), once=True),
    CODEC: Kind(lambda _: hit_rate(), rows=(GATEWAY,), once=True),
    SATURATED: Kind(partial(measure, load=Load("saturate", 16, 4, warmup_s=1.5))),
    IDLE: Kind(partial(measure, load=Load("idle", 200, 3, drain_s=0)), once=True),
    paced(USUAL_CALLS): Kind(partial(measure, load=Load("paced", USUAL_CALLS, 6))),
    **{
        paced(calls): Kind(partial(measure, load=Load("paced", calls, 6)), rows=GROWING)
        for calls in CALLS
        if calls != USUAL_CALLS
    },
}


def main() -> None:
    """Measure and print the table."""
    names = [gateway.name for gateway in GATEWAYS]
    parser = argparse.ArgumentParser(prog="python -m bench.relay", description=__doc__)
    parser.add_argument(
        "--rows", nargs="+", choices=names, default=names, metavar="ROW", help=", ".join(names)
    )
    parser.add_argument(
        "--kinds", nargs="*", choices=KINDS, default=list(KINDS), help="what to measure; none: nothing"
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often; instructions and idle calls: once")
    parser.add_argument("--record", type=Path, help="append to this file, and show everything that is in it")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is ended
    measured: list[Mapping[str, Any]] = []
    if arguments.record and arguments.record.exists():
        measured = [json.loads(line) for line in arguments.record.read_text().splitlines()]
    for name in arguments.kinds:
        kind = KINDS[name]
        for _ in range(1 if kind.once else arguments.rounds):
            for gateway in GATEWAYS:
                if gateway.name in arguments.rows and gateway.name in kind.rows:
                    measured.append(_measurement(gateway, name))
                    if arguments.record:
                        with arguments.record.open("a") as record:
                            record.write(json.dumps(measured[-1]) + "\n")
    sys.stdout.write(table(measured) + "\n")


def _measurement(gateway: Gateway, kind: str) -> Mapping[str, Any]:
    figures: Mapping[str, Any]
    try:
        figures = KINDS[kind].measure(gateway)
    except BenchError as error:
        figures = {"error": str(error)}
    sys.stderr.write(f"{kind}, {gateway.name}: {_brief(figures)}\n")
    return {"at": datetime.now(UTC).isoformat(), "row": gateway.name, "kind": kind, "figures": figures}


def _brief(figures: Mapping[str, Any]) -> str:
    names = (
        "error",
        "per_frame",
        "pace",
        "hits_percent",
        "cpu_ms_per_session_s",
        "cpu_us_per_up",
        "rss_kib_per_session",
        "gen_share",
    )
    known = [f"{name} {figures[name]}" for name in names if name in figures]
    return ", ".join(known) + (f", p99 {figures['both']['p99_ms']} ms" if "both" in figures else "")


if __name__ == "__main__":
    main()
