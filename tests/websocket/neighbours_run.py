"""What the neighbours of an abusive client notice of it: `python -m tests.websocket.neighbours_run`.

Ten callers speak and listen, a frame of 20 ms every 20 ms each way. Meanwhile one more client floods, reads
nothing, or sends too large messages. Printed is how far apart the frames arrive on either side of the
gateway, beside the same callers undisturbed in the same run. The gateway has a core of its own.
"""

import asyncio
import itertools
import os
import statistics
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress

import aiohttp

from tests.processes import GatewayProcess
from tests.reliability.cores import GATEWAY_CORE, LOAD_CORE, take_core
from tests.scripted_voice_live import ScriptedSession, scripted_voice_live
from tests.test_service import audio_delta, response_created
from tests.websocket.flooder import FLOODS
from tests.websocket.raw_client import BINARY, REQUEST, frame
from tests.websocket.test_floods import flooded, gateway

NEIGHBOURS = 10
FRAME = bytes(960)
FRAME_S = 0.02
PHASE_S = 4.0
TOO_LARGE = frame(BINARY, bytes(64 * 1024 + 1))

Times = list[list[float]]
Disturbance = Callable[[GatewayProcess], Awaitable[object]]


async def every_frame(send: Callable[[], Awaitable[None]]) -> None:
    """Send at the pace of speech until the connection is gone."""
    clock = asyncio.get_running_loop().time
    due = clock()
    with suppress(ConnectionError):
        while True:
            await send()
            due += FRAME_S
            await asyncio.sleep(due - clock())


class Speech:
    """The scripted Voice Live's side: when each caller's frames arrive there."""

    def __init__(self) -> None:
        self.arrived: Times = []

    async def play(self, session: ScriptedSession) -> None:
        await session.configure()
        await session.send(response_created("resp_1"))
        times: list[float] = []
        self.arrived.append(times)
        clock = asyncio.get_running_loop().time
        async with asyncio.TaskGroup() as tasks:
            speaking = tasks.create_task(every_frame(lambda: session.send(audio_delta("resp_1", FRAME))))
            async for _message in session.socket:
                times.append(clock())  # noqa: PERF401 (it is looked at while it grows)
            speaking.cancel()


async def neighbour(http: aiohttp.ClientSession, address: str, arrived: Times) -> None:
    """One caller who speaks and listens until cancelled."""
    times: list[float] = []
    arrived.append(times)
    clock = asyncio.get_running_loop().time
    async with http.ws_connect(f"{address}/ws/voice") as socket, asyncio.TaskGroup() as tasks:
        tasks.create_task(every_frame(lambda: socket.send_bytes(FRAME)))
        async for message in socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                times.append(clock())  # noqa: PERF401 (likewise)


async def reads_nothing(running: GatewayProcess) -> None:
    """A caller to whom the agent speaks, and who does not read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port, limit=1024)
    writer.write(REQUEST.replace(b"GET /", b"GET /ws/voice"))
    await asyncio.sleep(PHASE_S)
    writer.transport.abort()
    del reader


async def sends_too_large(running: GatewayProcess) -> None:
    """One call after the other, each with a message that is too large."""
    clock = asyncio.get_running_loop().time
    end = clock() + PHASE_S
    while clock() < end:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(REQUEST.replace(b"GET /", b"GET /ws/voice"))
        await reader.readuntil(b"\r\n\r\n")
        writer.write(TOO_LARGE)
        with suppress(ConnectionError):
            await reader.read()
        writer.close()


def disturbances() -> dict[str, Disturbance]:
    """By name, what the abusive client does."""

    async def nothing(running: GatewayProcess) -> None:
        del running
        await asyncio.sleep(PHASE_S)

    def floods(kind: str) -> Disturbance:
        return lambda running: flooded(running.port, kind)

    return {
        "undisturbed": nothing,
        **{kind: floods(kind) for kind in FLOODS},
        "reads nothing": reads_nothing,
        "too large messages": sends_too_large,
    }


def gaps_ms(arrived: Times, since: float, until: float) -> tuple[float, float]:
    """The median and the 99th percentile of the time between two frames."""
    gaps = [
        1000 * (later - sooner)
        for times in arrived[:NEIGHBOURS]
        for sooner, later in itertools.pairwise(times)
        if since <= sooner and later <= until
    ]
    return statistics.median(gaps), statistics.quantiles(gaps, n=100)[98]


async def run() -> list[tuple[str, float, float]]:
    """For each disturbance the 99th percentile of the gaps: at Voice Live, and at the callers."""
    speech, heard, seen = Speech(), list[list[float]](), []
    clock = asyncio.get_running_loop().time
    async with scripted_voice_live(speech.play) as service:
        with gateway(service) as running:
            # A pipe that nobody reads would stop the gateway as soon as it is full.
            threading.Thread(target=running.process.stdout.read, daemon=True).start()  # type: ignore[union-attr]
            os.sched_setaffinity(running.process.pid, {GATEWAY_CORE})
            take_core(LOAD_CORE)
            async with aiohttp.ClientSession() as http, asyncio.TaskGroup() as tasks:
                callers = [
                    tasks.create_task(neighbour(http, running.address, heard)) for _ in range(NEIGHBOURS)
                ]
                await asyncio.sleep(PHASE_S)
                for name, disturb in disturbances().items():
                    began = clock()
                    await disturb(running)
                    up, down = (gaps_ms(each, began, clock()) for each in (speech.arrived, heard))
                    seen.append((name, up[1], down[1]))
                for caller in callers:
                    caller.cancel()
    return seen


def main() -> None:
    """Print the table."""
    seen = asyncio.run(run())
    _, up, down = seen[0]
    sys.stdout.write("| | at Voice Live, p99 ms | at the callers, p99 ms |\n|---|---|---|\n")
    for name, at_service, at_callers in seen:
        sys.stdout.write(
            f"| {name} | {at_service:.0f} ({at_service / up:.1f} x) | "
            f"{at_callers:.0f} ({at_callers / down:.1f} x) |\n"
        )


if __name__ == "__main__":
    main()
