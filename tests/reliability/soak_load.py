"""The load of the soak: short calls with faults, one very long call, and calls that are drained."""

import asyncio
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field

import aiohttp

from tests.gateway import RawCaller, RunningGateway
from tests.reliability.soak_process import SoakedGateway
from tests.scripted_voice_live import ScriptedSession
from tests.test_service import says

FRAME = bytes(960)
FAULTY = 0.1
"""This part of the short calls ends in a fault."""

AT_ONCE = 60
OPENING_AT_ONCE = 20
HANG_UP = "Hang up."


@dataclass
class Calls:
    """What became of the short calls."""

    ended: int = 0
    unexpected: Counter[str] = field(default_factory=Counter)
    answer_s: list[float] = field(default_factory=list)


async def agent(session: ScriptedSession) -> None:
    """Answers each typed turn, or hangs up when it is told to."""
    await session.configure()
    number = 0
    while True:
        event = await session.receive()
        if event["type"] == "response.create":
            number += 1
            await says(session, f"resp_{number}", "Certainly.", ms=200)
        elif event["type"] == "conversation.item.create" and HANG_UP in str(event["item"]):
            await session.abort()


async def ends_well(caller: RawCaller) -> None:
    await caller.send(type="end")
    await closed_with(caller, 1000)


async def is_cut(caller: RawCaller) -> None:
    caller.break_connection()


async def babbles(caller: RawCaller) -> None:
    for _message in range(21):
        await caller.socket.send_str("nonsense")
    await closed_with(caller, 4400)


async def sends_too_much(caller: RawCaller) -> None:
    await caller.socket.send_bytes(bytes(64 * 1024 + 1))
    await closed_with(caller, 1009)


async def loses_the_agent(caller: RawCaller) -> None:
    """Another session takes over, is told what was said, and hangs up as well."""
    await caller.send(type="text", text=HANG_UP)
    await closed_with(caller, 1014)


async def closed_with(caller: RawCaller, expected: int) -> None:
    if (code := await caller.until_closed()) != expected:
        raise AssertionError(f"closed with {code}, not {expected}")


FAULTS = (is_cut, babbles, sends_too_much, loses_the_agent)


async def short_call(gateway: RunningGateway, calls: Calls, chance: random.Random) -> None:
    """One call with one turn, and an end of some kind."""
    try:
        async with gateway.caller() as caller:
            await caller.until("session_started")
            for _frame in range(10):
                await caller.socket.send_bytes(FRAME)
            began = time.monotonic()
            await caller.send(type="text", text="How much is it?")
            await caller.until("status", status="agent_speaking")
            calls.answer_s.append(time.monotonic() - began)
            await caller.until("agent_transcript")
            await (chance.choice(FAULTS) if chance.random() < FAULTY else ends_well)(caller)
    except (AssertionError, OSError, TimeoutError, aiohttp.ClientError) as error:
        calls.unexpected[f"{type(error).__name__}: {str(error)[:80]}"] += 1
    calls.ended += 1


async def churn(gateway: RunningGateway, calls: Calls, number: int, per_s: float) -> None:
    """So many short calls, so many a second; where the gateway does not keep up, AT_ONCE at a time."""
    chance = random.Random(4)
    clock = asyncio.get_running_loop().time
    began = clock()
    lines = asyncio.Semaphore(AT_ONCE)

    async def one() -> None:
        try:
            await short_call(gateway, calls, chance)
        finally:
            lines.release()

    async with asyncio.TaskGroup() as tasks:
        for nth in range(number):
            await asyncio.sleep(max(0.0, began + nth / per_s - clock()))
            await lines.acquire()
            tasks.create_task(one())


async def long_call(gateway: RunningGateway, frames: int) -> int:
    """One call that carries so many frames, as fast as they are taken; how many were."""
    async with gateway.caller() as caller:
        await caller.until("session_started")
        for number in range(frames):
            await caller.socket.send_bytes(FRAME)
            if number % 5_000 == 0:
                await caller.send(type="ping")
                await caller.until("pong")
        await ends_well(caller)
    return frames


@dataclass(frozen=True)
class Drained:
    """What became of calls that spoke when SIGTERM came. Times are seconds after it."""

    codes: Counter[int | None]
    told: int
    exit_s: float
    status: int
    collection_ms: float
    """How long a full collection of garbage took before, with all the calls."""


async def drain(gateway: SoakedGateway, calls: int) -> Drained:
    """SIGTERM while so many calls speak."""
    callers: list[RawCaller] = []
    opening = asyncio.Semaphore(OPENING_AT_ONCE)

    async def opens() -> None:
        async with opening:
            socket = await gateway.running.http.ws_connect(
                f"{gateway.running.address}/ws/voice", max_msg_size=0
            )
            callers.append(caller := RawCaller(socket))
            await caller.until("session_started")
            await caller.send(type="text", text="Tell me everything.")
            await caller.until("status", status="agent_speaking")

    async with asyncio.TaskGroup() as tasks:
        for _caller in range(calls):
            tasks.create_task(opens())
    collection_ms = (await gateway.counted())["collection_ms"]["full"]
    began = time.monotonic()
    gateway.process.send_signal(signal.SIGTERM)
    codes = await asyncio.gather(*(caller.until_closed() for caller in callers))
    status = await gateway.process.wait()
    return Drained(
        codes=Counter(codes),
        told=sum(bool(caller.of_type("session_ending")) for caller in callers),
        exit_s=time.monotonic() - began,
        status=status,
        collection_ms=collection_ms,
    )
