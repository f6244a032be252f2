"""How fast the emulator answers: `python -m bench.emulator`, real speech in real time over sockets.

For 1, 4 and 8 calls at once, with `server_vad` as it is by default and with `azure_semantic_vad` and
end-of-utterance detection after 200 ms of silence. Each run says the same things, spread over its calls.
The lines of the answers are those of the script, kept once they were spoken; or each begins anew; or it does
and cannot be foreseen in the caller's last pause.
The emulator is a process of its own.
The parts of a delay are medians, so they add up to the whole only nearly; their means do exactly.
"""

import argparse
import asyncio
import itertools
import json
import math
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import numpy as np
import psutil

from bench.callers import Utterance, utterances
from bench.emulator_call import Call, Turn

_SEMANTIC: Final = {
    "type": "azure_semantic_vad",
    "silence_duration_ms": 200,
    "end_of_utterance_detection": {"model": "semantic_detection_v1"},
}
_SESSIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "server_vad": {"turn_detection": {"type": "server_vad"}},
    "azure_semantic_vad": {"turn_detection": _SEMANTIC},
}
_EMULATORS: Final = {
    "kept": "voicelive_emulator --port 0",
    "new": "bench.fresh_emulator",
    "unforeseen": "bench.fresh_emulator --unforeseen",
}
_STAGGER_S: Final = 0.37
_OVERLOAD: Final = 40
_FEWEST_TURNS: Final = 4
"""Of a call."""


@dataclass(frozen=True, slots=True)
class Load:
    """What the emulator took of the machine during a run."""

    cores: float
    memory_mib: float
    pressure: float
    """Share of the time in which something on the machine waited for a core."""


