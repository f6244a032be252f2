"""Speech is told from noise, and a finished turn from a cut one, on recorded human speech."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.noise_data import noises
from tests.speech_data import Clip, human_clips, two_cities
from voicelive_emulator.features import log_mel
from voicelive_emulator.voice_activity import FRAME_SAMPLES, EndOfUtteranceModel, VoiceActivityModel

pytest_plugins = ("tests.emulator.speech_fixtures",)

RATE_HZ = 16_000
CLIPS = human_clips()
SHORT_CLIPS = CLIPS[:-1]


def probabilities(model: VoiceActivityModel, samples: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.array(model.new_stream().probabilities(samples))


def said(model: VoiceActivityModel, clip: Clip) -> NDArray[np.float32]:
    """The clip from its first to its last frame of speech."""
    samples = clip.model_samples()
    speech = np.flatnonzero(probabilities(model, samples) >= 0.5)
    return samples[speech[0] * FRAME_SAMPLES : (speech[-1] + 1) * FRAME_SAMPLES]


class TestVoiceActivity:
    @pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.name)
    def test_where_a_voice_is_loud_there_is_speech(
        self, voice_activity: VoiceActivityModel, clip: Clip
    ) -> None:
        samples = clip.model_samples()
        found = probabilities(voice_activity, samples) >= 0.5
        frames = samples[: len(found) * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
        level = np.sqrt(np.mean(np.square(frames), axis=1))
        assert found[level > level.max() / 4].mean() >= 0.85

    @pytest.mark.parametrize("name", noises())
    def test_noise_is_not_speech(self, voice_activity: VoiceActivityModel, name: str) -> None:
        assert probabilities(voice_activity, noises()[name]).max() < 0.5

    def test_portions_do_not_matter(self, voice_activity: VoiceActivityModel) -> None:
        samples = two_cities().model_samples()[: 5 * RATE_HZ]
        whole = voice_activity.new_stream().probabilities(samples)
        stream = voice_activity.new_stream()
        parts = [
            p
            for start in range(0, len(samples), 331)
            for p in stream.probabilities(samples[start : start + 331])
        ]
        assert len(whole) == len(samples) // FRAME_SAMPLES
        assert parts == pytest.approx(whole, abs=1e-5)

    def test_sessions_do_not_disturb_each_other(self, voice_activity: VoiceActivityModel) -> None:
        clips = [clip.model_samples() for clip in SHORT_CLIPS]
        alone = [voice_activity.new_stream().probabilities(samples) for samples in clips]
        with ThreadPoolExecutor(4) as pool:
            together = list(
                pool.map(lambda samples: voice_activity.new_stream().probabilities(samples), clips)
            )
        assert together == alone


class TestEndOfUtterance:
    def test_finished_speech_sounds_more_complete_than_cut_speech(
        self, voice_activity: VoiceActivityModel, end_of_utterance: EndOfUtteranceModel
    ) -> None:
        pause = np.zeros(RATE_HZ // 10, np.float32)
        spoken = [said(voice_activity, clip) for clip in SHORT_CLIPS]
        finished = [end_of_utterance.probability(np.concatenate((speech, pause))) for speech in spoken]
        cut = [
            end_of_utterance.probability(speech[: int(len(speech) * share)])
            for speech in spoken
            if len(speech) > 2 * RATE_HZ
            for share in (0.4, 0.55, 0.7)
        ]
        assert np.mean(np.array(finished) > 0.5) >= 0.75
        assert np.mean(np.array(cut) <= 0.5) >= 0.6

    def test_only_the_last_8_seconds_count(self, end_of_utterance: EndOfUtteranceModel) -> None:
        samples = two_cities().model_samples()[: 12 * RATE_HZ]
        assert end_of_utterance.probability(samples) == end_of_utterance.probability(samples[4 * RATE_HZ :])

    def test_anything_has_a_probability(self, end_of_utterance: EndOfUtteranceModel) -> None:
        for length in (0, 1, 511, RATE_HZ):
            assert 0.0 <= end_of_utterance.probability(np.zeros(length, np.float32)) <= 1.0


class TestFeatures:
    """The log-mel spectrogram against its definition, written out with loops."""

    def test_equals_the_definition(self) -> None:
        samples = two_cities().model_samples()[RATE_HZ : 2 * RATE_HZ]
        assert log_mel(samples)[:, 50] == pytest.approx(defined_column(samples, 50), abs=1e-4)

    def test_shape_and_range(self) -> None:
        features = log_mel(two_cities().model_samples()[: 8 * RATE_HZ])
        assert features.shape == (80, 800)
        assert features.dtype == np.float32
        assert features.max() - features.min() <= 2.0 + 1e-6

    def test_level_does_not_count(self) -> None:
        samples = two_cities().model_samples()[2 * RATE_HZ : 4 * RATE_HZ]
        assert log_mel(samples * 0.5 + 0.05) == pytest.approx(log_mel(samples), abs=1e-2)


def defined_column(samples: NDArray[np.float32], column: int) -> list[float]:
    """One column of Whisper's features, from the definitions of Fourier, Hann and Slaney."""
    mean = float(np.mean(samples))
    deviation = math.sqrt(float(np.var(samples)) + 1e-7)
    audio = [(float(sample) - mean) / deviation for sample in samples]

    def power(at: int) -> list[float]:
        window = [0.5 - 0.5 * math.cos(2 * math.pi * n / 400) for n in range(400)]
        frame = [audio[abs(at * 160 - 200 + n)] * window[n] for n in range(400)]
        phases = 2 * math.pi * np.outer(np.arange(201), np.arange(400)) / 400
        return list((np.cos(phases) @ frame) ** 2 + (np.sin(phases) @ frame) ** 2)

    def hz(mel: float) -> float:
        return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)

    def bands(spectrum: list[float]) -> list[float]:
        highest = 15 + 27 * math.log(8) / math.log(6.4)
        edges = [hz(highest * n / 81) for n in range(82)]
        totals = []
        for low, centre, high in zip(edges, edges[1:], edges[2:], strict=False):
            total = 0.0
            for bin_number, value in enumerate(spectrum):
                frequency = bin_number * 40
                if low < frequency < high:
                    slope = (
                        (frequency - low) / (centre - low)
                        if frequency <= centre
                        else (high - frequency) / (high - centre)
                    )
                    total += value * slope * 2 / (high - low)
            totals.append(math.log10(max(total, 1e-10)))
        return totals

    loudest = max(max(bands(power(at))) for at in range(2, len(samples) // 160 - 2))
    return [(max(value, loudest - 8) + 4) / 4 for value in bands(power(column))]
