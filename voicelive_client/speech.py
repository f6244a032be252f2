"""Recorded speech: WAV files in and out, in the form in which a call carries it.

Speech of a call is PCM16 little-endian, 24 kHz, mono, in frames of 20 ms.
"""

import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

SAMPLE_RATE_HZ: Final = 24_000
FRAME_MS: Final = 20
FRAME_BYTES: Final = SAMPLE_RATE_HZ * FRAME_MS // 1000 * 2

_MAX_SECONDS: Final = 3600
_SILENCE_DBFS: Final = -60.0


class WavError(Exception):
    """A file that cannot be used as speech; `str()` says why and what to do."""


@dataclass(frozen=True, slots=True)
class Frame:
    """20 ms of speech; `sounding` where somebody can be heard."""

    pcm: bytes
    sounding: bool


SILENT_FRAME: Final = Frame(bytes(FRAME_BYTES), sounding=False)


def read_wav(path: Path) -> bytes:
    """Reads a WAV file of any rate, 8, 16, 24 or 32 bits, as PCM16 LE, 24 kHz, mono; channels are averaged.

    Raises WavError: unreadable, not PCM, empty, longer than an hour.
    """
    try:
        with wave.open(str(path), "rb") as file:
            rate_hz, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
            if file.getnframes() > _MAX_SECONDS * rate_hz:
                raise WavError(f"{path} is longer than an hour")
            data = file.readframes(file.getnframes())
    except FileNotFoundError:
        raise WavError(f"{path} does not exist") from None
    except OSError as error:
        raise WavError(f"{path} cannot be read: {error.strerror}") from error
    except (wave.Error, EOFError) as error:
        raise WavError(
            f"{path} is not a PCM WAV file ({error or 'it ends too early'}): "
            f"convert it, for example with: ffmpeg -i {path.name} -c:a pcm_s16le speech.wav"
        ) from error
    samples = _samples(data[: len(data) // (width * channels) * width * channels], width)
    if samples.size == 0:
        raise WavError(f"{path} holds no sound")
    mono = samples.reshape(-1, channels).mean(axis=1, dtype=np.float64)
    if rate_hz != SAMPLE_RATE_HZ:
        mono = soxr.resample(mono, rate_hz, SAMPLE_RATE_HZ)
    return bytes(np.clip(np.rint(mono * 32_768), -32_768, 32_767).astype("<i2").tobytes())


def write_wav(path: Path, pcm: bytes) -> None:
    """Writes speech of a call as a WAV file (24 kHz, 16 bits, mono)."""
    # Opened here: a `wave` that cannot open its file complains a second time when it is collected.
    with path.open("wb") as raw, wave.open(raw, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(pcm)


def frames_of(pcm: bytes) -> Iterator[Frame]:
    """Cuts speech into frames; the last one is filled up with silence."""
    padded = pcm.ljust(-(-len(pcm) // FRAME_BYTES) * FRAME_BYTES, b"\0")
    samples = np.frombuffer(padded, "<i2").reshape(-1, FRAME_BYTES // 2).astype(np.float64) / 32_768
    levels_db = 10 * np.log10((samples**2).mean(axis=1) + 1e-12)
    threshold_db = _threshold_db(levels_db)
    for index, level_db in enumerate(levels_db):
        yield Frame(padded[index * FRAME_BYTES : (index + 1) * FRAME_BYTES], bool(level_db > threshold_db))


def _threshold_db(levels_db: NDArray[np.float64]) -> float:
    """The level that parts speech from pauses: well below loud speech, above the noise if there is any."""
    if levels_db.size == 0:
        return _SILENCE_DBFS
    noise_db, loud_db = (float(level) for level in np.percentile(levels_db, (10, 95)))
    return max(min(max(loud_db - 17, noise_db + 10), loud_db - 10), _SILENCE_DBFS)


def _samples(data: bytes, width: int) -> NDArray[np.float64]:
    """PCM of `width` bytes a sample as numbers in [-1, 1); WAV has 8 bits unsigned, all others signed."""
    if width == 1:
        return (np.frombuffer(data, np.uint8).astype(np.float64) - 128) / 128
    if width == 3:
        bytes_of = np.frombuffer(data, np.uint8).reshape(-1, 3)
        widened = np.zeros((len(bytes_of), 4), np.uint8)
        widened[:, 1:] = bytes_of
        return widened.reshape(-1).view("<i4").astype(np.float64) / 2**31
    return np.frombuffer(data, f"<i{width}").astype(np.float64) / float(2 ** (8 * width - 1))
