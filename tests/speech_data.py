"""Recorded human speech with what was said, and the word error rate.

The recordings come with packages: `pocketsphinx-testdata` of Debian (LibriVox readings, spoken
commands and digits) and the wheel `moonshine-voice` (two readings).
"""

import re
import subprocess
import wave
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

import jiwer
import numpy as np
import soxr
from numpy.typing import NDArray
from whisper_normalizer.english import EnglishTextNormalizer

_TWO_CITIES = (
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of"
    " foolishness, it was the epoch of belief, it was the epoch of incredulity, it was the season of light,"
    " it was the season of darkness, it was the spring of hope, it was the winter of despair, we had"
    " everything before us, we had nothing before us, we were all going direct to heaven, we were all going"
    " direct the other way. In short, the period was so far like the present period, that some of its"
    " noisiest authorities insisted on its being received, for good or for evil, in the superlative degree of"
    " comparison only."
)
_BECKETT = "Ever tried. Ever failed. No matter. Try again. Fail again. Fail better."
_RAW_RATE_HZ = 16_000


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording of one speaker: PCM16 mono samples and the words spoken."""

    name: str
    samples: NDArray[np.int16]
    sample_rate_hz: int
    reference: str

    def at(self, sample_rate_hz: int) -> NDArray[np.int16]:
        """Return the samples at another rate."""
        resampled: NDArray[np.int16] = soxr.resample(self.samples, self.sample_rate_hz, sample_rate_hz)
        return resampled

    def model_samples(self) -> NDArray[np.float32]:
        """Return the samples as the models take them: 16 kHz, in [-1, 1]."""
        return np.divide(self.at(16_000), 32_768, dtype=np.float32)

    def write_wav(self, path: Path) -> Path:
        """Write the clip as a WAV file."""
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(self.sample_rate_hz)
            file.writeframes(self.samples.tobytes())
        return path


@cache
def two_cities() -> Clip:
    """Return 44 s of reading at 48 kHz."""
    return _wheel_clip("two_cities", _TWO_CITIES)


@cache
def human_clips() -> tuple[Clip, ...]:
    """Return every recording, `two_cities` last."""
    folder = _pocketsphinx_folder()
    return (
        *_transcribed(folder / "librivox", "transcription"),
        *_transcribed(folder / "cards", "cards.transcription"),
        _raw_clip(folder / "goforward.raw", "go forward ten meters"),
        _raw_clip(folder / "tidigits/dhd.2934z.raw", "two nine three four zero"),
        _wheel_clip("beckett", _BECKETT),
        two_cities(),
    )


def word_error_rate(references: list[str], hypotheses: list[str]) -> float:
    """Return the share of wrong words over all pairs, written forms (digits, prices, hyphens) made equal."""
    return float(jiwer.wer([_normalized(r) for r in references], [_normalized(h) for h in hypotheses]))


_normalizer = EnglishTextNormalizer()


def _normalized(text: str) -> str:
    text = str(_normalizer(text.replace("-", " ")))
    text = re.sub(r"(?<!\S)(\d+) (?=\d+(?!\S))", r"\1", text)  # digits said one by one make one number
    return text or "<nothing>"


def _wheel_clip(name: str, reference: str) -> Clip:
    wheel = distribution("moonshine-voice")
    file = next(file for file in wheel.files or () if file.name == f"{name}.wav")
    return _wav_clip(Path(str(wheel.locate_file(file))), reference)


def _pocketsphinx_folder() -> Path:
    listing = subprocess.run(
        ["dpkg", "-L", "pocketsphinx-testdata"], capture_output=True, text=True, check=True
    ).stdout
    return next(Path(line).parent for line in listing.splitlines() if line.endswith("/goforward.raw"))


def _transcribed(folder: Path, transcription: str) -> list[Clip]:
    clips = []
    for line in (folder / transcription).read_text().splitlines():
        match = re.fullmatch(r"<s>\s*(.*?)\s*</s>\s*\((.*)\)\s*", line)
        assert match, line
        # The reader says "a more amiable woman"; the file doubles the article.
        reference = match[1].replace("a more a amiable", "a more amiable")
        clips.append(_wav_clip(folder / f"{match[2]}.wav", reference))
    return clips


def _wav_clip(path: Path, reference: str) -> Clip:
    with wave.open(str(path), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2), path
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return Clip(path.stem, samples, file.getframerate(), reference)


def _raw_clip(path: Path, reference: str) -> Clip:
    return Clip(path.stem, np.frombuffer(path.read_bytes(), "<i2"), _RAW_RATE_HZ, reference)
