"""What callers say or do while the agent speaks, each with a label: must the agent stop?

Spoken by two engines that are not the agent's: espeak-ng (formants) and flite (recorded diphones and
statistical voices). No clip is of a person speaking to an agent. Noises are made by `tests.noise_data`.
"""

import io
import shutil
import subprocess
import wave
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

import numpy as np
import soxr
from numpy.typing import NDArray

from tests.noise_data import noises

Label = Literal["interruption", "backchannel", "noise"]

RATE_HZ: Final = 24_000

INTERRUPTIONS: Final = (
    "Wait, stop.",
    "No, how much is it?",
    "Hold on a second.",
    "Sorry, can I ask something?",
    "I am not interested.",
    "What does that mean?",
    "Stop, please.",
    "How long is the contract?",
)
BACKCHANNELS: Final = ("Mm-hmm.", "Okay.", "Go on.", "Uh-huh.", "Yeah.", "Right.", "I see.", "Sure.")
NOISES: Final = (
    "coughs",
    "keyboard",
    "knocks",
    "breath",
    "mains hum",
    "white noise",
    "ringing",
    "melody",
)
NOISE_S: Final = 2.0

ENGINES: Final = {
    "espeak-ng": ("espeak-ng", "-v", "en-us", "--stdout"),
    "flite": ("flite", "-voice", "slt", "-o", "/dev/stdout", "-t"),
}
_PEAK: Final = 0.5
_QUIETEST_SOUND: Final = 0.05


@dataclass(frozen=True, slots=True)
class Sound:
    """PCM16 at 24 kHz; `first_loud` is the sample with which its first loud 10 ms begin."""

    label: Label
    name: str
    engine: str
    samples: NDArray[np.int16]
    first_loud: int


def missing_engines() -> list[str]:
    """The programs that are not installed."""
    return [name for name in ENGINES if shutil.which(name) is None]


@cache
def sounds(label: Label) -> tuple[Sound, ...]:
    """Every sound with this label."""
    if label == "noise":
        made = noises()
        return tuple(
            _sound(label, name, "noise", soxr.resample(made[name], 16_000, RATE_HZ)[: int(NOISE_S * RATE_HZ)])
            for name in NOISES
        )
    phrases = INTERRUPTIONS if label == "interruption" else BACKCHANNELS
    return tuple(
        _sound(label, text, engine, _spoken(command, text))
        for text in phrases
        for engine, command in ENGINES.items()
    )


def _spoken(command: tuple[str, ...], text: str) -> NDArray[np.float64]:
    """One line as an engine says it, as loud as every other."""
    spoken = subprocess.run([*command, text], capture_output=True, check=True).stdout  # noqa: S603 (our words)
    with wave.open(io.BytesIO(spoken)) as file:
        # The length in the header of a stream is a guess.
        samples = np.frombuffer(file.readframes(-1), "<i2").astype(np.float64)
        rate_hz = file.getframerate()
    resampled: NDArray[np.float64] = soxr.resample(samples, rate_hz, RATE_HZ)
    return resampled * (_PEAK / float(np.abs(resampled).max()))


def _sound(label: Label, name: str, engine: str, samples: NDArray[np.float64]) -> Sound:
    window = RATE_HZ // 100
    frames = samples[: len(samples) // window * window].reshape(-1, window).astype(np.float64)
    level = np.sqrt(np.mean(np.square(frames), axis=1))
    first_loud = int(np.flatnonzero(level > level.max() * _QUIETEST_SOUND)[0]) * window
    pcm = np.clip(np.rint(samples * 32_768), -32_768, 32_767).astype("<i2")
    return Sound(label, name, engine, pcm, first_loud)
