"""Formats in and out: G.711 bit for bit, resampling without joints, bytes in any portions."""

import hashlib
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from voicelive_emulator.audio import (
    InputDecoder,
    OutputEncoder,
    decode_alaw,
    decode_ulaw,
    encode_alaw,
    encode_ulaw,
)

EVERY_CODE = bytes(range(256))
EVERY_SAMPLE = np.arange(-32_768, 32_768, dtype=np.int16)


def tone(rate_hz: int, seconds: float = 0.5, frequency_hz: float = 440.0) -> NDArray[np.int16]:
    times = np.arange(int(rate_hz * seconds)) / rate_hz
    return (np.sin(2 * np.pi * frequency_hz * times) * 16_000).astype("<i2")


def in_portions(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def decode_all(decoder: InputDecoder, portions: list[bytes]) -> NDArray[np.float32]:
    return np.concatenate([decoder.decode(portion) for portion in portions])


def frequency_and_level(samples: NDArray[np.float32], rate_hz: int) -> tuple[float, float]:
    """The loudest frequency and the amplitude, away from the ends."""
    middle = samples[len(samples) // 4 : len(samples) // 4 + rate_hz // 5]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    return float(spectrum.argmax()) * 5.0, float(np.sqrt(2 * np.mean(np.square(middle))))


class TestG711:
    @pytest.mark.parametrize(
        ("code", "sample"),
        # The ends and the smallest steps of the tables in ITU-T G.711, scaled to 16 bits.
        [(0x80, 32_124), (0x00, -32_124), (0xFF, 0), (0x7F, 0), (0xFE, 8), (0x7E, -8), (0x8F, 16_764)],
    )
    def test_ulaw_reference_points(self, code: int, sample: int) -> None:
        assert decode_ulaw(bytes([code])).tolist() == [sample]

    @pytest.mark.parametrize(
        ("code", "sample"),
        [(0xAA, 32_256), (0x2A, -32_256), (0xD5, 8), (0x55, -8), (0xD4, 24), (0x54, -24), (0xA5, 16_896)],
    )
    def test_alaw_reference_points(self, code: int, sample: int) -> None:
        assert decode_alaw(bytes([code])).tolist() == [sample]

    def test_every_code_survives(self) -> None:
        codes = EVERY_CODE.replace(b"\x7f", b"\xff")  # µ-law has two codes for zero
        assert encode_ulaw(decode_ulaw(EVERY_CODE)) == codes
        assert encode_alaw(decode_alaw(EVERY_CODE)) == EVERY_CODE

    def test_every_sample_is_coded_as_by_the_reference(self) -> None:
        # The digests are those of `audioop.lin2ulaw` and `lin2alaw` of CPython 3.11 for 0..32767, -32768..-1.
        samples = np.arange(65_536, dtype=np.uint16).view(np.int16)
        assert hashlib.sha256(encode_ulaw(samples)).hexdigest() == (
            "617fa4850d68d3906597e949f7625fb2fc46db479e29707f33159b3d131721cb"
        )
        assert hashlib.sha256(encode_alaw(samples)).hexdigest() == (
            "f77c76aa923ee25617453f87514828a12896227f82ff383bf3bb53d6ac7c2a0f"
        )

    @pytest.mark.parametrize(
        ("encode", "decode"), [(encode_ulaw, decode_ulaw), (encode_alaw, decode_alaw)], ids=["ulaw", "alaw"]
    )
    def test_the_order_of_samples_is_kept(
        self, encode: Callable[[NDArray[np.int16]], bytes], decode: Callable[[bytes], NDArray[np.int16]]
    ) -> None:
        heard = decode(encode(EVERY_SAMPLE)).astype(int)
        assert (np.diff(heard) >= 0).all()
        assert np.abs(heard - EVERY_SAMPLE).max() <= 1_024  # half of the largest step, and the clipped end


class TestInput:
    @pytest.mark.parametrize(
        ("audio_format", "rate_hz"),
        [("pcm16", 24_000), ("pcm16", 16_000), ("g711_ulaw", 8_000), ("g711_alaw", 8_000)],
    )
    def test_a_tone_arrives_at_16_khz(self, audio_format: str, rate_hz: int) -> None:
        pcm = tone(rate_hz)
        data = {"pcm16": pcm.tobytes(), "g711_ulaw": encode_ulaw(pcm), "g711_alaw": encode_alaw(pcm)}[
            audio_format
        ]
        samples = decode_all(InputDecoder(audio_format, rate_hz), [data, b"\0" * rate_hz])
        assert samples.dtype == np.float32
        assert len(samples) >= 0.5 * 16_000
        frequency, level = frequency_and_level(samples[:8_000], 16_000)
        assert frequency == 440.0
        assert level == pytest.approx(16_000 / 32_768, rel=0.02)

    def test_g711_is_8_khz_whatever_the_session_says(self) -> None:
        data = encode_ulaw(tone(8_000))
        assert np.array_equal(
            InputDecoder("g711_ulaw", 24_000).decode(data), InputDecoder("g711_ulaw", 8_000).decode(data)
        )

    @given(
        st.lists(st.integers(min_value=0), max_size=8),
        st.sampled_from([16_000, 24_000]),
        st.sampled_from([1, 2]),
    )
    def test_portions_do_not_matter(self, cuts: list[int], rate_hz: int, channels: int) -> None:
        data = np.repeat(tone(rate_hz, 0.1), channels).tobytes() + b"\x01"
        whole = InputDecoder("pcm16", rate_hz, channels).decode(data)
        parts = decode_all(InputDecoder("pcm16", rate_hz, channels), in_portions(data, cuts))
        # The resampler gives out what it has; the samples themselves do not depend on the portions.
        length = min(len(whole), len(parts))
        assert length > 0.09 * 16_000 - 512
        assert np.allclose(whole[:length], parts[:length], atol=1e-6)

    def test_stereo_keeps_the_microphone(self) -> None:
        microphone, reference = tone(16_000), tone(16_000, frequency_hz=2_000)
        stereo = np.stack((microphone, reference), axis=1).tobytes()
        samples = decode_all(InputDecoder("pcm16", 16_000, channels=2), [stereo[:1_001], stereo[1_001:]])
        assert np.array_equal(samples, np.divide(microphone, 32_768, dtype=np.float32))

    @pytest.mark.parametrize(
        ("audio_format", "rate_hz", "channels"),
        [
            ("pcm16", 44_100, 1),
            ("opus", 24_000, 1),
            ("pcm16", 24_000, 3),
            ("pcm16", 8_000, 1),
            ("", 24_000, 1),
        ],
    )
    def test_what_voice_live_does_not_take(self, audio_format: str, rate_hz: int, channels: int) -> None:
        with pytest.raises(ValueError, match="input"):
            InputDecoder(audio_format, rate_hz, channels)


OUTPUT_FORMATS = {
    "pcm16": (24_000, 2),
    "pcm16_16000hz": (16_000, 2),
    "pcm16_8000hz": (8_000, 2),
    "pcm16-16000hz": (16_000, 2),
    "pcm16-8000hz": (8_000, 2),
    "g711_ulaw": (8_000, 1),
    "g711_alaw": (8_000, 1),
    "g711-ulaw": (8_000, 1),
}


class TestOutput:
    @pytest.mark.parametrize("audio_format", OUTPUT_FORMATS)
    def test_a_tone_leaves_whole(self, audio_format: str) -> None:
        rate_hz, sample_bytes = OUTPUT_FORMATS[audio_format]
        data = encode_in_portions(audio_format, in_portions(tone(24_000).tobytes(), [5_001, 12_000]))
        assert len(data) == pytest.approx(0.5 * rate_hz * sample_bytes, abs=sample_bytes)
        expand = {"g711_ulaw": decode_ulaw, "g711_alaw": decode_alaw, "g711-ulaw": decode_ulaw}.get(
            audio_format
        )
        pcm = expand(data) if expand else np.frombuffer(data, "<i2")
        frequency, level = frequency_and_level(np.divide(pcm, 32_768, dtype=np.float32), rate_hz)
        assert frequency == 440.0
        assert level == pytest.approx(16_000 / 32_768, rel=0.02)

    @pytest.mark.parametrize("audio_format", OUTPUT_FORMATS)
    @given(cuts=st.lists(st.integers(min_value=0), max_size=8))
    def test_portions_do_not_matter(self, audio_format: str, cuts: list[int]) -> None:
        data = tone(24_000, 0.1).tobytes()
        whole = encode_in_portions(audio_format, [data])
        assert encode_in_portions(audio_format, in_portions(data, cuts)) == whole

    def test_24_khz_is_passed_through(self) -> None:
        data = tone(24_000).tobytes()
        assert OutputEncoder("pcm16").encode(data, last=True) == data

    @pytest.mark.parametrize("audio_format", OUTPUT_FORMATS)
    def test_nothing_in_nothing_out(self, audio_format: str) -> None:
        assert OutputEncoder(audio_format).encode(b"", last=True) == b""

    @pytest.mark.parametrize("audio_format", ["mp3", "pcm16_44100hz", ""])
    def test_what_voice_live_does_not_give(self, audio_format: str) -> None:
        with pytest.raises(ValueError, match="output audio format"):
            OutputEncoder(audio_format)


def encode_in_portions(audio_format: str, portions: list[bytes]) -> bytes:
    encoder = OutputEncoder(audio_format)
    return b"".join(encoder.encode(portion) for portion in portions) + encoder.encode(b"", last=True)
