"""Audio formats at the edge of the emulator: what a client sends or hears, and what the models take.

Clients send PCM16 or G.711; the models take 16 kHz float samples. Synthesis gives PCM16 at 24 kHz;
clients hear the format that their session asked for. Resampling keeps its state, so the joints
between chunks cannot be heard. Nothing here knows models, events or sockets.
"""

import numpy as np
import soxr
from numpy.typing import NDArray

Samples = NDArray[np.float32]
"""Mono audio at 16 kHz in [-1, 1]."""

MODEL_RATE_HZ = 16_000
SYNTHESIS_RATE_HZ = 24_000
G711_RATE_HZ = 8_000

_PCM16_SCALE = 32_768.0
_ULAW_BIAS = 132
_ULAW_CLIP = 32_635
_ALAW_TOGGLE = 0x55


def _ulaw_expanded() -> NDArray[np.int16]:
    code = ~np.arange(256, dtype=np.uint8)
    exponent = ((code >> 4) & 7).astype(np.int32)
    magnitude = ((((code & 15).astype(np.int32) << 3) + _ULAW_BIAS) << exponent) - _ULAW_BIAS
    expanded: NDArray[np.int16] = np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)
    return expanded


def _alaw_expanded() -> NDArray[np.int16]:
    code = np.arange(256, dtype=np.uint8) ^ _ALAW_TOGGLE
    exponent = ((code >> 4) & 7).astype(np.int32)
    mantissa = ((code & 15).astype(np.int32) << 4) + 8
    magnitude = np.where(exponent == 0, mantissa, (mantissa + 256) << np.maximum(exponent - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


def _ulaw_compressed() -> NDArray[np.uint8]:
    # The standard compares 14-bit values; the two low bits of a PCM16 sample do not count.
    sample = np.arange(65_536, dtype=np.uint16).view(np.int16).astype(np.int32) >> 2
    magnitude = np.minimum(np.abs(sample) << 2, _ULAW_CLIP) + _ULAW_BIAS
    exponent = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    mantissa = (magnitude >> (exponent + 3)) & 15
    sign = np.where(sample < 0, 0x80, 0)
    compressed: NDArray[np.uint8] = (~(sign | (exponent << 4) | mantissa) & 0xFF).astype(np.uint8)
    return compressed


def _alaw_compressed() -> NDArray[np.uint8]:
    # 13-bit values; negative ones are complemented, so that -1 falls into the first step below zero.
    sample = np.arange(65_536, dtype=np.uint16).view(np.int16).astype(np.int32) >> 3
    magnitude = np.where(sample < 0, ~sample, sample)
    exponent = np.maximum(np.floor(np.log2(np.maximum(magnitude, 1))).astype(np.int32) - 4, 0)
    mantissa = (magnitude >> np.maximum(exponent, 1)) & 15
    sign = np.where(sample < 0, 0, 0x80)
    compressed: NDArray[np.uint8] = ((sign | (exponent << 4) | mantissa) ^ _ALAW_TOGGLE).astype(np.uint8)
    return compressed


_ULAW_TO_PCM16 = _ulaw_expanded()
_ALAW_TO_PCM16 = _alaw_expanded()
_PCM16_TO_ULAW = _ulaw_compressed()
_PCM16_TO_ALAW = _alaw_compressed()


def decode_ulaw(data: bytes) -> NDArray[np.int16]:
    """Expand G.711 µ-law, one byte per sample, to PCM16 (ITU-T G.711, the 14-bit value in the high bits)."""
    return _ULAW_TO_PCM16[np.frombuffer(data, np.uint8)]


def decode_alaw(data: bytes) -> NDArray[np.int16]:
    """Expand G.711 A-law, one byte per sample, to PCM16 (ITU-T G.711, the 13-bit value in the high bits)."""
    return _ALAW_TO_PCM16[np.frombuffer(data, np.uint8)]


def encode_ulaw(pcm: NDArray[np.int16]) -> bytes:
    """Compress PCM16 to G.711 µ-law, one byte per sample."""
    return _PCM16_TO_ULAW[pcm.view(np.uint16)].tobytes()


def encode_alaw(pcm: NDArray[np.int16]) -> bytes:
    """Compress PCM16 to G.711 A-law, one byte per sample."""
    return _PCM16_TO_ALAW[pcm.view(np.uint16)].tobytes()


def to_pcm16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Round samples in [-1, 1] to PCM16; what is louder is clipped."""
    pcm: NDArray[np.int16] = np.clip(np.rint(samples * _PCM16_SCALE), -32_768, 32_767).astype("<i2")
    return pcm


class _Resampler:
    """Carries 16-bit full-scale audio from one rate to another, chunk by chunk."""

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._stream = None if from_hz == to_hz else soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32")

    def resample(self, samples: NDArray[np.float32], *, last: bool = False) -> NDArray[np.float32]:
        if self._stream is None:
            return samples
        resampled: NDArray[np.float32] = self._stream.resample_chunk(samples, last=last)
        return resampled


class InputDecoder:
    """Turns a session's input audio into 16 kHz samples; one per session.

    Bytes that do not fill a sample (or a pair, in stereo) wait for the next call.
    With two channels the first is the caller's microphone and the second the echo
    reference, which is dropped.
    """

    def __init__(self, audio_format: str, sampling_rate_hz: int, channels: int = 1) -> None:
        """Take `input_audio_format`, `input_audio_sampling_rate` and the number of interleaved channels.

        `sampling_rate_hz` counts for pcm16 (24,000 or 16,000); G.711 is 8 kHz whatever it says, since
        a session that only sets the format keeps the default rate of 24,000.
        Raises ValueError for a format, rate or number of channels that Voice Live does not take.
        """
        if channels not in {1, 2}:
            raise ValueError(f"input audio has 1 or 2 channels, not {channels}")
        match audio_format:
            case "pcm16":
                if sampling_rate_hz not in {16_000, 24_000}:
                    raise ValueError(f"pcm16 input is sampled at 16000 or 24000 Hz, not {sampling_rate_hz}")
                rate_hz, self._sample_bytes = sampling_rate_hz, 2
            case "g711_ulaw" | "g711_alaw":
                rate_hz, self._sample_bytes = G711_RATE_HZ, 1
            case _:
                raise ValueError(f"unsupported input audio format {audio_format!r}")
        self._format = audio_format
        self._channels = channels
        self._remainder = b""
        self._resampler = _Resampler(rate_hz, MODEL_RATE_HZ)

    def decode(self, data: bytes) -> Samples:
        """Return the 16 kHz samples that `data` completes, possibly none."""
        data = self._remainder + data
        whole = len(data) - len(data) % (self._sample_bytes * self._channels)
        self._remainder = data[whole:]
        pcm = self._expand(data[:whole])[:: self._channels]
        samples = np.divide(pcm, _PCM16_SCALE, dtype=np.float32)
        return self._resampler.resample(samples)

    def _expand(self, data: bytes) -> NDArray[np.int16]:
        match self._format:
            case "g711_ulaw":
                return decode_ulaw(data)
            case "g711_alaw":
                return decode_alaw(data)
            case _:
                return np.frombuffer(data, "<i2")


_OUTPUT_RATES_HZ = {
    "pcm16": SYNTHESIS_RATE_HZ,
    "pcm16_16000hz": 16_000,
    "pcm16_8000hz": 8_000,
    "g711_ulaw": G711_RATE_HZ,
    "g711_alaw": G711_RATE_HZ,
}


class OutputEncoder:
    """Turns synthesised speech into a session's output format; one per response."""

    def __init__(self, audio_format: str) -> None:
        """Take `output_audio_format`; hyphens count as underscores (`pcm16-8000hz`, from SDKs up to 1.1).

        Raises ValueError for a format that Voice Live does not give.
        """
        self._format = audio_format.replace("-", "_")
        if self._format not in _OUTPUT_RATES_HZ:
            raise ValueError(f"unsupported output audio format {audio_format!r}")
        self._remainder = b""
        self._resampler = _Resampler(SYNTHESIS_RATE_HZ, _OUTPUT_RATES_HZ[self._format])

    def encode(self, pcm24: bytes, *, last: bool = False) -> bytes:
        """Return the output bytes that `pcm24` (PCM16 LE, 24 kHz, mono) completes.

        The resampler looks ahead, so the end of a response comes out with `last=True`;
        after that the encoder is used up.
        """
        data = self._remainder + pcm24
        whole = len(data) - len(data) % 2
        self._remainder = data[whole:]
        if self._format == "pcm16":
            return data[:whole]
        samples = np.divide(np.frombuffer(data[:whole], "<i2"), _PCM16_SCALE, dtype=np.float32)
        pcm = to_pcm16(self._resampler.resample(samples, last=last))
        match self._format:
            case "g711_ulaw":
                return encode_ulaw(pcm)
            case "g711_alaw":
                return encode_alaw(pcm)
            case _:
                return pcm.tobytes()
