"""The figures of the table and their goals. Each is read beside the native relay's of the same run."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bench.relay.gateways import ALONE, GATEWAY, NATIVE

Measurements = Sequence[Mapping[str, Any]]

COUNTED: Final = "instructions"
CODEC: Final = "codec"
SATURATED: Final = "saturated"
IDLE: Final = "idle"
CALLS: Final = (10, 40, 100, 200)
"""The cost of a call at each of these must not be above that at the one before."""
USUAL_CALLS: Final = 40
MOST_CALLS: Final = CALLS[-1]


def paced(calls: int) -> str:
    """The kind of measurement with so many calls at their usual pace."""
    return f"paced-{calls}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `goals` are bounds for each row, on the ratio where one is shown."""

    label: str
    kind: str
    path: tuple[str, ...]
    digits: int = 0
    has_ratio: bool = False
    per_core: bool = False
    """The figure is milliseconds of a core per call-second; shown is how many calls fill a core."""
    at_least: bool = False
    """Whether the goals are lower bounds."""
    goals: Mapping[str, float] = field(default_factory=dict)

    def of(self, measured: Measurements, row: str) -> float | None:
        """The median over the rounds; None where it was not measured."""
        found = []
        for measurement in measured:
            if (measurement["row"], measurement["kind"]) != (row, self.kind):
                continue
            part: Any = measurement["figures"]
            for name in self.path:
                part = part.get(name) if isinstance(part, Mapping) else None
            if part is not None:
                found.append(float(part))
        if not found:
            return None
        median = statistics.median(found)
        return 1_000 / median if self.per_core else median

    def ratio(self, measured: Measurements, row: str) -> float | None:
        """The figure as a multiple of the native relay's."""
        value, native = self.of(measured, row), self.of(measured, NATIVE)
        return value / native if self.has_ratio and value is not None and native else None

    def goal(self) -> str:
        """The goal as the table shows it."""
        sign = "at least" if self.at_least else "at most"
        unit = " x" if self.has_ratio else ""
        parts = [
            f"{limit:g}{unit}{'' if row == GATEWAY else f' ({row})'}" for row, limit in self.goals.items()
        ]
        return f"{sign} {', '.join(parts)}" if parts else ""

    def shortfalls(self, measured: Measurements) -> Iterator[str]:
        """A sentence for each goal that was measured and not reached."""
        for row, limit in self.goals.items():
            reached = self.ratio(measured, row) if self.has_ratio else self.of(measured, row)
            if reached is not None and (reached < limit if self.at_least else reached > limit):
                yield f"{row}, {self.label}: {reached:.{max(self.digits, 1)}f}, the goal is {self.goal()}"


CPU: Final = ("cpu_ms_per_session_s",)
_USUAL: Final = paced(USUAL_CALLS)

FIGURES: Final = (
    Figure("user instructions / 20 ms frame", COUNTED, ("per_frame",), 0, True, goals={GATEWAY: 8, ALONE: 6}),
    Figure("CPU ms / call-second", _USUAL, CPU, 2, True, goals={GATEWAY: 2}),
    Figure("CPU µs / frame, saturated", SATURATED, ("cpu_us_per_up",), 1, goals={GATEWAY: 10}),
    Figure("added latency p50, ms", _USUAL, ("both", "p50_ms"), 2, True),
    Figure("added latency p99, ms", _USUAL, ("both", "p99_ms"), 2, True, goals={GATEWAY: 2}),
    Figure("added latency p99.9, ms", _USUAL, ("both", "p999_ms"), 2, True),
    Figure("frames lost", _USUAL, ("lost",), goals={GATEWAY: 0}),
    Figure("frames lost, saturated", SATURATED, ("gaps",), goals={GATEWAY: 0}),
    Figure("frames reordered", _USUAL, ("reordered",), goals={GATEWAY: 0}),
    Figure(
        "audio deltas on the fast path, %",
        CODEC,
        ("hits_percent",),
        1,
        at_least=True,
        goals={GATEWAY: 100},
    ),
    Figure("KiB / idle call", IDLE, ("rss_kib_per_session",), goals={GATEWAY: 80}),
    Figure(f"KiB / busy call, {MOST_CALLS} calls", paced(MOST_CALLS), ("rss_kib_per_session",)),
    *(
        Figure(f"CPU ms / call-second, {calls} calls", paced(calls), CPU, 2, True)
        for calls in CALLS
        if calls != 40
    ),
    Figure(
        f"calls per core, by CPU at {MOST_CALLS}",
        paced(MOST_CALLS),
        CPU,
        0,
        per_core=True,
        at_least=True,
        goals={GATEWAY: 400},
    ),
)
