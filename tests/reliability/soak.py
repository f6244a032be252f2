# ruff: noqa: E501, T201 (its table is what it is for)
"""Ten minutes that stand for a day: `make soak`.

Many short calls, one in ten of which ends in a fault; beside them one call that carries the caller's audio of
a whole day, as fast as it is taken; then SIGTERM while two hundred calls speak. Voice Live is scripted, in
this process; the gateway is a process of its own. Prints its table, and ends with status 1 where a bar is
missed.
"""

import argparse
import asyncio
import json
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.gateway import RawCaller, RunningGateway
from tests.processes import PROJECT
from tests.reliability.toxic_proxy import toxic_proxy
from tests.scripted_voice_live import ScriptedSession, scripted_voice_live
from tests.test_service import says

DAY_FRAMES = 4_320_000
FRAME = bytes(960)
WARM_UP = 0.15
"""This part of the calls comes before the memory counts."""
SLOPE_BAR_KIB, LAG_P999_BAR_MS = 0.25, 50
SETTLE_S = 8


@dataclass
class Report:
    """What the gateway said of itself, and how many calls had ended by then."""

    samples: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    ended: int = 0
    unexpected: Counter[str] = field(default_factory=Counter)
    answer_s: list[float] = field(default_factory=list)

    @property
    def lag_ms(self) -> list[int]:
        return sorted(lag for _, line in self.samples for lag in line["lag_ms"])

    def slope_kib(self, since: int) -> float:
        """Memory for each call, by least squares."""
        points = [(ended, line["rss_kib"]) for ended, line in self.samples if ended >= since]
        return statistics.linear_regression(*zip(*points, strict=True)).slope if len(points) > 2 else 0.0


async def agent(session: ScriptedSession) -> None:
    """Answers each typed turn."""
    await session.configure()
    number = 0
    while True:
        event = await session.receive()
        if event["type"] == "response.create":
            number += 1
            await says(session, f"resp_{number}", "Certainly.", ms=200)


async def ends_well(caller: RawCaller) -> None:
    await caller.send(type="end")
    if (code := await caller.until_closed()) != 1000:
        raise AssertionError(f"closed with {code}")


async def is_cut(caller: RawCaller) -> None:
    transport = caller.socket._response.connection
    if transport is not None and transport.transport is not None:
        transport.transport.abort()


async def babbles(caller: RawCaller) -> None:
    for _message in range(21):
        await caller.socket.send_str("nonsense")
    if (code := await caller.until_closed()) != 4400:
        raise AssertionError(f"closed with {code} after nonsense")


async def sends_too_much(caller: RawCaller) -> None:
    await caller.socket.send_bytes(bytes(64 * 1024 + 1))
    if (code := await caller.until_closed()) != 1009:
        raise AssertionError(f"closed with {code} after too large a message")


FAULTS = (is_cut, babbles, sends_too_much)


async def short_call(gateway: RunningGateway, report: Report, chance: random.Random) -> None:
    """One call with one turn, and an end of some kind."""
    try:
        async with gateway.caller() as caller:
            await caller.until("session_started")
            for _frame in range(10):
                await caller.socket.send_bytes(FRAME)
            began = time.monotonic()
            await caller.send(type="text", text="How much is it?")
            await caller.until("status", status="agent_speaking")
            report.answer_s.append(time.monotonic() - began)
            await caller.until("agent_transcript")
            await (chance.choice(FAULTS) if chance.random() < 0.1 else ends_well)(caller)
    except (AssertionError, OSError, TimeoutError, aiohttp.ClientError) as error:
        report.unexpected[f"{type(error).__name__}: {str(error)[:80]}"] += 1
    report.ended += 1


async def long_call(gateway: RunningGateway, frames: int, done: list[int]) -> None:
    """One call that carries so many frames, as fast as they are taken."""
    async with gateway.caller() as caller:
        await caller.until("session_started")
        for number in range(frames):
            await caller.socket.send_bytes(FRAME)
            if number % 5_000 == 0:
                await caller.send(type="ping")
                await caller.until("pong")
                done[0] = number
        done[0] = frames
        await ends_well(caller)


async def churn(gateway: RunningGateway, report: Report, calls: int, at_once: int) -> None:
    """So many short calls."""
    chance = random.Random(4)
    left = iter(range(calls))

    async def one_after_the_other() -> None:
        for _number in left:
            await short_call(gateway, report, chance)

    async with asyncio.TaskGroup() as tasks:
        for _caller in range(at_once):
            tasks.create_task(one_after_the_other())


@asynccontextmanager
async def running(
    settings: dict[str, Any], report: Report
) -> AsyncIterator[tuple[RunningGateway, Any, Path]]:
    """The gateway's process, and its reports as they come."""
    with tempfile.TemporaryDirectory() as folder:
        count = Path(folder) / "count"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.reliability.soak_gateway", json.dumps(settings), str(count)),
            cwd=PROJECT,
            stdout=asyncio.subprocess.PIPE,
            limit=2**20,
        )
        assert process.stdout is not None
        port = json.loads(await process.stdout.readline())["port"]

        async def listen() -> None:
            assert process.stdout is not None
            async for line in process.stdout:
                report.samples.append((report.ended, json.loads(line)))

        listening = asyncio.create_task(listen())
        connector = aiohttp.TCPConnector(limit=0)
        try:
            async with aiohttp.ClientSession(connector=connector) as http:
                yield RunningGateway(f"http://127.0.0.1:{port}", http), process, count
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            await listening


