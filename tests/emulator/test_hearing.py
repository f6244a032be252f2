"""The ears of a session with doubles of the models: what waits for what."""

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest

from tests.emulator.doubles import Doubles, silence, speech
from voicelive_emulator.audio import Samples
from voicelive_emulator.hearing import Hearing
from voicelive_emulator.session_config import HearingOptions
from voicelive_emulator.turn_detection import (
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
    SpeechStopped,
    TurnEvent,
    TurnOptions,
)
from voicelive_emulator.workers import Workers

TURNS = TurnOptions(0.5, 300, 500, 200, 1_000)


@dataclass
class SlowVerdict:
    """Says that a turn is complete, once it may."""

    asked: threading.Event = field(default_factory=threading.Event)
    may_answer: threading.Event = field(default_factory=threading.Event)

    def probability(self, samples: Samples) -> float:
        self.asked.set()
        self.may_answer.wait(timeout=10)
        return 1.0


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    made = Workers()
    yield made
    await made.close()


def ears(doubles: Doubles, workers: Workers, verdict: SlowVerdict) -> Hearing:
    models = replace(doubles.models(), end_of_utterance=verdict)
    return Hearing(models, workers, HearingOptions("pcm16", 24_000, 1, TURNS, 0.5))


async def heard(hearing: Hearing, audio: bytes) -> list[TurnEvent]:
    return [event async for event in hearing.hear(audio)]


async def test_a_caller_is_heard_while_it_is_judged_whether_they_are_done(
    doubles: Doubles, workers: Workers
) -> None:
    verdict = SlowVerdict()
    hearing = ears(doubles, workers, verdict)
    events = await heard(hearing, silence(320) + speech(960) + silence(400) + speech(320))
    assert [type(event) for event in events] == [SpeechStarted, SpeechPaused, SpeechResumed]
    verdict.may_answer.set()


async def test_a_slow_judgement_moves_no_turn(doubles: Doubles, workers: Workers) -> None:
    audio = silence(320) + speech(960) + silence(1_600)
    quick, slow = SlowVerdict(), SlowVerdict()
    quick.may_answer.set()
    expected = await heard(ears(doubles, workers, quick), audio)
    async with asyncio.TaskGroup() as tasks:
        hearing = tasks.create_task(heard(ears(doubles, workers, slow), audio))
        assert await asyncio.to_thread(slow.asked.wait, 10)
        slow.may_answer.set()
    assert hearing.result() == expected
    (stopped,) = (event for event in expected if isinstance(event, SpeechStopped))
    assert stopped.audio_end_ms == pytest.approx(320 + 960 + 500, abs=32)


async def test_the_words_so_far_are_those_of_the_pause(doubles: Doubles, workers: Workers) -> None:
    verdict = SlowVerdict()
    verdict.may_answer.set()
    hearing = ears(doubles, workers, verdict)
    await heard(hearing, silence(320) + speech(960) + silence(320))
    words = hearing.words_so_far
    assert words is not None
    assert await words == "I spoke for 1.0 seconds."
    assert 0 < hearing.stops_in_s <= 0.5
    await heard(hearing, speech(320))
    assert hearing.words_so_far is None
    assert hearing.stops_in_s == 0


async def test_of_a_long_turn_only_the_rest_is_recognised_anew(doubles: Doubles, workers: Workers) -> None:
    verdict = SlowVerdict()
    verdict.may_answer.set()
    hearing = ears(doubles, workers, verdict)
    await heard(hearing, speech(5_000) + silence(320))
    assert (words := hearing.words_so_far) is not None
    assert await words == "I spoke for 5.0 seconds."
    await heard(hearing, speech(1_000) + silence(1_600))
    assert await hearing.recognize_turn() == "I spoke for 5.0 seconds. I spoke for 1.0 seconds."
    assert len(doubles.recognizer.heard[-1]) < 2 * 16_000
    await heard(hearing, speech(1_000) + silence(1_600))
    assert await hearing.recognize_turn() == "I spoke for 1.0 seconds."
