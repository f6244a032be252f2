"""WAV files of every kind become the speech of a call."""

import wave
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from voicelive_client.speech import FRAME_BYTES, WavError, frames_of, read_wav, write_wav


def tone(seconds: float, rate_hz: int, frequency_hz: float = 440.0) -> NDArray[np.float64]:
    wave_of: NDArray[np.float64] = 0.5 * np.sin(
        2 * np.pi * frequency_hz * np.arange(int(seconds * rate_hz)) / rate_hz
    )
    return wave_of


def packed(samples: NDArray[np.float64], width: int) -> bytes:
    if width == 1:
        return bytes((np.rint(samples * 127) + 128).astype(np.uint8).tobytes())
    whole = np.rint(samples * (2 ** (8 * width - 1) - 1)).astype("<i8")
    return bytes(whole.reshape(-1, 1).view(np.uint8)[:, :width].tobytes())


def make_wav(path: Path, samples: NDArray[np.float64], rate_hz: int, width: int, channels: int = 1) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate_hz)
        file.writeframes(packed(samples, width))
    return path


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_any_rate_and_width_gives_the_same_sound(tmp_path: Path, rate_hz: int, width: int) -> None:
    pcm = read_wav(make_wav(tmp_path / "tone.wav", tone(1.0, rate_hz), rate_hz, width))
    heard = np.frombuffer(pcm, "<i2") / 32_768
    assert heard.size == pytest.approx(24_000, abs=2)
    expected = tone(1.0, 24_000)[: heard.size]
    middle = slice(2_000, -2_000)  # a resampler rings at the ends
    tolerance = 0.02 if width == 1 else 0.002
    assert np.max(np.abs(heard[: expected.size] - expected)[middle]) < tolerance


def test_channels_are_averaged(tmp_path: Path) -> None:
    left = tone(0.5, 24_000)
    stereo = np.stack([left, -left / 2], axis=1).reshape(-1)
    pcm = read_wav(make_wav(tmp_path / "stereo.wav", stereo, 24_000, 2, channels=2))
    assert np.max(np.abs(np.frombuffer(pcm, "<i2") / 32_768 - left / 4)) < 0.001


def test_full_scale_is_kept_within_range(tmp_path: Path) -> None:
    square = np.sign(tone(0.1, 8_000))
    pcm = np.frombuffer(read_wav(make_wav(tmp_path / "square.wav", square, 8_000, 2)), "<i2")
    assert pcm.max() == 32_767, "the overshoot of the resampler is clipped, it does not wrap around"


def test_speech_survives_a_round_trip(tmp_path: Path) -> None:
    pcm = read_wav(make_wav(tmp_path / "in.wav", tone(0.3, 24_000), 24_000, 2))
    write_wav(tmp_path / "out.wav", pcm)
    assert read_wav(tmp_path / "out.wav") == pcm


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "not a PCM WAV file"),
        (b"ID3\3 this is an mp3 file, or so it says", "ffmpeg -i caller.wav"),
        (b"RIFF\x10\0\0\0WAVEfmt ", "not a PCM WAV file"),
    ],
)
def test_what_is_no_wav_file_is_refused_with_a_remedy(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "caller.wav"
    path.write_bytes(content)
    with pytest.raises(WavError, match=complaint):
        read_wav(path)


def test_missing_and_empty_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WavError, match="does not exist"):
        read_wav(tmp_path / "nobody.wav")
    with pytest.raises(WavError, match="cannot be read"):
        read_wav(tmp_path)
    with pytest.raises(WavError, match="holds no sound"):
        read_wav(make_wav(tmp_path / "empty.wav", np.zeros(0), 24_000, 2))


def test_a_file_that_was_cut_off_gives_what_there_is(tmp_path: Path) -> None:
    path = make_wav(tmp_path / "cut.wav", tone(1.0, 24_000), 24_000, 2)
    path.write_bytes(path.read_bytes()[: 44 + 24_001])
    assert len(read_wav(path)) == 24_000


def test_frames_are_20_ms_and_know_where_somebody_is_heard() -> None:
    noise = np.random.default_rng(1).normal(0, 0.0005, 24_000)
    spoken = noise.copy()
    spoken[6_000:12_000] += tone(0.25, 24_000)
    pcm = (spoken * 32_767).astype("<i2").tobytes()[:-100]
    frames = list(frames_of(pcm))
    assert b"".join(frame.pcm for frame in frames) == pcm + bytes(100)
    assert {len(frame.pcm) for frame in frames} == {FRAME_BYTES}
    sounding = [index for index, frame in enumerate(frames) if frame.sounding]
    assert sounding == list(range(12, 25))


def test_silence_has_no_sounding_frame() -> None:
    assert not any(frame.sounding for frame in frames_of(bytes(FRAME_BYTES * 5)))
    assert list(frames_of(b"")) == []
