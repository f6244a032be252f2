"""Ten minutes that stand for a day: `make soak`.

Many short calls, one in ten of which ends in a fault; beside them one call that carries the caller's audio of
a whole day, as fast as it is taken; then SIGTERM while two hundred calls speak. Voice Live is scripted, in
this process and on its core; the gateway is a process of its own on another. Prints its table, and ends with
status 1 where a bar is missed.
"""

import argparse
import asyncio
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Final

from tests.reliability.soak_load import Calls, Drained, agent, churn, drain, long_call
from tests.reliability.soak_process import Line, beyond, soaked_gateway
from tests.scripted_voice_live import scripted_voice_live

DAY_FRAMES: Final = 4_320_000
WARM_UP_CALLS: Final = 200
"""Before the first look at what an idle gateway holds."""

WARM_UP: Final = 0.25
"""This part of the calls comes before the memory's slope counts: until then its allocator takes what the
busiest moment needs."""

SLOPE_KIB: Final = 0.25
LAG_P999_MS: Final = 50
LAG_LONGEST_MS: Final = 250
EXIT_GRACE_S: Final = 5
VALUES: Final = {
    "enable_proactive_greeting": False,
    "max_calls": 5000,
    "max_messages_per_minute": 10_000,
    "azure_voicelive_api_key": "soak-key",
}
MODEL_SETTINGS: Final = {
    "azure_voicelive_endpoint",
    "azure_voicelive_model",
    "azure_voicelive_voice_type",
    "azure_voicelive_voice_name",
}


@dataclass(frozen=True)
class Soaked:
    """What a soak has seen."""

    asked: argparse.Namespace
    calls: Calls
    carried: int
    samples: list[tuple[int, Line]]
    idle: Line
    last: Line
    drained: Drained
    seconds: float

    @property
    def slope_kib(self) -> float:
        """The growth of memory for each call, by least squares, without the warm-up."""
        warm = self.calls.ended * WARM_UP
        points = [(ended, line["rss_kib"]) for ended, line in self.samples if ended >= warm]
        return statistics.linear_regression(*zip(*points, strict=True)).slope if len(points) > 2 else 0.0

    @property
    def busy(self) -> float:
        """The part of its core that the gateway took."""
        (_, first), (_, last) = self.samples[0], self.samples[-1]
        return float(last["cpu_s"] - first["cpu_s"]) / (len(self.samples) - 1)

    def lag_ms(self, of_its_own: bool) -> list[float]:
        """How late the event loop woke, in order of size; or only what it worked meanwhile."""
        return sorted(late[of_its_own] for _, line in self.samples for late in line["lag_ms"])


async def soak(asked: argparse.Namespace) -> Soaked:
    """Run it."""
    calls = Calls()
    async with scripted_voice_live(agent) as service:
        settings = service.settings(**VALUES).model_dump(include=MODEL_SETTINGS)
        settings |= VALUES | {"drain_timeout_s": asked.drain_s}
        async with soaked_gateway(settings, lambda: calls.ended) as gateway:
            await churn(gateway.running, Calls(), WARM_UP_CALLS, asked.per_s)
            idle = await gateway.settled()
            began = time.monotonic()
            gateway.samples.clear()
            async with asyncio.TaskGroup() as tasks:
                carrying = tasks.create_task(long_call(gateway.running, asked.frames))
                tasks.create_task(churn(gateway.running, calls, asked.calls, asked.per_s))
            seconds, samples = time.monotonic() - began, [*gateway.samples]
            last = await gateway.settled(idle)
            drained = await drain(gateway, asked.drained)
    return Soaked(asked, calls, carrying.result(), samples, idle, last, drained, seconds)


Row = tuple[str, str, str, bool | None]


