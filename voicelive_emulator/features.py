"""The log-mel spectrogram that Whisper's encoder takes, and with it smart-turn.

25 ms windows every 10 ms, 80 mel bands on Slaney's scale up to 8 kHz, base-10 logarithm limited to
the loudest 80 dB, scaled to about [-1, 1]. The audio is brought to zero mean and unit variance first.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from voicelive_emulator.audio import MODEL_RATE_HZ, Samples

_WINDOW = 400
_HOP = 160
_BANDS = 80
_HIGHEST_HZ = 8_000.0


def log_mel(samples: Samples) -> NDArray[np.float32]:
    """Return the features of 16 kHz audio: 80 bands by one column per 10 ms."""
    normalized = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
    padded = np.pad(normalized, _WINDOW // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP][: len(samples) // _HOP]
    power = np.abs(np.fft.rfft(frames * _window(), axis=1)) ** 2
    logarithm = np.log10(np.maximum(_mel_filters() @ power.T, 1e-10))
    limited = np.maximum(logarithm, logarithm.max() - 8.0)
    features: NDArray[np.float32] = ((limited + 4.0) / 4.0).astype(np.float32)
    return features


@cache
def _window() -> NDArray[np.float64]:
    return np.hanning(_WINDOW + 1)[:-1]


@cache
def _mel_filters() -> NDArray[np.float64]:
    """Triangles of equal area between neighbouring band edges: (bands, frequencies)."""
    highest_mel = _hz_to_mel(np.array(_HIGHEST_HZ))
    edges = _mel_to_hz(np.linspace(0.0, float(highest_mel), _BANDS + 2))
    frequencies = np.fft.rfftfreq(_WINDOW, 1 / MODEL_RATE_HZ)
    low, centre, high = edges[:-2, np.newaxis], edges[1:-1, np.newaxis], edges[2:, np.newaxis]
    rising = (frequencies - low) / (centre - low)
    falling = (high - frequencies) / (high - centre)
    filters: NDArray[np.float64] = np.maximum(np.minimum(rising, falling), 0.0) * 2.0 / (high - low)
    return filters


# Slaney's scale: linear up to 1 kHz (15 mel), then 27 mel for each factor of 6.4.
_LINEAR_HZ_PER_MEL = 200.0 / 3.0
_BREAK_HZ = 1_000.0
_BREAK_MEL = _BREAK_HZ / _LINEAR_HZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27.0


def _hz_to_mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    above = _BREAK_MEL + np.log(np.maximum(hz, _BREAK_HZ) / _BREAK_HZ) / _LOG_STEP
    return np.where(hz < _BREAK_HZ, hz / _LINEAR_HZ_PER_MEL, above)


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    above = _BREAK_HZ * np.exp((np.maximum(mel, _BREAK_MEL) - _BREAK_MEL) * _LOG_STEP)
    return np.where(mel < _BREAK_MEL, mel * _LINEAR_HZ_PER_MEL, above)
