"""Sounds that tests make and find again: tones, as PCM16 LE mono and as WAV files."""

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 24_000


def tone(frequency_hz: float, duration_ms: int, level: float = 0.3, rate_hz: int = SAMPLE_RATE_HZ) -> bytes:
    """A sine."""
    time = np.arange(rate_hz * duration_ms // 1000) / rate_hz
    return (level * 32767 * np.sin(2 * np.pi * frequency_hz * time)).astype("<i2").tobytes()


def write_wav(path: Path, pcm: bytes, rate_hz: int) -> Path:
    """Mono, 16 bits."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(pcm)
    return path


def samples_of(pcm: bytes) -> NDArray[np.float64]:
    """-1 to 1."""
    return np.frombuffer(pcm, dtype="<i2").astype(np.float64) / 32768


def tone_to_noise_db(
    samples: NDArray[np.float64], frequency_hz: float, rate_hz: int = SAMPLE_RATE_HZ
) -> float:
    """How far the sine of this frequency, fitted by least squares, stands above everything else."""
    time = np.arange(len(samples)) / rate_hz
    basis = np.stack(
        [np.sin(2 * np.pi * frequency_hz * time), np.cos(2 * np.pi * frequency_hz * time)], axis=1
    )
    fit, *_ = np.linalg.lstsq(basis, samples, rcond=None)
    signal = basis @ fit
    noise = samples - signal
    return float(10 * np.log10(np.sum(signal**2) / max(float(np.sum(noise**2)), 1e-20)))
