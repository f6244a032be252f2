"""The cost of the gateway's daily work, beside a relay in C: `python -m bench.relay`."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from bench.relay.gateways import GATEWAYS, Gateway
from bench.relay.instructions import count_instructions
from bench.relay.loads import Load, measure
from bench.relay.processes import BenchError
from bench.relay.table import table

CALLS: Final = 40
SWEEP: Final = (10, 100, 200)
IDLE_CALLS: Final = 200
SATURATING_CALLS: Final = 16

Kind = Callable[[Gateway], Mapping[str, Any]]

KINDS: Final[Mapping[str, Kind]] = {
    "instructions": lambda gateway: asdict(count_instructions(gateway)),
    "paced": lambda gateway: measure(gateway, Load("paced", CALLS, 6)),
    "saturated": lambda gateway: measure(gateway, Load("saturate", SATURATING_CALLS, 3.6, warmup_s=1.5)),
    "idle": lambda gateway: measure(gateway, Load("idle", IDLE_CALLS, 3, drain_s=0)),
    **{f"paced-{calls}": partial(measure, load=Load("paced", calls, 6)) for calls in SWEEP},
}


def main() -> None:
    """Measure row by row, interleaved over the rounds, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.relay", description=__doc__)
    names = [gateway.name for gateway in GATEWAYS]
    parser.add_argument(
        "--rows", nargs="+", choices=names, default=names, metavar="ROW", help=", ".join(names)
    )
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument(
        "--rounds", type=int, default=2, help="how often each row is measured (instructions: once)"
    )
    parser.add_argument(
        "--record", type=Path, help="append every measurement to this file, and show all that is in it"
    )
    arguments = parser.parse_args()
    measured = []
    if arguments.record and arguments.record.exists():
        measured = [json.loads(line) for line in arguments.record.read_text().splitlines()]
    for kind in arguments.kinds:
        for number in range(1 if kind == "instructions" else arguments.rounds):
            for gateway in GATEWAYS:
                if gateway.name in arguments.rows:
                    measured.append(_measurement(kind, number, gateway))
                    if arguments.record:
                        with arguments.record.open("a") as record:
                            record.write(json.dumps(measured[-1]) + "\n")
    sys.stdout.write(table(measured) + "\n")


def _measurement(kind: str, number: int, gateway: Gateway) -> Mapping[str, Any]:
    try:
        figures: Mapping[str, Any] = KINDS[kind](gateway)
    except BenchError as error:
        figures = {"error": str(error)}
    sys.stderr.write(f"{kind} {number + 1} {gateway.name}: {_brief(figures)}\n")
    return {"at": datetime.now(UTC).isoformat(), "row": gateway.name, "kind": kind, "figures": figures}


def _brief(figures: Mapping[str, Any]) -> str:
    names = (
        "error",
        "per_frame",
        "pace",
        "cpu_ms_per_session_s",
        "cpu_us_per_up",
        "rss_kib_per_session",
        "lost",
        "gen_share",
    )
    known = [f"{name} {figures[name]}" for name in names if name in figures]
    return ", ".join(known) + (f", p99 {figures['both']['p99_ms']} ms" if "both" in figures else "")


if __name__ == "__main__":
    main()
