"""How soon the agent falls silent in the page when the caller speaks: `make bench-page-barge-in`.

The whole path in real time: Chromium with the page, its microphone a sound file of somebody who interrupts;
a gateway process; the emulator. Counted from the caller's first loud sample to the last sample of the agent
that leaves the playout worklet, both on the clock of the page's AudioContext. The microphone is the one that
the page asked for: echo cancellation, noise suppression and gain control are on.
"""

import argparse
import asyncio
import base64
import json
import random
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import psutil
import soxr
from numpy.typing import NDArray
from playwright.async_api import Browser, Page

from bench.barge_in import DEFAULT_SPEECH_DURATION_MS, GREETING
from bench.barge_in_sounds import RATE_HZ, Sound, missing_engines, sounds
from bench.barge_in_tap import Tap, tapped
from tests.modes import model
from tests.processes import emulator_process, gateway_process
from tests.web.chromium import chromium
from tests.web.signals import write_wav

BROWSER: Final = Path(__file__).parent / "browser"
AIM_MS: Final = 250
"""p95 of the silence, beyond the session's `speech_duration_ms`."""

SPEAKS_AFTER_S: Final = (4.0, 5.0)
"""From the opening of the microphone, by chance: the agent has begun to speak by then."""

ANSWERS_AFTER_S: Final = 0.4
"""After the caller's last sound; no answer to the interruption can be heard sooner."""

RECORDS_ON_S: Final = 2.0
"""After the sound: the recording begins a little before the microphone."""

SURELY_SPEAKING_MS: Final = 100
"""From the first loud sample on: nobody can have heard the caller yet, so the agent must be speaking."""

PATIENCE_S: Final = 30
POLL_S: Final = 0.05

Samples = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Trial:
    """One interruption: when the agent fell silent, from the first loud sample; None where it did not.

    Void where the agent was not speaking when the caller began: nobody was interrupted.
    """

    sound: Sound
    silent_ms: float | None
    speech_duration_ms: int
    void: bool = False


class NotSpeakingError(Exception):
    """The agent was silent when the caller began."""


def first_loud_frame(microphone: Samples, sound: Sound, rate_hz: int) -> int:
    """Where the sound's first loud sample is in what the microphone delivered: at the place of best likeness.

    The browser may have dampened the onset, so the samples alone would tell too late a moment.
    """
    spoken = soxr.resample(sound.samples.astype(np.float32), RATE_HZ, rate_hz)
    size = 1 << (len(microphone) + len(spoken)).bit_length()
    likeness = np.fft.irfft(np.fft.rfft(microphone, size) * np.conj(np.fft.rfft(spoken, size)), size)
    start = int(np.argmax(likeness[: len(microphone)]))
    return start + sound.first_loud * rate_hz // RATE_HZ


