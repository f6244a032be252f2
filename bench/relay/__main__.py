"""The cost of the gateway's daily work, beside a relay in C: `make bench-relay`, or parts of it.

Rows are measured one after another, again and again (A B C, A B C), on one core each.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench.relay.figures import CALLS, COUNTED, IDLE, SATURATED, USUAL_CALLS, paced
from bench.relay.gateways import ALONE, GATEWAY, GATEWAYS, NATIVE, Gateway
from bench.relay.instructions import count_instructions
from bench.relay.loads import Load, measure
from bench.relay.processes import BenchError
from bench.relay.table import table

LOADS: Final[Mapping[str, Load]] = {
    **{paced(calls): Load("paced", calls, 6) for calls in CALLS},
    SATURATED: Load("saturate", 16, 4, warmup_s=1.5),
    IDLE: Load("idle", 200, 3, drain_s=0),
}
KINDS: Final = [COUNTED, *LOADS]
GROWING: Final = [NATIVE, GATEWAY, ALONE]
"""The rows that are measured with more than the usual number of calls; the others do not hold them all."""


def main() -> None:
    """Measure and print the table."""
    names = [gateway.name for gateway in GATEWAYS]
    parser = argparse.ArgumentParser(prog="python -m bench.relay", description=__doc__)
    parser.add_argument(
        "--rows", nargs="+", choices=names, default=names, metavar="ROW", help=", ".join(names)
    )
    parser.add_argument(
        "--kinds", nargs="*", choices=KINDS, default=KINDS, help="what to measure; none: nothing"
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often; instructions and idle calls: once")
    parser.add_argument("--record", type=Path, help="append to this file, and show everything that is in it")
    arguments = parser.parse_args()
    measured: list[Mapping[str, Any]] = []
    if arguments.record and arguments.record.exists():
        measured = [json.loads(line) for line in arguments.record.read_text().splitlines()]
    for kind in arguments.kinds:
        for _ in range(1 if kind in (COUNTED, IDLE) else arguments.rounds):
            for gateway in GATEWAYS:
                if gateway.name in arguments.rows and _holds(gateway, kind):
                    measured.append(_measurement(gateway, kind))
                    if arguments.record:
                        with arguments.record.open("a") as record:
                            record.write(json.dumps(measured[-1]) + "\n")
    sys.stdout.write(table(measured) + "\n")


def _holds(gateway: Gateway, kind: str) -> bool:
    return kind not in map(paced, CALLS) or kind == paced(USUAL_CALLS) or gateway.name in GROWING


def _measurement(gateway: Gateway, kind: str) -> Mapping[str, Any]:
    try:
        figures = asdict(count_instructions(gateway)) if kind == COUNTED else measure(gateway, LOADS[kind])
    except BenchError as error:
        figures = {"error": str(error)}
    sys.stderr.write(f"{kind}, {gateway.name}: {_brief(figures)}\n")
    return {"at": datetime.now(UTC).isoformat(), "row": gateway.name, "kind": kind, "figures": figures}


def _brief(figures: Mapping[str, Any]) -> str:
    names = (
        "error",
        "per_frame",
        "pace",
        "cpu_ms_per_session_s",
        "cpu_us_per_up",
        "rss_kib_per_session",
        "gen_share",
    )
    known = [f"{name} {figures[name]}" for name in names if name in figures]
    return ", ".join(known) + (f", p99 {figures['both']['p99_ms']} ms" if "both" in figures else "")


if __name__ == "__main__":
    main()