async def drain(gateway: RunningGateway, process: Any, calls: int) -> dict[str, Any]:
    """SIGTERM while so many calls speak: who is told, who is cut, and when the process ends."""
    callers: list[RawCaller] = []
    async with asyncio.TaskGroup() as tasks:
        opening = asyncio.Semaphore(20)

        async def opens() -> None:
            async with opening:
                socket = await gateway.http.ws_connect(f"{gateway.address}/ws/voice", max_msg_size=0)
                callers.append(RawCaller(socket))
                await callers[-1].until("session_started")
                await callers[-1].send(type="text", text="Tell me everything.")

        for _caller in range(calls):
            tasks.create_task(opens())
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    codes = await asyncio.gather(*(caller.until_closed() for caller in callers))
    closed_s = time.monotonic() - began
    status = await process.wait()
    told = sum(bool(caller.of_type("session_ending")) for caller in callers)
    return {
        "codes": dict(Counter(codes)),
        "told": told,
        "closed_s": closed_s,
        "exit_s": time.monotonic() - began,
        "status": status,
    }


def table(rows: list[tuple[str, str, str, bool]]) -> int:
    """Print what was measured beside its bar; the exit status."""
    print("| | measured | bar | |\n|---|---|---|---|")
    for name, measured, bar, good in rows:
        print(f"| {name} | {measured} | {bar} | {'held' if good else 'MISSED'} |")
    return 0 if all(good for *_, good in rows) else 1


async def soak(calls: int, at_once: int, frames: int, drained: int, drain_s: int) -> int:
    report = Report()
    began = time.monotonic()
    async with scripted_voice_live(agent) as service, toxic_proxy(service.port) as upstream:
        values = {
            "enable_proactive_greeting": False,
            "max_calls": 5000,
            "max_messages_per_minute": 10_000,
            "drain_timeout_s": drain_s,
        }
        plain = service.settings(azure_voicelive_endpoint=upstream.address, **values)
        names = ("azure_voicelive_endpoint", "azure_voicelive_model", "azure_voicelive_voice_type")
        settings = {name: getattr(plain, name) for name in (*names, "azure_voicelive_voice_name")} | values
        settings |= {"azure_voicelive_endpoint": service.address, "azure_voicelive_api_key": "soak-key"}
        async with running(settings, report) as (gateway, process, count):
            await churn(gateway, report, 50, 10)
            count.touch()
            await asyncio.sleep(SETTLE_S)
            idle = report.samples[-1][1]
            count.unlink()
            carried = [0]
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(long_call(gateway, frames, carried))
                tasks.create_task(churn(gateway, report, calls, at_once))
            lag = report.lag_ms
            count.touch()
            await asyncio.sleep(SETTLE_S)
            last = report.samples[-1][1]
            churned_s = time.monotonic() - began
            ended = await drain(gateway, process, drained)
    answers = sorted(report.answer_s)
    p999, longest = lag[int(len(lag) * 0.999)], lag[-1]
    slope = report.slope_kib(round(calls * WARM_UP))
    deltas = {name: last[name] - idle[name] for name in ("files", "tasks", "threads")} | {
        "calls": last["calls"]
    }
    grown = last["rss_kib"] / idle["rss_kib"]
    print(f"{len(report.samples)} samples, {churned_s:.0f} s; other ends: {dict(report.unexpected)}")
    return table(
        [
            ("short calls, one in ten with a fault", str(report.ended), str(calls), report.ended >= calls),
            ("ends other than expected", str(report.unexpected.total()), "0", not report.unexpected),
            ("frames of the long call", f"{carried[0]:,}", f"{frames:,}", carried[0] == frames),
            ("memory for each call", f"{slope:.3f} KiB", f"{SLOPE_BAR_KIB} KiB", slope <= SLOPE_BAR_KIB),
            (
                "memory idle, before and after",
                f"{idle['rss_kib'] // 1024} and {last['rss_kib'] // 1024} MiB",
                "told",
                grown > 0,
            ),
            (
                "left behind",
                str({k: v for k, v in deltas.items() if v > 0} or "nothing"),
                "nothing",
                not any(v > 0 for v in deltas.values()),
            ),
            ("loop lag, p99.9", f"{p999} ms", f"{LAG_P999_BAR_MS} ms", p999 <= LAG_P999_BAR_MS),
            ("loop lag, longest", f"{longest} ms", "250 ms", longest <= 250),
            (
                "typed turn to agent speaking, p50 and p99",
                f"{1000 * answers[len(answers) // 2]:.0f} and {1000 * answers[int(len(answers) * 0.99)]:.0f} ms",
                "told",
                True,
            ),
            (
                f"drain of {drained} speaking calls, close codes",
                str(ended["codes"]),
                f"{{1012: {drained}}}",
                ended["codes"] == {1012: drained},
            ),
            ("told before they were closed", str(ended["told"]), str(drained), ended["told"] == drained),
            (
                "process ended after SIGTERM",
                f"{ended['exit_s']:.1f} s, status {ended['status']}",
                f"deadline {drain_s} s + 5 s",
                ended["exit_s"] <= drain_s + 5,
            ),
        ]
    )


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--calls", type=int, default=20_000)
    options.add_argument("--at-once", type=int, default=60)
    options.add_argument("--frames", type=int, default=DAY_FRAMES)
    options.add_argument("--drained", type=int, default=200)
    options.add_argument("--drain-s", type=int, default=10)
    chosen = options.parse_args()
    return asyncio.run(soak(chosen.calls, chosen.at_once, chosen.frames, chosen.drained, chosen.drain_s))


if __name__ == "__main__":
    sys.exit(main())
