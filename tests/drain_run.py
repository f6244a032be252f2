"""Speaking calls while their gateway drains: `python -m tests.drain_run [CALLS] [DRAIN_S]`.

The gateway and the emulator with `--tape` run as processes; each caller sends a frame of 100 ms every 100 ms
and says something every 8 s, which the agent answers.
"""

import asyncio
import json
import signal
import statistics
import sys
import threading
from dataclasses import dataclass, field

import aiohttp

from tests.modes import model
from tests.processes import GatewayProcess, emulator_process, gateway_process

FRAME_S = 0.1
PERIOD_FRAMES = 80
SPOKEN_FRAMES = 12
QUIET = bytes(4_800)
LOUD = b"\x00\x20\x00\x20\x00\xe0\x00\xe0" * 600
SETTLE_S = 5.0
WAIT_S = 60.0


@dataclass
class Call:
    """What one caller saw; times on the event loop's clock."""

    started: asyncio.Event = field(default_factory=asyncio.Event)
    warned_at: float | None = None
    seconds_left: int | None = None
    gaps: list[tuple[float, float]] = field(default_factory=list)
    """When the agent's audio paused inside a response, and for how long."""

    terminal: list[dict[str, object]] = field(default_factory=list)
    closed_at: float = 0.0
    close_code: int | None = None


@dataclass
class DrainRun:
    """A drain seen from outside. Times are seconds after SIGTERM."""

    calls: list[Call]
    refused_after_s: float
    refused_status: int
    retry_after: str | None
    ready_status: int
    health_status: int
    warned_s: list[float]
    closed_s: list[float]
    exit_s: float
    exit_status: int
    gap_before_s: float
    gap_during_s: float


async def run(calls: int, drain_s: int, workers: int = 1) -> DrainRun:
    """Hold the calls, send SIGTERM, and look on until the gateway is gone."""
    with emulator_process("--tape", "--max-sessions", str(calls), "--log-level", "warning") as emulator:
        variables = model(emulator) | {
            "DRAIN_TIMEOUT_S": str(drain_s),
            "MAX_CALLS": str(calls + 10),
            "WORKERS": str(workers),
            "MAX_CONNECTIONS_PER_ADDRESS": "2000",
            "MAX_CALLS_PER_ADDRESS": "2000",
        }
        with gateway_process(variables) as gateway:
            # A pipe that nobody reads would stop the gateway as soon as it is full.
            log = threading.Thread(target=gateway.process.stdout.read, daemon=True)  # type: ignore[union-attr]
            log.start()
            return await _drain(gateway, calls)


async def _drain(gateway: GatewayProcess, number: int) -> DrainRun:
    clock = asyncio.get_running_loop().time
    calls = [Call() for _ in range(number)]
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
        asyncio.TaskGroup() as tasks,
    ):
        talking = [
            tasks.create_task(_talk(http, gateway, call, index / number)) for index, call in enumerate(calls)
        ]
        async with asyncio.timeout(WAIT_S):
            for call in calls:
                await call.started.wait()
        await asyncio.sleep(SETTLE_S)

        gateway.process.send_signal(signal.SIGTERM)
        signalled_at = clock()
        async with http.get(f"{gateway.address}/ws/voice", headers=UPGRADE) as refused:
            refused_status, retry_after = refused.status, refused.headers.get("Retry-After")
        refused_after_s = clock() - signalled_at
        async with http.get(f"{gateway.address}/ready") as ready:
            ready_status = ready.status
        async with http.get(f"{gateway.address}/health") as health:
            health_status = health.status

        await asyncio.wait(talking)
        exit_status = await asyncio.to_thread(gateway.process.wait, WAIT_S)
        exited_at = clock()
    gaps = [gap for call in calls for gap in call.gaps]
    before = [length for at, length in gaps if at < signalled_at]
    during = [length for at, length in gaps if at >= signalled_at]
    return DrainRun(
        calls,
        refused_after_s,
        refused_status,
        retry_after,
        ready_status,
        health_status,
        [call.warned_at - signalled_at for call in calls if call.warned_at is not None],
        sorted(call.closed_at - signalled_at for call in calls),
        exited_at - signalled_at,
        exit_status,
        _p99(before),
        _p99(during),
    )


async def _talk(http: aiohttp.ClientSession, gateway: GatewayProcess, call: Call, offset: float) -> None:
    clock = asyncio.get_running_loop().time
    async with http.ws_connect(f"{gateway.address}/ws/voice", max_msg_size=0) as socket:
        async with asyncio.TaskGroup() as tasks:
            speaking = tasks.create_task(_speak(socket, offset))
            last_audio_at: float | None = None
            async for message in socket:
                now = clock()
                if message.type is aiohttp.WSMsgType.BINARY:
                    if last_audio_at is not None:
                        call.gaps.append((now, now - last_audio_at))
                    last_audio_at = now
                    continue
                event = json.loads(message.data)
                match event["type"]:
                    case "session_started":
                        call.started.set()
                    case "status" | "agent_audio_end" | "clear_playback":
                        last_audio_at = None
                    case "session_ending" if call.warned_at is None and event["reason"] == "drain":
                        call.warned_at, call.seconds_left = now, event["seconds_left"]
                    case "session_ended":
                        call.terminal.append(event)
                    case "error" if event["fatal"]:
                        call.terminal.append(event)
            speaking.cancel()
        call.closed_at, call.close_code = clock(), socket.close_code


async def _speak(socket: "aiohttp.ClientWebSocketResponse[bool]", offset: float) -> None:
    clock = asyncio.get_running_loop().time
    number, due = round(offset * PERIOD_FRAMES), clock()
    while not socket.closed:
        try:
            await socket.send_bytes(LOUD if number % PERIOD_FRAMES < SPOKEN_FRAMES else QUIET)
        except ConnectionError:
            return
        number += 1
        due += FRAME_S
        await asyncio.sleep(max(0.0, due - clock()))


def _p99(gaps: list[float]) -> float:
    return statistics.quantiles(gaps, n=100)[98] if len(gaps) > 1 else 0.0


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def main() -> None:
    """Run with the arguments of the command line and print one line a figure."""
    given = [int(argument) for argument in sys.argv[1:3]]
    calls, drain_s = [*given, *(200, 20)[len(given) :]]
    seen = asyncio.run(run(calls, drain_s))
    cut = sum(1 for closed_s in seen.closed_s if closed_s < drain_s - 0.1)
    codes = {call.close_code for call in seen.calls}
    lines = {
        "calls, drain": f"{calls}, {drain_s} s",
        "refused after SIGTERM": f"{seen.refused_after_s * 1000:.0f} ms with {seen.refused_status}",
        "readiness, liveness": f"{seen.ready_status}, {seen.health_status}",
        "told": f"{len(seen.warned_s)} calls, the last after {max(seen.warned_s, default=0):.2f} s",
        "cut before the deadline": str(cut),
        "closed": f"{seen.closed_s[0]:.2f} to {seen.closed_s[-1]:.2f} s, codes {codes}",
        "exit": f"{seen.exit_s:.2f} s, status {seen.exit_status}",
        "pause of audio, p99": f"{seen.gap_before_s * 1000:.0f} ms before, "
        f"{seen.gap_during_s * 1000:.0f} ms during the drain",
    }
    for name, figure in lines.items():
        sys.stdout.write(f"{name:26} {figure}\n")


if __name__ == "__main__":
    main()
