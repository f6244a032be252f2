"""How soon and how rightly the agent stops when the caller speaks: `make bench-barge-in`.

The whole path in real time: this caller, a gateway process for each INTERRUPTION_POLICY, one emulator
process, with a relay between them that notes when messages pass. Each sound is made in a call of its own,
while the agent speaks its greeting. The two gateways work at the same time, each with one call.
"""

import argparse
import asyncio
import random
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import dataclass
from itertools import chain
from typing import Final, Literal

import numpy as np
import psutil

from bench.barge_in_sounds import RATE_HZ, Sound, missing_engines, sounds
from bench.barge_in_tap import Session, Tap, tapped
from tests.modes import model
from tests.processes import GatewayProcess, emulator_process, gateway_process
from voicelive_client import (
    AgentAudio,
    AgentTranscript,
    ClearPlayback,
    Closed,
    Event,
    HoldPlayback,
    ResumePlayback,
    UserTranscript,
    VoiceLiveCall,
)

Policy = Literal["service", "gateway"]
POLICIES: Final[tuple[Policy, ...]] = ("service", "gateway")

GREETING: Final = (
    "Hello, this is a call about your internet connection at home. Before I begin, let me tell you what this"
    " is about. We have built a new network in your street, and it is ready to be used. It is faster than the"
    " one before, it costs less, and nobody has to come to your house to install it. In the next minute I"
    " would like to explain how it works, and then you can ask me anything that you like."
)
SPEAKS_AFTER_S: Final = (0.8, 1.6)
"""Into the agent's speech, by chance, so that sounds meet every phase of the frames."""

DECIDED_AFTER_S: Final = 2.0
"""Nothing has happened for this long after the sound: it has no effect."""

HELD_AT_MOST_S: Final = 10.5
DEFAULT_SPEECH_DURATION_MS: Final = 200
"""Of Voice Live's `server_vad`, where the session does not say."""

FRAME_S: Final = 0.02
FRAME_BYTES: Final = int(RATE_HZ * FRAME_S) * 2


@dataclass(slots=True)
class Trial:
    """What one sound led to; milliseconds since its first loud sample, None for what never came."""

    policy: Policy
    sound: Sound
    at_emulator_ms: float | None = None
    speech_started_ms: float | None = None
    held_ms: float | None = None
    cleared_ms: float | None = None
    resumed_ms: float | None = None
    understood: str = ""
    speech_duration_ms: int = DEFAULT_SPEECH_DURATION_MS

    @property
    def silent_ms(self) -> float | None:
        """When the agent fell silent at the client."""
        return self.cleared_ms if self.held_ms is None else self.held_ms