def silent_after_ms(microphone: Samples, agent: Samples, sound: Sound, rate_hz: int) -> float | None:
    """Milliseconds from the caller's first loud sample to the agent's last; None where it spoke on.

    Raises NotSpeakingError, and RuntimeError where the recording is too short.
    """
    loud = first_loud_frame(microphone, sound, rate_hz)
    if not np.any(agent[loud : loud + rate_hz * SURELY_SPEAKING_MS // 1000]):
        raise NotSpeakingError
    rest_s = (len(sound.samples) - sound.first_loud) / RATE_HZ
    frames = int((rest_s + ANSWERS_AFTER_S) * rate_hz)
    if loud + frames > len(agent):
        raise RuntimeError("the recording ended before the interruption was decided")
    (heard,) = np.nonzero(agent[loud : loud + frames])
    silent_frames = int(heard[-1]) + 1 if len(heard) else 0
    return None if silent_frames > frames - rate_hz // 10 else silent_frames / rate_hz * 1000


async def _recorded(page: Page) -> tuple[Samples, Samples]:
    """What the microphone delivered and what the agent said, as long as each other."""
    both: list[str] = await page.evaluate("[packed(recorded.microphone), packed(recorded.agent)]")
    microphone, agent = (np.frombuffer(base64.b64decode(packed), "<f4") for packed in both)
    return microphone, agent


async def _attempt(browser: Browser, address: str, sound: Sound, until_s: float, tap: Tap) -> Trial:
    context = await browser.new_context(locale="en-GB", bypass_csp=True)  # for the recorder, a file of ours
    try:
        page = await context.new_page()
        worklet = json.dumps((BROWSER / "record-both-worklet.js").read_text())
        recorder = (BROWSER / "record-both.js").read_text()
        await page.add_init_script(f"window.recorderSource = {worklet};\n{recorder}")
        await page.goto(address)
        await page.wait_for_selector("#start:enabled")
        await page.click("#start")
        async with asyncio.timeout(PATIENCE_S):
            while await page.evaluate("recorded.agent.length / (recorded.rateHz || 1)") < until_s:  # noqa: ASYNC110 - asks another process
                await asyncio.sleep(POLL_S)
        microphone, agent = await _recorded(page)
        rate_hz: int = await page.evaluate("recorded.rateHz")
        await page.click("#end")
        await page.wait_for_selector('body[data-phase="ended"]')
        speech_duration_ms = tap.session.speech_duration_ms or DEFAULT_SPEECH_DURATION_MS
        try:
            silent = silent_after_ms(microphone, agent, sound, rate_hz)
        except NotSpeakingError:
            return Trial(sound, None, speech_duration_ms, void=True)
        return Trial(sound, silent, speech_duration_ms)
    finally:
        await context.close()


async def measure(rounds: int) -> list[Trial]:
    """Every interruption, `rounds` times; a browser for each sound, since its microphone is one file."""
    chance = random.Random(1)  # noqa: S311 - the same phases each time
    trials: list[Trial] = []
    with ExitStack() as running:
        folder = Path(running.enter_context(TemporaryDirectory()))
        emulator = running.enter_context(emulator_process("--log-level", "warning"))
        async with tapped(emulator.address) as tap:
            variables = {"AZURE_VOICELIVE_ENDPOINT": tap.address, "GREETING_TEXT": GREETING}
            gateway = running.enter_context(gateway_process(model(emulator) | variables))
            for number, sound in enumerate(sounds("interruption")):
                speaks_after_s = chance.uniform(*SPEAKS_AFTER_S)
                silence = np.zeros(int(speaks_after_s * RATE_HZ), np.int16)
                spoken = np.concatenate([silence, sound.samples, np.zeros(3 * RATE_HZ, np.int16)])
                file = write_wav(folder / f"{number}.wav", spoken.tobytes(), RATE_HZ)
                until_s = speaks_after_s + len(sound.samples) / RATE_HZ + RECORDS_ON_S
                async with chromium(file) as browser:
                    if not trials:  # the first call finds everything cold
                        await _attempt(browser, gateway.address, sound, until_s, tap)
                    trials += [
                        await _attempt(browser, gateway.address, sound, until_s, tap) for _ in range(rounds)
                    ]
    return trials


def report(trials: list[Trial]) -> Iterator[str]:
    """The table, line by line."""
    silent = [(t.silent_ms, t.speech_duration_ms) for t in trials if t.silent_ms is not None]
    if not silent:
        yield "no interruption succeeded"
        return
    rows = {
        "first loud sample to the agent's last": [ms for ms, _ in silent],
        "beyond the session's speech_duration_ms": [ms - expected for ms, expected in silent],
    }
    yield f"{'ms':41}{'mean':>6}{'p50':>6}{'p95':>6}{'max':>6}{'n':>5}"
    for name, values in rows.items():
        figures = (np.mean(values), *np.percentile(values, (50, 95)), max(values))
        yield f"{name:41}" + "".join(f"{figure:6.0f}" for figure in figures) + f"{len(values):5}"
    beyond = float(np.percentile(rows["beyond the session's speech_duration_ms"], 95))
    yield f"aim: p95 at most {AIM_MS} ms beyond: {'met' if beyond <= AIM_MS else 'missed'}"
    for trial in trials:
        if trial.silent_ms is None:
            what = "void, the agent was not speaking yet" if trial.void else "not interrupted"
            yield f"{what}: {trial.sound.engine} {trial.sound.name}"


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=1, help="how often each interruption is made")
    options = arguments.parse_args()
    if missing := missing_engines():
        raise SystemExit(f"Missing: {', '.join(missing)}. Install with: apt-get install espeak-ng flite")
    before = psutil.getloadavg()[0]
    trials = asyncio.run(measure(options.rounds))
    after = psutil.getloadavg()[0]
    print(f"{psutil.cpu_count()} shared cores, load average {before:.1f} before, {after:.1f} after")  # noqa: T201
    print("\n".join(report(trials)))  # noqa: T201


if __name__ == "__main__":
    main()
