"""What is spoken can be understood, has its words at their times, and starts soon."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soxr
from numpy.typing import NDArray

from tests.speech_data import word_error_rate
from voicelive_emulator.model_files import ModelFiles
from voicelive_emulator.recognition import Recognizer
from voicelive_emulator.synthesis import (
    SharedSpeech,
    Speech,
    SpeechCache,
    SpeechStream,
    Synthesizer,
    split_clauses,
)

pytest_plugins = ("tests.emulator.speech_fixtures",)

RATE_HZ = 24_000
AGENT_LINES = [
    "Hi, this is Sam from Northwind Broadband, do you have two minutes?",
    "Our home plan is $39.99 a month, with no setup fee.",
    "You would save about 20% against what you pay now.",
    "I can book the technician for Thursday at 2:15 in the afternoon.",
    "No problem, I will take your number off our list.",
    "Could you tell me how many people use the internet at home?",
    "The contract runs for 12 months and costs $1,200 in total.",
    "So that is two phones and one router, is that right?",
    "I will pass you over to a colleague who can help with that.",
    "Thank you for your time, and have a lovely day!",
]


@pytest.fixture(scope="module")
def another(model_files: ModelFiles) -> Synthesizer:
    """A second synthesizer, which has not spoken yet."""
    return Synthesizer(model_files)


def samples(speech: Speech) -> NDArray[np.float32]:
    sound: NDArray[np.float32] = np.frombuffer(speech.pcm, "<i2").astype(np.float32) * np.float32(1 / 32_768)
    return sound


def heard_from(recognizer: Recognizer, *clauses: Speech) -> str:
    sound = np.concatenate([samples(clause) for clause in clauses])
    return recognizer.transcribe(soxr.resample(sound, RATE_HZ, 16_000))


def level(sound: NDArray[np.float32], start_ms: float, end_ms: float) -> float:
    part = sound[int(start_ms * RATE_HZ / 1000) : int(end_ms * RATE_HZ / 1000)]
    return float(np.sqrt(np.mean(np.square(part)))) if len(part) else 0.0


class TestIntelligibility:
    def test_agent_lines_are_recognised_back(self, synthesizer: Synthesizer, recognizer: Recognizer) -> None:
        heard = [
            heard_from(recognizer, *(synthesizer.synthesize(clause) for clause in split_clauses(line)))
            for line in AGENT_LINES
        ]
        assert word_error_rate(AGENT_LINES, heard) <= 0.15

    @pytest.mark.parametrize(
        ("text", "spoken"),
        [
            ("The price is $19.99 in total.", "The price is $19.99 in total."),
            ("It costs $1,200 for the year.", "It costs $1,200 for the year."),
            ("That would be 49 dollars.", "That would be $49."),
            ("It takes 5-10 days.", "It takes 5 to 10 days."),
            ("You save 20% with that.", "You save 20% with that."),
        ],
    )
    def test_numbers_are_heard_exactly(
        self, synthesizer: Synthesizer, recognizer: Recognizer, text: str, spoken: str
    ) -> None:
        heard = heard_from(recognizer, synthesizer.synthesize(text))
        assert word_error_rate([spoken], [heard]) == 0.0, heard


class TestSound:
    @pytest.mark.parametrize("line", AGENT_LINES)
    def test_level_and_silences(self, synthesizer: Synthesizer, line: str) -> None:
        for clause in split_clauses(line):
            sound = samples(synthesizer.synthesize(clause))
            loud = np.flatnonzero(np.abs(sound) > 0.02) * 1000 / RATE_HZ
            assert loud[0] <= 60
            assert 20 <= len(sound) * 1000 / RATE_HZ - loud[-1] <= 350
            assert 0.3 <= np.abs(sound).max() <= 1.0
            assert 0.03 <= level(sound, loud[0], loud[-1]) <= 0.2

    @pytest.mark.parametrize("text", ["", "   ", "...", "😀", "*"])
    def test_no_words_no_sound(self, synthesizer: Synthesizer, text: str) -> None:
        assert synthesizer.synthesize(text) == Speech(b"", ())
        assert b"".join(piece.pcm for piece in synthesizer.stream(text)) == b""

    def test_two_sentences_are_one_clause(self, synthesizer: Synthesizer, recognizer: Recognizer) -> None:
        text = "The first thing is done. The second thing is next."
        assert word_error_rate([text], [heard_from(recognizer, synthesizer.synthesize(text))]) == 0.0


class TestWords:
    @pytest.mark.parametrize("line", AGENT_LINES)
    def test_follow_each_other_within_the_sound(self, synthesizer: Synthesizer, line: str) -> None:
        for clause in split_clauses(line):
            speech = synthesizer.synthesize(clause)
            assert [word.text for word in speech.words] == clause.split()
            end_ms = 0
            for word in speech.words:
                assert word.offset_ms >= end_ms - 1
                assert word.duration_ms >= 20
                end_ms = word.offset_ms + word.duration_ms
            assert end_ms <= len(speech.pcm) * 1000 / (2 * RATE_HZ)

    def test_are_where_the_sound_is(self, synthesizer: Synthesizer) -> None:
        speech = synthesizer.synthesize("Monday, Tuesday, Wednesday, Thursday, Friday.")
        sound = samples(speech)
        ends = [word.offset_ms + word.duration_ms for word in speech.words]
        for word, end_ms in zip(speech.words, ends, strict=True):
            assert level(sound, word.offset_ms, end_ms) > 0.04
        for end_ms, after in zip(ends, speech.words[1:], strict=False):
            rest = (end_ms + 40, after.offset_ms - 20)
            assert rest[1] > rest[0]
            assert level(sound, *rest) < 0.02

    def test_a_price_is_one_word(self, synthesizer: Synthesizer) -> None:
        words = synthesizer.synthesize("Just $39.99 a month.").words
        assert [word.text for word in words] == ["Just", "$39.99", "a", "month."]
        assert words[1].duration_ms > 3 * words[0].duration_ms


class TestStream:
    TEXT = "The connection is fast enough for the whole family, and the router is included in the price."

    def test_the_pieces_are_the_clause(self, another: Synthesizer, synthesizer: Synthesizer) -> None:
        whole = synthesizer.synthesize(self.TEXT)
        pieces = list(another.stream(self.TEXT))
        assert b"".join(piece.pcm for piece in pieces) == whole.pcm
        assert pieces[0].words == whole.words
        assert all(piece.words == () for piece in pieces[1:])

    def test_the_first_piece_is_short_and_heard(self, synthesizer: Synthesizer) -> None:
        first, second, *_ = synthesizer.stream("The first sound comes soon, however long the sentence is.")
        assert len(first.pcm) <= 0.3 * RATE_HZ * 2
        assert np.abs(samples(first)).max() > 0.05
        assert len(second.pcm) > len(first.pcm)

    def test_the_joints_cannot_be_heard(self, synthesizer: Synthesizer) -> None:
        text = "Nobody who listens can tell where one piece of the sentence ends and the next begins."
        pieces = [samples(piece) for piece in synthesizer.stream(text)]
        sound = np.concatenate(pieces)
        steps = np.abs(np.diff(sound))
        for joint in np.cumsum([len(piece) for piece in pieces])[:-1]:
            around = steps[joint - 240 : joint + 240]
            assert steps[joint - 1] <= around.max()
            assert steps[joint - 1] <= 0.1


class TestMemory:
    def test_the_same_line_is_spoken_once(self, synthesizer: Synthesizer) -> None:
        synthesizer.synthesize("Please hold the line.")
        pieces = synthesizer.stream(" Please hold the line. ")
        for _ in pieces:
            assert pieces.is_ready

    def test_who_asks_at_the_same_time_gets_the_same_pieces(self, synthesizer: Synthesizer) -> None:
        text = "Two callers are told the same at once, and it is made only once."
        first, second = synthesizer.stream(text), synthesizer.stream(text)
        made = next(first)
        assert second.is_ready
        assert next(second) is made
        assert list(second) == list(first)

    def test_what_was_not_said_for_long_is_forgotten(self) -> None:
        cache = SpeechCache(max_bytes=10)
        made: list[str] = []

        def speak(clause: str, pcm: bytes = b"1234") -> None:
            def pieces() -> Iterator[Speech]:
                made.append(clause)
                yield Speech(pcm, ())

            speech = cache.get_or_add(clause, lambda: SharedSpeech(pieces()))
            assert list(SpeechStream(speech, cache)) == [Speech(pcm, ())]

        for clause in ("one", "two", "one", "three", "one", "two"):
            speak(clause)
        assert made == ["one", "two", "three", "two"]
        speak("long", b"1" * 11)
        speak("one")
        assert made == ["one", "two", "three", "two", "long", "one"]

    def test_a_clause_that_failed_is_made_anew(self) -> None:
        cache = SpeechCache(max_bytes=100)

        def broken() -> Iterator[Speech]:
            yield Speech(b"12", ())
            raise RuntimeError("broken")

        stream = SpeechStream(cache.get_or_add("one", lambda: SharedSpeech(broken())), cache)
        assert next(stream) == Speech(b"12", ())
        with pytest.raises(RuntimeError):
            next(stream)
        whole = [Speech(b"12", ()), Speech(b"34", ())]
        assert list(SpeechStream(cache.get_or_add("one", lambda: SharedSpeech(iter(whole))), cache)) == whole

    def test_the_same_line_sounds_the_same_everywhere(
        self, another: Synthesizer, synthesizer: Synthesizer
    ) -> None:
        assert another.synthesize("See you soon.") == synthesizer.synthesize("See you soon.")

    def test_a_clause_that_was_cut_off_is_spoken_whole_the_next_time(self, synthesizer: Synthesizer) -> None:
        text = "This one is broken off after its first piece, as a caller speaks."
        first = next(synthesizer.stream(text))
        assert len(synthesizer.synthesize(text).pcm) > 4 * len(first.pcm)

    def test_sessions_do_not_disturb_each_other(self, another: Synthesizer, synthesizer: Synthesizer) -> None:
        alone = [synthesizer.synthesize(line) for line in AGENT_LINES]
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(another.synthesize, AGENT_LINES)) == alone