def main() -> None:
    """Measure and print every figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, nargs="+", default=[1, 4, 8], help="calls at once")
    parser.add_argument("--rounds", type=int, default=1, help="how often everything is said in a run")
    parser.add_argument("--detection", choices=_SESSIONS, nargs="+", default=list(_SESSIONS))
    parser.add_argument("--lines", choices=_EMULATORS, nargs="+", default=["kept", "unforeseen"])
    arguments = parser.parse_args()
    for lines in arguments.lines:
        with _emulator(_EMULATORS[lines]) as (process, port):
            for name in arguments.detection:
                for calls in arguments.calls:
                    said = _shares(calls, arguments.rounds)
                    asyncio.run(_run(f"{name}, lines {lines}", process, port, said, _SESSIONS[name]))
            if lines == "kept":
                asyncio.run(_overload(port))


def _shares(calls: int, rounds: int) -> list[list[Utterance]]:
    """Return what each call says: everything so often, or more often where a call had too few turns."""
    said = utterances()
    rounds = max(rounds, math.ceil(_FEWEST_TURNS * calls / len(said)))
    total = rounds * len(said)
    edges = [total * number // calls for number in range(calls + 1)]
    return [[said[index % len(said)] for index in range(*edge)] for edge in itertools.pairwise(edges)]


@contextmanager
def _emulator(module: str) -> Iterator[tuple[psutil.Process, int]]:
    command = [sys.executable, "-m", *module.split()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:  # noqa: S603
        try:
            assert process.stdout is not None  # noqa: S101 (asked for above)
            yield psutil.Process(process.pid), json.loads(process.stdout.readline())["port"]
        finally:
            process.send_signal(signal.SIGTERM)


async def _run(
    name: str,
    process: psutil.Process,
    port: int,
    said: Sequence[Sequence[Utterance]],
    session: Mapping[str, Any],
) -> None:
    before_s, before = sum(process.cpu_times()[:2]), time.monotonic()
    waited_before = _waited_s()
    async with aiohttp.ClientSession(headers={"api-key": "any"}) as http, asyncio.TaskGroup() as tasks:
        made = [tasks.create_task(_call(http, port, *share, session)) for share in enumerate(said)]
    elapsed_s = time.monotonic() - before
    load = Load(
        cores=(sum(process.cpu_times()[:2]) - before_s) / elapsed_s,
        memory_mib=process.memory_info().rss / 2**20,
        pressure=(_waited_s() - waited_before) / elapsed_s,
    )
    _report(f"{name}, calls at once: {len(said)}", [task.result() for task in made], load)


async def _call(
    http: aiohttp.ClientSession,
    port: int,
    number: int,
    said: Sequence[Utterance],
    session: Mapping[str, Any],
) -> Call:
    await asyncio.sleep(number * _STAGGER_S)
    async with http.ws_connect(_url(port), max_msg_size=0) as ws:
        call = Call(ws)
        await call.run(said, session)
    return call


async def _overload(port: int) -> None:
    """Open sessions until the emulator refuses, or `_OVERLOAD` are open."""
    async with aiohttp.ClientSession(headers={"api-key": "any"}) as http:
        sockets = []
        try:
            for _ in range(_OVERLOAD):
                sockets.append(await http.ws_connect(_url(port)))  # noqa: PERF401 (keeps those before an error)
            _line("overload", f"{_OVERLOAD} sessions were accepted")
        except aiohttp.WSServerHandshakeError as error:
            _line("overload", f"session {len(sockets) + 1} gets HTTP {error.status}")
        for ws in sockets:
            await ws.close()


def _report(name: str, calls: Sequence[Call], load: Load) -> None:
    every = [turn for call in calls for turn in call.turns]
    turns = [turn for turn in every if turn.audible_at is not None]
    _line(name, f"{len(turns)} of {len(every)} turns answered")
    for label, begin, end in (
        ("last sound to first audio", "last_sound_at", "heard_at"),
        ("last sound to first audible sample", "last_sound_at", "audible_at"),
        ("speech_stopped to first audio", "stopped_at", "heard_at"),
        ("- wait for silence", "last_sound_at", "stopped_at"),
        ("- recognition after that", "stopped_at", "understood_at"),
        ("- agent, first words", "understood_at", "written_at"),
        ("- synthesis and sending", "written_at", "heard_at"),
        ("- silence before the first sound", "heard_at", "audible_at"),
    ):
        _line(f"  {label}", _spread(turns, begin, end))
    people = [turn for turn in turns if not turn.name.startswith("espeak")]
    machines = [turn for turn in turns if turn.name.startswith("espeak")]
    _line("  last sound to first audio, people", _spread(people, "last_sound_at", "heard_at"))
    _line("  last sound to first audio, espeak-ng", _spread(machines, "last_sound_at", "heard_at"))
    underruns = [gap for call in calls for gap in call.underruns_s]
    longest = f", longest {max(underruns) * 1_000:.0f} ms" if underruns else ""
    played_s = sum(call.played_s for call in calls)
    _line("  underruns", f"{len(underruns)} in {played_s:.0f} s of answers{longest}")
    _line("  turns ended before the last sound", str(sum(call.cut_short for call in calls)))
    one, _, _ = psutil.getloadavg()
    waiting = f"load average {one:.1f}, something waited for a core {load.pressure:.0%} of the time"
    _line("  machine", f"{load.cores:.2f} cores, {load.memory_mib:.0f} MiB; {waiting}")


def _spread(turns: Sequence[Turn], begin: str, end: str) -> str:
    delays_ms = [(getattr(turn, end) - getattr(turn, begin)) * 1_000 for turn in turns]
    if not delays_ms:
        return "none"
    p50, p95 = np.quantile(delays_ms, [0.5, 0.95])
    return f"p50 {p50:5.0f} ms   p95 {p95:5.0f} ms   mean {statistics.mean(delays_ms):5.0f} ms"


def _waited_s() -> float:
    """Return for how long so far something has waited for a core, as Linux counts it."""
    pressure = Path("/proc/pressure/cpu")
    if not pressure.exists():
        return 0.0
    return int(pressure.read_text().split("total=", 1)[1].split()[0]) / 1e6


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}/voice-live/realtime?model=gpt-4.1"


def _line(name: str, figure: str) -> None:
    sys.stdout.write(f"{name:62} {figure}\n" if not name.startswith(" ") else f"{name:38} {figure}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