def rows(seen: Soaked) -> list[Row]:
    """What was measured, its bar, and whether that was held; None: only told."""
    asked, drained = seen.asked, seen.drained
    left = beyond(seen.last, seen.idle)
    lag = seen.lag_ms(of_its_own=False)
    own = seen.lag_ms(of_its_own=True)
    answers = sorted(seen.calls.answer_s)
    collections = [line["collection_ms"] for _, line in seen.samples]
    idle_mib, last_mib = seen.idle["rss_kib"] / 1024, seen.last["rss_kib"] / 1024
    return [
        (
            f"short calls, {asked.per_s:g} a second, one in ten with a fault",
            f"{seen.calls.ended:,} in {seen.seconds:.0f} s",
            f"{asked.calls:,}",
            seen.calls.ended == asked.calls,
        ),
        ("ends other than expected", str(seen.calls.unexpected.total()), "0", not seen.calls.unexpected),
        (
            "frames of the long call",
            f"{seen.carried:,}",
            f"{asked.frames:,}",
            seen.carried == asked.frames,
        ),
        (
            f"memory for each call, over the last {1 - WARM_UP:.0%} of the calls",
            f"{seen.slope_kib:.3f} KiB",
            f"{SLOPE_KIB} KiB",
            seen.slope_kib <= SLOPE_KIB,
        ),
        ("memory without a call, before and after", f"{idle_mib:.0f} and {last_mib:.0f} MiB", "", None),
        ("left behind", str(left or "nothing"), "nothing", not left),
        (
            f"event loop late, p99.9 of {len(lag):,}",
            f"{_share(lag, 0.999):.0f} ms",
            f"{LAG_P999_MS} ms",
            _share(lag, 0.999) <= LAG_P999_MS,
        ),
        ("event loop late, longest", f"{lag[-1]:.0f} ms", f"{LAG_LONGEST_MS} ms", lag[-1] <= LAG_LONGEST_MS),
        ("processor time of the gateway", f"{seen.busy:.0%}", "", None),
        (
            "its own work in that, p99.9 and longest",
            f"{_share(own, 0.999):.0f} and {own[-1]:.0f} ms",
            "",
            None,
        ),
        (
            "longest collection of garbage, young and full",
            f"{max(each['young'] for each in collections):.0f} and "
            f"{max(each['full'] for each in collections):.0f} ms",
            "",
            None,
        ),
        (f"full collection, {asked.drained} calls live", f"{drained.collection_ms:.0f} ms", "", None),
        (
            "typed turn to agent speaking, p50 and p99",
            f"{1000 * _share(answers, 0.5):.0f} and {1000 * _share(answers, 0.99):.0f} ms",
            "",
            None,
        ),
        (
            f"drain of {asked.drained} speaking calls, close codes",
            str(dict(drained.codes)),
            f"{{1012: {asked.drained}}}",
            drained.codes == {1012: asked.drained},
        ),
        (
            "told before they were closed",
            str(drained.told),
            str(asked.drained),
            drained.told == asked.drained,
        ),
        (
            "process ended after SIGTERM",
            f"{drained.exit_s:.1f} s, status {drained.status}",
            f"{asked.drain_s} + {EXIT_GRACE_S} s, status 0",
            drained.exit_s <= asked.drain_s + EXIT_GRACE_S and drained.status == 0,
        ),
    ]


def _share(ordered: list[float], share: float) -> float:
    return ordered[int(len(ordered) * share)]


def main() -> int:
    """Run with the arguments of the command line, print the table; the exit status."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--calls", type=int, default=20_000)
    options.add_argument("--per-s", type=float, default=40)
    options.add_argument("--frames", type=int, default=DAY_FRAMES)
    options.add_argument("--drained", type=int, default=200)
    options.add_argument("--drain-s", type=int, default=10)
    seen = asyncio.run(soak(options.parse_args()))
    table = rows(seen)
    lines = ["| | measured | bar | |", "|---|---|---|---|"]
    for name, measured, bar, held in table:
        verdict = {None: "", True: "held", False: "MISSED"}[held]
        lines.append(f"| {name} | {measured} | {bar} | {verdict} |")
    lines.append(f"{len(seen.samples)} samples; other ends: {dict(seen.calls.unexpected)}")
    sys.stdout.write("\n".join(lines) + "\n")
    return int(any(held is False for *_, held in table))


if __name__ == "__main__":
    sys.exit(main())