class Microphone:
    """Sends 20 ms every 20 ms, each when its last sample would have been recorded."""

    def __init__(self, call: VoiceLiveCall) -> None:
        self._call = call
        self._waiting = b""
        self._sent_bytes = 0
        self._due = asyncio.get_running_loop().time()
        self.first_loud_at: float | None = None
        self.first_loud_byte = 0
        self.done_at: float | None = None

    def make(self, sound: Sound) -> None:
        """Makes a sound, from the next frame on."""
        self.first_loud_byte = self._sent_bytes + sound.first_loud * 2
        self.first_loud_at = self._due - FRAME_S + sound.first_loud / RATE_HZ
        self._waiting = sound.samples.tobytes()
        self.done_at = self._due + len(sound.samples) / RATE_HZ

    async def run(self) -> None:
        """Sends until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(self._due - clock())
            frame, self._waiting = self._waiting[:FRAME_BYTES], self._waiting[FRAME_BYTES:]
            self._due += FRAME_S
            self._sent_bytes += FRAME_BYTES
            await self._call.send_audio(frame.ljust(FRAME_BYTES, b"\0"))


class Attempt:
    """One call in which one sound is made."""

    def __init__(self, call: VoiceLiveCall, policy: Policy, sound: Sound, tap: Tap, wait_s: float) -> None:
        self._clock = asyncio.get_running_loop().time
        self._call = call
        self._tap = tap
        self._wait_s = wait_s
        self._microphone = Microphone(call)
        self._until = float("inf")
        self.trial = Trial(policy, sound)

    async def run(self) -> Trial:
        """Waits for the agent, makes the sound, and follows what comes of it."""
        async with asyncio.TaskGroup() as tasks:
            microphone = tasks.create_task(self._microphone.run())
            async with asyncio.timeout(30):
                while not isinstance(await self._call.receive(), AgentAudio):
                    pass
            await asyncio.sleep(self._wait_s)
            self._microphone.make(self.trial.sound)
            self._until = (self._microphone.done_at or 0) + DECIDED_AFTER_S
            while self._clock() < self._until:
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(self._until):
                        self._receive(await self._call.receive())
            microphone.cancel()
        self._note_relayed(self._tap.session)
        return self.trial

    def _receive(self, event: Event) -> None:
        match event:
            case HoldPlayback():
                self.trial.held_ms = self.trial.held_ms or self._since()
                self._until = self._clock() + HELD_AT_MOST_S
            case ClearPlayback():
                self.trial.cleared_ms = self._since()
                self._until = self._clock()
            case ResumePlayback():
                self.trial.resumed_ms = self.trial.resumed_ms or self._since()
                self._until = min(self._until, self._done_at() + DECIDED_AFTER_S)
            case UserTranscript(text):
                self.trial.understood = text
            case AgentTranscript(interrupted=None):
                raise RuntimeError(
                    "the agent has finished before the sound was decided: GREETING is too short"
                )
            case Closed(code):
                raise RuntimeError(f"the gateway has closed the call ({code})")
            case _:
                pass

    def _done_at(self) -> float:
        return max(self._clock(), self._microphone.done_at or 0)

    def _since(self, at: float | None = None) -> float:
        return ((self._clock() if at is None else at) - (self._microphone.first_loud_at or 0)) * 1000

    def _note_relayed(self, session: Session) -> None:
        trial = self.trial
        if (at := session.passed_at(self._microphone.first_loud_byte)) is not None:
            trial.at_emulator_ms = self._since(at)
        if session.speech_started_at:
            trial.speech_started_ms = self._since(session.speech_started_at[0])
        trial.speech_duration_ms = session.speech_duration_ms or DEFAULT_SPEECH_DURATION_MS


async def measure(rounds: int, min_speech_ms: int) -> list[Trial]:
    """Every sound with both policies; the interruptions `rounds` times, since their delay is measured."""
    with ExitStack() as processes:
        emulator = processes.enter_context(emulator_process("--log-level", "warning"))
        async with AsyncExitStack() as relays, asyncio.TaskGroup() as tasks:
            both = []
            for policy in POLICIES:
                tap = await relays.enter_async_context(tapped(emulator.address))
                variables = model(emulator) | {
                    "AZURE_VOICELIVE_ENDPOINT": tap.address,
                    "GREETING_TEXT": GREETING,
                    "INTERRUPTION_POLICY": policy,
                    "INTERRUPTION_MIN_SPEECH_MS": str(min_speech_ms),
                }
                gateway = processes.enter_context(gateway_process(variables))
                both.append(tasks.create_task(_measure_policy(policy, gateway, tap, rounds)))
        return list(chain.from_iterable(task.result() for task in both))


async def _measure_policy(policy: Policy, gateway: GatewayProcess, tap: Tap, rounds: int) -> list[Trial]:
    # The log is read all the time: a full pipe would halt the gateway.
    log = asyncio.create_task(asyncio.to_thread(_read_to_the_end, gateway))
    url = gateway.address.replace("http", "ws") + "/ws/voice"
    chance = random.Random(policy)  # noqa: S311 - the same phases each time
    try:
        await _attempt(url, policy, sounds("noise")[0], tap, 1.0)  # the first call finds everything cold
        return [
            await _attempt(url, policy, sound, tap, chance.uniform(*SPEAKS_AFTER_S))
            for sound in chain(sounds("interruption") * rounds, sounds("backchannel"), sounds("noise"))
        ]
    finally:
        gateway.process.terminate()
        await log


def _read_to_the_end(gateway: GatewayProcess) -> None:
    for _ in gateway.process.stdout or ():
        pass


async def _attempt(url: str, policy: Policy, sound: Sound, tap: Tap, wait_s: float) -> Trial:
    async with VoiceLiveCall(url, resume_within_s=0) as call:
        return await Attempt(call, policy, sound, tap, wait_s).run()


# ------------------------------------------------------------------------------------------------- report


def report(trials: list[Trial]) -> Iterator[str]:
    """The tables, line by line."""
    yield "No clip is of a person: espeak-ng, flite and made noises; the agent speaks with Piper.\n"
    yield "From the caller's first loud sample, real interruptions only, ms:\n"
    yield f"{'':49}{'mean':>7}{'p50':>7}{'p95':>7}{'p99':>7}{'n':>5}"
    for policy in POLICIES:
        yield from _delays(
            policy, [t for t in trials if t.policy == policy and t.sound.label == "interruption"]
        )
    yield "\nWhat the agent did:\n"
    yield f"{'policy':9}{'sound':14}{'n':>4}  {'cut off':>8}{'held, went on':>15}{'unmoved':>9}  mistakes"
    for policy in POLICIES:
        for label in ("interruption", "backchannel", "noise"):
            yield _decisions(policy, [t for t in trials if t.policy == policy and t.sound.label == label])
    yield "\nEach mistake:\n"
    for trial in trials:
        if _is_mistake(trial):
            kind = "missed" if trial.sound.label == "interruption" else "wrong"
            yield (
                f"{trial.policy:9}{kind:8}{trial.sound.label:14}{trial.sound.engine:11}{trial.sound.name}"
                f"  (understood: {trial.understood or '-'})"
            )


def _delays(policy: Policy, trials: list[Trial]) -> Iterator[str]:
    silent = [
        t for t in trials if t.silent_ms is not None and None not in (t.at_emulator_ms, t.speech_started_ms)
    ]
    what = "clear_playback" if policy == "service" else "hold_playback"
    parts = [((t.at_emulator_ms or 0), (t.speech_started_ms or 0), (t.silent_ms or 0)) for t in silent]
    rows = {
        f"{policy}: silence at the client ({what})": [c for _, _, c in parts],
        "  part 1, to the emulator": [a for a, _, _ in parts],
        "  part 2, until speech_started": [b - a for a, b, _ in parts],
        "  part 3, until the client is told": [c - b for _, b, c in parts],
        "  beyond the session's speech_duration_ms": [
            (t.silent_ms or 0) - t.speech_duration_ms for t in silent
        ],
    }
    if policy == "gateway":
        rows["gateway: cut off (clear_playback)"] = [t.cleared_ms for t in trials if t.cleared_ms is not None]
    for name, values in rows.items():
        yield f"{name:49}{_percentiles(values)}{len(values):5}"


def _percentiles(values: list[float]) -> str:
    if not values:
        return f"{'-':>7}" * 4
    return "".join(f"{v:7.0f}" for v in (np.mean(values), *np.percentile(values, (50, 95, 99))))


def _decisions(policy: Policy, trials: list[Trial]) -> str:
    cut = [t for t in trials if t.cleared_ms is not None]
    held = [t for t in trials if t.cleared_ms is None and t.held_ms is not None]
    holds = [t.resumed_ms - t.held_ms for t in held if t.resumed_ms is not None and t.held_ms is not None]
    label = trials[0].sound.label
    mistakes = sum(_is_mistake(t) for t in trials)
    kind = "missed" if label == "interruption" else "wrong"
    hold = f", a hold lasted {np.median(holds):.0f} ms (median)" if holds else ""
    unmoved = len(trials) - len(cut) - len(held)
    return (
        f"{policy:9}{label:14}{len(trials):4}  {len(cut):8}{len(held):15}{unmoved:9}  {mistakes} {kind}{hold}"
    )


def _is_mistake(trial: Trial) -> bool:
    return (trial.cleared_ms is not None) != (trial.sound.label == "interruption")


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5, help="how often each interruption is made")
    arguments.add_argument("--min-speech-ms", type=int, default=1000, help="INTERRUPTION_MIN_SPEECH_MS")
    options = arguments.parse_args()
    if missing := missing_engines():
        raise SystemExit(f"Missing: {', '.join(missing)}. Install with: apt-get install espeak-ng flite")
    before = psutil.getloadavg()[0]
    trials = asyncio.run(measure(options.rounds, options.min_speech_ms))
    after = psutil.getloadavg()[0]
    print(f"INTERRUPTION_MIN_SPEECH_MS={options.min_speech_ms}", end="; ")  # noqa: T201
    print(f"{psutil.cpu_count()} shared cores, load average {before:.1f} before, {after:.1f} after")  # noqa: T201
    print("\n".join(report(trials)))  # noqa: T201


if __name__ == "__main__":
    main()
