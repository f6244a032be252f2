"""What the callers of the benchmarks say: recordings of people, and speech by another engine than ours.

The other engine is espeak-ng, a formant synthesizer without any recording of a voice in it.
"""

import io
import subprocess
import wave
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tests.speech_data import Clip, human_clips

CALLER_RATE_HZ = 24_000

_LINES = (
    "Yes, I have two minutes.",
    "How much does it cost?",
    "We are four people at home.",
    "I pay fifty dollars a month at the moment.",
    "Is there a contract?",
    "That sounds too expensive to me.",
    "How fast is the connection?",
    "I would like to talk to a person.",
    "What is included in the price?",
    "My current provider works fine, thank you.",
)
_LONGEST_CALL_CLIP_S = 7.5
_QUIETEST_SOUND = 0.05


@dataclass(frozen=True, slots=True)
class Utterance:
    """One thing to say, PCM16 at 24 kHz, and where its last sound ends."""

    name: str
    samples: NDArray[np.int16]
    last_sound_s: float


@cache
def synthetic_clips(words_per_minute: int = 150, lines: tuple[str, ...] = _LINES) -> tuple[Clip, ...]:
    """Return lines, by default those of a caller, spoken by espeak-ng."""
    clips = []
    for number, line in enumerate(lines):
        command = ["espeak-ng", "-v", "en-us", "-s", str(words_per_minute), "--stdout", line]
        spoken = subprocess.run(command, capture_output=True, check=True).stdout  # noqa: S603 (our own words)
        with wave.open(io.BytesIO(spoken)) as file:
            # The length in the header of a stream is a guess.
            samples = np.frombuffer(file.readframes(-1), "<i2")
            clips.append(Clip(f"espeak_{number}", samples, file.getframerate(), line))
    return tuple(clips)


@cache
def utterances() -> tuple[Utterance, ...]:
    """Return what fits into a turn, by people and by espeak-ng in turn."""
    people = [
        clip for clip in human_clips() if len(clip.samples) / clip.sample_rate_hz < _LONGEST_CALL_CLIP_S
    ]
    machines = synthetic_clips()
    mixed: list[Clip] = []
    for index in range(max(len(people), len(machines))):
        mixed += [*people[index : index + 1], *machines[index : index + 1]]
    return tuple(_utterance(clip) for clip in mixed)


def last_sound_s(samples: NDArray[np.int16], sample_rate_hz: int) -> float:
    """Return where the last 10 ms end that are louder than a twentieth (-26 dB) of the loudest."""
    window = sample_rate_hz // 100
    frames = samples[: len(samples) // window * window].reshape(-1, window).astype(np.float64)
    level = np.sqrt(np.mean(np.square(frames), axis=1))
    return float(np.flatnonzero(level > level.max() * _QUIETEST_SOUND)[-1] + 1) / 100


def _utterance(clip: Clip) -> Utterance:
    samples = clip.at(CALLER_RATE_HZ)
    return Utterance(clip.name, samples, last_sound_s(samples, CALLER_RATE_HZ))
