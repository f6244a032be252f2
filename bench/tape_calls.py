"""How many tape calls one emulator process holds: `python -m bench.tape_calls [CALLS] [SECONDS]`.

Starts the emulator with `--tape` as a process of its own and holds calls at real time: each caller sends
a frame of 100 ms every 100 ms, speaks for 1.2 s in every 8 s, and wants an answer to each turn. Prints
the time from the end of the caller's turn to the first audio (recorded: 0.63 s), how late frames of the
callers went out (their own trouble, not the emulator's), and what the process used.
"""

import asyncio
import base64
import json
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from dataclasses import dataclass, field

import aiohttp
import numpy as np
import orjson
import psutil

FRAME_S = 0.1
FRAME_SAMPLES = 2_400
PERIOD_FRAMES = 80
SPOKEN_FRAMES = 12
CALLS, SECONDS = 300, 60
_TIMEOUT_S = 60
_TYPE_AT = len('{"event_id":"event_' + 22 * "x" + '","type":"')
"""Where the type is in each event. Parsing all of them would measure the callers."""


@dataclass(slots=True)
class Measured:
    """What all calls have seen."""

    first_audio_s: list[float] = field(default_factory=list)
    late_frame_s: list[float] = field(default_factory=list)
    turns: int = 0
    answers: int = 0
    deltas: int = 0


def main() -> None:
    """Run with the arguments of the command line."""
    calls, seconds = [*map(int, sys.argv[1:3]), *(CALLS, SECONDS)[len(sys.argv) - 1 :]]
    asyncio.run(_measure(calls, seconds))


async def _measure(calls: int, seconds: int) -> None:
    emulator = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "voicelive_emulator", "--tape", "--port", "0", "--log-level", "warning"),
        *("--max-sessions", str(calls)),
        stdin=DEVNULL,
        stdout=PIPE,
    )
    try:
        assert emulator.stdout is not None  # noqa: S101 (it is a pipe)
        ready = json.loads(await asyncio.wait_for(emulator.stdout.readline(), _TIMEOUT_S))
        process = psutil.Process(emulator.pid)
        idle_mib = process.memory_info().rss / 2**20
        measured = Measured()
        busy, started = sum(process.cpu_times()[:2]), time.monotonic()
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
            asyncio.TaskGroup() as tasks,
        ):
            for number in range(calls):
                delay_s = number / calls * PERIOD_FRAMES * FRAME_S
                tasks.create_task(_call(http, ready["port"], delay_s, seconds, measured))
            await asyncio.sleep(seconds)
            full_mib = process.memory_info().rss / 2**20
            held = await _held(http, ready["port"])
        busy = sum(process.cpu_times()[:2]) - busy
        own_cores = sum(psutil.Process().cpu_times()[:2]) / (time.monotonic() - started)
        _report(calls, held, measured, busy / (time.monotonic() - started), own_cores, idle_mib, full_mib)
    finally:
        emulator.terminate()
        await emulator.wait()


async def _held(http: aiohttp.ClientSession, port: int) -> int:
    async with http.get(f"http://127.0.0.1:{port}/sessions") as response:
        return len((await response.json())["sessions"])


async def _call(
    http: aiohttp.ClientSession, port: int, delay_s: float, seconds: int, measured: Measured
) -> None:
    await asyncio.sleep(delay_s)
    url = f"http://127.0.0.1:{port}/voice-live/realtime?model=gpt-4.1"
    async with http.ws_connect(url, headers={"api-key": "bench"}, max_msg_size=0) as ws:
        listening = asyncio.ensure_future(_listen(ws, measured))
        await _speak(ws, seconds, measured)
        await ws.close()
        await listening


async def _speak(ws: aiohttp.ClientWebSocketResponse, seconds: int, measured: Measured) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    for number in range(round(seconds / FRAME_S)):
        measured.late_frame_s.append(loop.time() - due)
        await ws.send_str(_LOUD if number % PERIOD_FRAMES < SPOKEN_FRAMES else _QUIET)
        due += FRAME_S
        await asyncio.sleep(due - loop.time())


async def _listen(ws: aiohttp.ClientWebSocketResponse, measured: Measured) -> None:
    loop = asyncio.get_running_loop()
    stopped_at: float | None = None
    async for message in ws:
        event_type = message.data[_TYPE_AT:].partition('"')[0]
        if event_type == "input_audio_buffer.speech_stopped":
            stopped_at = loop.time()
            measured.turns += 1
        elif event_type == "response.audio.delta":
            measured.deltas += 1
            if stopped_at is not None:
                measured.first_audio_s.append(loop.time() - stopped_at)
                stopped_at = None
        elif event_type == "response.done":
            measured.answers += 1


def _append(samples: np.ndarray) -> str:
    audio = base64.b64encode(samples.astype("<i2").tobytes()).decode()
    return orjson.dumps({"type": "input_audio_buffer.append", "audio": audio}).decode()


_QUIET = _append(np.zeros(FRAME_SAMPLES))
_LOUD = _append(np.sin(np.arange(FRAME_SAMPLES) * 0.05) * 8_000)


def _report(
    calls: int,
    held: int,
    measured: Measured,
    cores: float,
    own_cores: float,
    idle_mib: float,
    full_mib: float,
) -> None:
    first, late = np.array(measured.first_audio_s), np.array(measured.late_frame_s)
    lines = {
        "calls": f"{calls}, of which {held} at once at the end",
        "turns, answers, audio deltas": f"{measured.turns}, {measured.answers}, {measured.deltas}",
        "end of turn to first audio": f"p50 {np.median(first):.2f} s, p95 {np.quantile(first, 0.95):.2f} s",
        "frames of the callers late": f"p50 {np.median(late):.3f} s, p99 {np.quantile(late, 0.99):.3f} s",
        "cores of the emulator": f"{cores:.2f}; of the callers {own_cores:.2f}",
        "memory of the emulator": f"{idle_mib:.0f} MiB idle, {full_mib:.0f} MiB with all calls",
    }
    for name, figure in lines.items():
        sys.stdout.write(f"{name:30} {figure}\n")


if __name__ == "__main__":
    main()
