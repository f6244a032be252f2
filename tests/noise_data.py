"""Sounds that are not speech, made the same way every time."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

_RATE_HZ = 16_000
_SECONDS = 4
_LENGTH = _RATE_HZ * _SECONDS
_TIMES = np.arange(_LENGTH) / _RATE_HZ


@cache
def noises() -> dict[str, Samples]:
    """Return 4 s of each sound at 16 kHz, in [-1, 1]."""
    random = np.random.default_rng(7)
    sounds = {
        "silence": np.zeros(_LENGTH),
        "line noise": random.standard_normal(_LENGTH) * 0.002,
        "white noise": random.standard_normal(_LENGTH) * 0.1,
        "pink noise": _coloured(random, 0.5) * 0.3,
        "brown noise": _coloured(random, 1.0) * 0.5,
        "mains hum": sum(np.sin(2 * np.pi * 60 * n * _TIMES) / n for n in (1, 2, 3)) * 0.1,
        "ringing": np.sin(2 * np.pi * 440 * _TIMES)
        * np.cos(2 * np.pi * 20 * _TIMES)
        * (_TIMES % 3 < 1)
        * 0.3,
        "siren": np.sin(2 * np.pi * (600 * _TIMES - 300 * np.cos(np.pi * _TIMES) / np.pi)) * 0.3,
        "dial tones": (np.sin(2 * np.pi * 697 * _TIMES) + np.sin(2 * np.pi * 1209 * _TIMES))
        * (_TIMES % 0.5 < 0.2)
        * 0.2,
        "chords": _notes([[261, 329, 392], [220, 261, 329], [174, 220, 261], [196, 246, 293]]),
        "melody": _notes([[523], [587], [659], [698], [784], [659], [523], [440]]),
        "keyboard": _bursts(random, [0.3 + 0.25 * n for n in range(14)], 0.01, 0.9) * 0.8,
        "knocks": _bursts(random, [1.0, 1.3, 1.6, 3.0], 0.08, 0.1) * 1.2,
        "coughs": _bursts(random, [0.5, 0.9, 2.5, 2.8], 0.3, 0.3) * 0.5,
        "breath": _bursts(random, [0.5, 2.5], 1.0, 0.5) * 0.05,
    }
    return {name: np.clip(sound, -1, 1).astype(np.float32) for name, sound in sounds.items()}


def _coloured(random: np.random.Generator, exponent: float) -> NDArray[np.float64]:
    spectrum = np.fft.rfft(random.standard_normal(_LENGTH))
    sound = np.fft.irfft(spectrum / np.maximum(np.arange(len(spectrum)), 1) ** exponent, _LENGTH)
    return sound / float(np.abs(sound).max())


def _notes(chords: list[list[int]]) -> NDArray[np.float64]:
    """Play one chord after the other, each with three harmonics and dying away."""
    length = _LENGTH // len(chords)
    times = _TIMES[:length]
    played = [
        sum(np.sin(2 * np.pi * pitch * n * times) / n for pitch in chord for n in (1, 2, 3)) / len(chord)
        for chord in chords
    ]
    return np.concatenate([note * np.exp(-3 * times) * 0.3 for note in played])


def _bursts(
    random: np.random.Generator, starts_s: list[float], length_s: float, brightness: float
) -> NDArray[np.float64]:
    """Short noises that die away; `brightness` from 0 to 1 lets through more of the high frequencies."""
    sound = np.zeros(_LENGTH)
    length = int(length_s * _RATE_HZ)
    for start_s in starts_s:
        start = int(start_s * _RATE_HZ)
        sound[start : start + length] += np.exp(-4 * np.arange(length) / length) * random.standard_normal(
            length
        )
    smoothing = brightness * (1 - brightness) ** np.arange(64)
    return np.convolve(sound, smoothing)[:_LENGTH]
