"""When turns start, pause, resume and stop, on made-up probabilities and on recorded speech."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.noise_data import noises
from tests.speech_data import Clip, human_clips
from voicelive_emulator.turn_detection import (
    FRAME_MS,
    Completeness,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
    SpeechStopped,
    TurnDetector,
    TurnEvent,
    TurnOptions,
)
from voicelive_emulator.voice_activity import VoiceActivityModel

pytest_plugins = ("tests.emulator.speech_fixtures",)

RATE_HZ = 16_000
VOICE, BETWEEN, SILENCE = 0.9, 0.4, 0.05


def options(
    *,
    threshold: float = 0.5,
    prefix_padding_ms: int = 300,
    silence_duration_ms: int = 500,
    speech_duration_ms: int = 200,
    end_of_utterance_timeout_ms: int | None = None,
) -> TurnOptions:
    return TurnOptions(
        threshold, prefix_padding_ms, silence_duration_ms, speech_duration_ms, end_of_utterance_timeout_ms
    )


def hear(detector: TurnDetector, probability: float, ms: int) -> list[TurnEvent]:
    return [event for _ in range(ms // FRAME_MS) for event in detector.receive(probability)]


class TestServerVad:
    def test_a_turn(self) -> None:
        detector = TurnDetector(options())
        assert hear(detector, SILENCE, 960) == []
        assert hear(detector, VOICE, 192) == []
        assert hear(detector, VOICE, 32) == [SpeechStarted(960 - 300)]
        assert hear(detector, VOICE, 960) == []
        assert hear(detector, SILENCE, 192) == [SpeechPaused(960 + 224 + 960 + 192)]
        assert hear(detector, SILENCE, 288) == []
        assert hear(detector, SILENCE, 32) == [SpeechStopped(960 + 224 + 960 + 512)]
        assert hear(detector, SILENCE, 9_600) == []
        assert detector.position_ms == 960 + 224 + 960 + 512 + 9_600

    def test_the_start_is_never_before_the_audio(self) -> None:
        assert hear(TurnDetector(options()), VOICE, 224) == [SpeechStarted(0)]
        assert hear(TurnDetector(options(), started_at_ms=10_000), VOICE, 224) == [SpeechStarted(10_000)]

    def test_a_turn_does_not_reach_into_the_one_before(self) -> None:
        detector = TurnDetector(options(prefix_padding_ms=2_000))
        events = hear(detector, VOICE, 480) + hear(detector, SILENCE, 512) + hear(detector, VOICE, 480)
        assert events == [SpeechStarted(0), SpeechPaused(672), SpeechStopped(992), SpeechStarted(992)]

    def test_a_short_noise_is_no_turn(self) -> None:
        detector = TurnDetector(options())
        for _ in range(5):
            assert hear(detector, VOICE, 192) == []
            assert hear(detector, SILENCE, 320) == []

    def test_a_flicker_between_the_thresholds_does_not_end_what_it_cannot_start(self) -> None:
        detector = TurnDetector(options())
        assert hear(detector, BETWEEN, 3_200) == []
        started = hear(detector, VOICE, 96) + hear(detector, BETWEEN, 96) + hear(detector, VOICE, 128)
        assert started == [SpeechStarted(3_200 - 300)]
        assert hear(detector, BETWEEN, 3_200) == []

    def test_silence_goes_on_under_a_flicker(self) -> None:
        detector = TurnDetector(options())
        hear(detector, VOICE, 320)
        events = hear(detector, SILENCE, 32) + hear(detector, BETWEEN, 480)
        assert events == [SpeechPaused(512), SpeechStopped(832)]

    @pytest.mark.parametrize(("probability", "is_silence"), [(0.34, True), (0.36, False)])
    def test_silence_lies_well_below_the_threshold(self, probability: float, is_silence: bool) -> None:
        detector = TurnDetector(options())
        hear(detector, VOICE, 320)
        assert hear(detector, probability, 192) == ([SpeechPaused(512)] if is_silence else [])

    def test_speech_of_whole_frames_is_enough(self) -> None:
        detector = TurnDetector(options(speech_duration_ms=192))
        assert hear(detector, VOICE, 160) == []
        assert hear(detector, VOICE, 32) == [SpeechStarted(0)]

    def test_a_silence_of_whole_frames_is_not_outwaited(self) -> None:
        detector = TurnDetector(options(silence_duration_ms=512))
        hear(detector, VOICE, 320)
        assert hear(detector, SILENCE, 512) == [SpeechPaused(512), SpeechStopped(832)]

    def test_a_gap_between_words_does_not_count(self) -> None:
        detector = TurnDetector(options())
        hear(detector, VOICE, 320)
        assert hear(detector, SILENCE, 160) + hear(detector, VOICE, 32) + hear(detector, SILENCE, 160) == []
        assert hear(detector, SILENCE, 32) == [SpeechPaused(704)]

    def test_going_on_voids_the_pause(self) -> None:
        detector = TurnDetector(options())
        hear(detector, VOICE, 320)
        assert hear(detector, SILENCE, 480) == [SpeechPaused(512)]
        assert hear(detector, VOICE, 64) == [SpeechResumed()]
        assert hear(detector, SILENCE, 480) == [SpeechPaused(864 + 192)]
        assert hear(detector, SILENCE, 32) == [SpeechStopped(864 + 512)]

    def test_verdicts_do_not_count(self) -> None:
        detector = TurnDetector(options())
        hear(detector, VOICE, 320)
        hear(detector, SILENCE, 224)
        assert detector.receive_end_of_utterance(Completeness.COMPLETE) == []
        assert detector.receive_end_of_utterance(Completeness.INCOMPLETE) == []
        assert hear(detector, SILENCE, 288) == [SpeechStopped(832)]

    @pytest.mark.parametrize(
        ("silence_duration_ms", "pause_ms"), [(200, 96), (300, 128), (500, 192), (2_000, 192)]
    )
    def test_the_pause_leaves_time_for_recognition(self, silence_duration_ms: int, pause_ms: int) -> None:
        detector = TurnDetector(options(silence_duration_ms=silence_duration_ms))
        hear(detector, VOICE, 320)
        assert hear(detector, SILENCE, pause_ms) == [SpeechPaused(320 + pause_ms)]

    def test_no_wait_at_all_still_pauses_first(self) -> None:
        detector = TurnDetector(options(silence_duration_ms=0, speech_duration_ms=0))
        assert hear(detector, VOICE, 32) == [SpeechStarted(0)]
        assert hear(detector, SILENCE, 32) == [SpeechPaused(64), SpeechStopped(64)]


class TestEndOfUtterance:
    OPTIONS = options(silence_duration_ms=200, end_of_utterance_timeout_ms=1_000)

    def paused(self) -> TurnDetector:
        detector = TurnDetector(self.OPTIONS)
        hear(detector, VOICE, 320)
        assert hear(detector, SILENCE, 96) == [SpeechPaused(416)]
        return detector

    def test_a_complete_turn_ends_after_the_silence_asked_for(self) -> None:
        detector = self.paused()
        assert detector.receive_end_of_utterance(Completeness.COMPLETE) == []
        assert hear(detector, SILENCE, 96) == []
        assert hear(detector, SILENCE, 32) == [SpeechStopped(320 + 224)]

    def test_a_turn_that_may_be_complete_waits_less(self) -> None:
        detector = TurnDetector(self.OPTIONS)
        hear(detector, VOICE, 320)
        hear(detector, SILENCE, 96)
        detector.receive_end_of_utterance(Completeness.PERHAPS)
        timeout_ms = self.OPTIONS.end_of_utterance_timeout_ms
        assert timeout_ms is not None
        (stopped,) = hear(detector, SILENCE, timeout_ms)
        waited_ms = max(timeout_ms * 2 // 5, self.OPTIONS.silence_duration_ms)
        assert stopped == SpeechStopped(320 + -(-waited_ms // FRAME_MS) * FRAME_MS)

    def test_a_late_verdict_ends_the_turn_at_once(self) -> None:
        detector = self.paused()
        assert hear(detector, SILENCE, 320) == []
        assert detector.receive_end_of_utterance(Completeness.COMPLETE) == [SpeechStopped(320 + 96 + 320)]

    def test_an_incomplete_turn_waits_for_the_timeout(self) -> None:
        detector = self.paused()
        assert detector.receive_end_of_utterance(Completeness.INCOMPLETE) == []
        assert hear(detector, SILENCE, 896) == []
        assert hear(detector, SILENCE, 32) == [SpeechStopped(320 + 1_024)]

    def test_without_a_verdict_too(self) -> None:
        assert hear(self.paused(), SILENCE, 928) == [SpeechStopped(320 + 1_024)]

    def test_a_timeout_below_the_silence_does_not_shorten_it(self) -> None:
        detector = TurnDetector(options(end_of_utterance_timeout_ms=100))
        hear(detector, VOICE, 320)
        hear(detector, SILENCE, 224)
        assert detector.receive_end_of_utterance(Completeness.INCOMPLETE) == []
        assert hear(detector, SILENCE, 288) == [SpeechStopped(832)]

    def test_a_verdict_holds_for_its_pause_only(self) -> None:
        detector = self.paused()
        detector.receive_end_of_utterance(Completeness.COMPLETE)
        assert hear(detector, VOICE, 32) == [SpeechResumed()]
        assert detector.receive_end_of_utterance(Completeness.COMPLETE) == []
        assert hear(detector, SILENCE, 992) == [SpeechPaused(448 + 96)]
        assert hear(detector, SILENCE, 32) == [SpeechStopped(448 + 1_024)]

    @pytest.mark.parametrize("verdict", Completeness)
    def test_nobody_speaks_nothing_ends(self, verdict: Completeness) -> None:
        assert TurnDetector(self.OPTIONS).receive_end_of_utterance(verdict) == []


Heard = float | Completeness
single_frames = st.lists(
    st.floats(0, 1) | st.sampled_from([VOICE, BETWEEN, SILENCE]) | st.sampled_from(Completeness), max_size=400
)
"""Probabilities, and verdicts among them."""

any_options = st.builds(
    TurnOptions,
    threshold=st.floats(0.05, 0.95),
    prefix_padding_ms=st.integers(0, 2_000),
    silence_duration_ms=st.integers(0, 1_500),
    speech_duration_ms=st.integers(0, 500),
    end_of_utterance_timeout_ms=st.none() | st.integers(0, 3_000),
)


@st.composite
def stretches(draw: st.DrawFn) -> list[Heard]:
    """Long stretches of one probability, which reach the ends of turns more often than single frames."""
    value = st.sampled_from([VOICE, VOICE, BETWEEN, SILENCE, SILENCE, *Completeness])
    runs = draw(st.lists(st.tuples(value, st.sampled_from([1, 3, 7, 20])), max_size=40))
    return [value for value, length in runs for _ in range(1 if isinstance(value, Completeness) else length)]


any_input = single_frames | stretches()


def run(detector: TurnDetector, heard: list[Heard]) -> list[tuple[int, TurnEvent]]:
    """Each event with the position at which it came."""
    events: list[tuple[int, TurnEvent]] = []
    for value in heard:
        new = (
            detector.receive_end_of_utterance(value)
            if isinstance(value, Completeness)
            else detector.receive(value)
        )
        events += [(detector.position_ms, event) for event in new]
    return events


class TestInvariants:
    @given(any_options, any_input, st.integers(0, 100_000))
    def test_events_alternate(self, chosen: TurnOptions, heard: list[Heard], started_at_ms: int) -> None:
        follows: dict[type[TurnEvent], set[type[TurnEvent]]] = {
            SpeechStarted: {SpeechPaused},
            SpeechPaused: {SpeechResumed, SpeechStopped},
            SpeechResumed: {SpeechPaused},
            SpeechStopped: {SpeechStarted},
        }
        kinds = [type(event) for _, event in run(TurnDetector(chosen, started_at_ms), heard)]
        assert kinds[:1] in ([], [SpeechStarted])
        assert all(after in follows[before] for before, after in pairwise(kinds))

    @given(any_options, any_input, st.integers(0, 100_000))
    def test_the_clock_only_goes_forward(
        self, chosen: TurnOptions, heard: list[Heard], started_at_ms: int
    ) -> None:
        edges = [started_at_ms]
        for position, event in run(TurnDetector(chosen, started_at_ms), heard):
            match event:
                case SpeechStarted(audio_start_ms=at):
                    assert at <= position - min(chosen.speech_duration_ms, FRAME_MS)
                    edges.append(at)
                case SpeechStopped(audio_end_ms=at) | SpeechPaused(audio_ms=at):
                    assert at == position
                    edges.append(at)
        assert edges == sorted(edges)

    @given(any_options, any_input)
    def test_the_silence_is_never_undercut(self, chosen: TurnOptions, heard: list[Heard]) -> None:
        detector = TurnDetector(chosen)
        silence_ms = 0
        for value in heard:
            if isinstance(value, Completeness):
                events = detector.receive_end_of_utterance(value)
            else:
                silence_ms = 0 if value >= chosen.threshold else silence_ms + FRAME_MS
                events = detector.receive(value)
            if any(isinstance(event, SpeechStopped) for event in events):
                assert silence_ms >= chosen.silence_duration_ms

    @given(any_options, any_input)
    def test_no_turn_outlives_its_timeout(self, chosen: TurnOptions, heard: list[Heard]) -> None:
        detector = TurnDetector(chosen)
        longest_ms = max(chosen.silence_duration_ms, chosen.end_of_utterance_timeout_ms or 0) + 2 * FRAME_MS
        events = [event for _, event in run(detector, heard)] + hear(detector, 0.0, longest_ms)
        assert not events or isinstance(events[-1], SpeechStopped)
        assert hear(detector, 0.0, 6_400) == []

    @given(any_options, st.data())
    def test_below_the_threshold_nothing_starts(self, chosen: TurnOptions, data: st.DataObject) -> None:
        below = st.floats(0, chosen.threshold, exclude_max=True)
        heard: list[Heard] = list(data.draw(st.lists(below, max_size=200)))
        assert run(TurnDetector(chosen), heard) == []

    @given(any_input)
    def test_server_vad_waits_exactly(self, heard: list[Heard]) -> None:
        detector = TurnDetector(options())
        speaking = False
        silent_since: int | None = None
        for value in heard:
            if isinstance(value, Completeness):
                continue
            position = detector.position_ms
            events = detector.receive(value)
            if value >= 0.5:
                silent_since = None
            elif value < 0.35 and silent_since is None:
                silent_since = position
            due = speaking and silent_since is not None and detector.position_ms - silent_since >= 500
            assert any(isinstance(event, SpeechStopped) for event in events) == due
            if due:
                speaking, silent_since = False, None
            if any(isinstance(event, SpeechStarted) for event in events):
                speaking = True


class TestRecordedSpeech:
    """The detector behind the real model."""

    @pytest.mark.parametrize("clip", human_clips()[:5], ids=lambda clip: clip.name)
    def test_a_sentence_is_a_turn(self, voice_activity: VoiceActivityModel, clip: Clip) -> None:
        quiet = np.zeros(RATE_HZ, np.float32)
        samples = clip.model_samples()
        events = detect(voice_activity, np.concatenate((quiet, samples, quiet)))
        started, *_, stopped = [
            event for event in events if isinstance(event, (SpeechStarted, SpeechStopped))
        ]
        loud_ms = 1_000 + np.flatnonzero(np.abs(samples) > np.abs(samples).max() / 4) / (RATE_HZ / 1_000)
        assert isinstance(started, SpeechStarted)
        assert isinstance(stopped, SpeechStopped)
        assert started.audio_start_ms + 300 == pytest.approx(loud_ms[0], abs=300)
        assert started.audio_start_ms + 300 <= loud_ms[0] + 32
        assert loud_ms[-1] + 500 <= stopped.audio_end_ms <= loud_ms[-1] + 1_000

    @pytest.mark.parametrize("name", noises())
    def test_noise_is_no_turn(self, voice_activity: VoiceActivityModel, name: str) -> None:
        assert detect(voice_activity, noises()[name]) == []


def detect(model: VoiceActivityModel, samples: NDArray[np.float32]) -> list[TurnEvent]:
    detector = TurnDetector(options())
    return [
        e for probability in model.new_stream().probabilities(samples) for e in detector.receive(probability)
    ]
