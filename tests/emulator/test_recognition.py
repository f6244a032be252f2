"""What is recognised in recorded human speech, and what is not invented."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.noise_data import noises
from tests.speech_data import human_clips, two_cities, word_error_rate
from voicelive_emulator.recognition import Recognizer, repeated_length, split_at_pauses

pytest_plugins = ("tests.emulator.speech_fixtures",)

RATE_HZ = 16_000


def test_human_speech(recognizer: Recognizer) -> None:
    clips = human_clips()
    heard = [recognizer.transcribe(clip.model_samples()) for clip in clips]
    assert word_error_rate([clip.reference for clip in clips], heard) <= 0.10
    assert word_error_rate([clips[-1].reference], [heard[-1]]) <= 0.10


def test_quiet_speech_is_heard(recognizer: Recognizer) -> None:
    clip = human_clips()[0]
    assert word_error_rate([clip.reference], [recognizer.transcribe(clip.model_samples() * 0.1)]) <= 0.10


@pytest.mark.parametrize("name", noises())
def test_noise_has_no_words(recognizer: Recognizer, name: str) -> None:
    assert recognizer.transcribe(noises()[name]) == ""


@pytest.mark.parametrize("length", [0, 1, 511, 512, 1_600])
def test_next_to_no_audio_has_no_words(recognizer: Recognizer, length: int) -> None:
    assert recognizer.transcribe(np.zeros(length, np.float32)) == ""


def test_silence_around_speech_adds_no_words(recognizer: Recognizer) -> None:
    clip = human_clips()[4]
    quiet = np.zeros(3 * RATE_HZ, np.float32)
    heard = recognizer.transcribe(np.concatenate((quiet, clip.model_samples(), quiet)))
    assert word_error_rate([clip.reference], [heard]) == 0.0


def test_sessions_do_not_disturb_each_other(recognizer: Recognizer) -> None:
    clips = [clip.model_samples() for clip in human_clips()[5:11]]
    alone = [recognizer.transcribe(samples) for samples in clips]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(recognizer.transcribe, clips)) == alone


class TestLongAudio:
    def test_is_cut_where_the_reader_pauses(self) -> None:
        samples = two_cities().model_samples()
        pieces = split_at_pauses(samples)
        assert len(pieces) >= 4
        for piece in pieces[:-1]:
            assert np.abs(piece[-800:]).max() < 0.1 * np.abs(samples).max()

    @given(st.integers(0, 40 * RATE_HZ), st.sampled_from(["silence", "white noise", "melody"]))
    def test_nothing_is_lost(self, length: int, name: str) -> None:
        samples = np.resize(noises()[name], length)
        pieces = split_at_pauses(samples)
        assert np.array_equal(np.concatenate(pieces), samples)
        assert all(len(piece) <= 12 * RATE_HZ for piece in pieces)
        assert all(len(piece) >= 6 * RATE_HZ for piece in pieces[:-1])


class TestRepetition:
    @pytest.mark.parametrize(
        ("tokens", "length"),
        [
            ([], 0),
            ([5, 6, 7], 0),
            ([5, 5, 5], 0),
            ([5, 5, 5, 5], 1),
            ([9, 5, 6, 5, 6, 5, 6, 5, 6], 2),
            ([5, 6, 5, 6, 5, 6, 5, 6, 7], 0),
            ([*range(8)] * 4, 8),
        ],
    )
    def test_a_phrase_said_four_times_over_is_a_loop(self, tokens: list[int], length: int) -> None:
        assert repeated_length(tokens) == length
