"""Answers are prepared in the caller's pauses, and nobody hears of it before the turn is over."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from tests.emulator.doubles import Doubles, Tones, silence, speech
from tests.emulator.wire import TIMEOUT_S, WireClient, audio_of, connected, only, types
from voicelive_emulator.agents import CallFunction, Message, Request
from voicelive_emulator.server import serving
from voicelive_emulator.settings import Settings
from voicelive_emulator.synthesis import Speech


class FrankAgent:
    """Repeats what the caller said, and says so ahead of time."""

    def __init__(self) -> None:
        self.foreseen: list[Request] = []
        self.asked: list[Request] = []

    def foresee(self, request: Request) -> Sequence[str]:
        self.foreseen.append(request)
        return [self._answer(request)]

    async def reply(self, request: Request) -> AsyncGenerator[str | CallFunction]:
        self.asked.append(request)
        yield self._answer(request)

    def _answer(self, request: Request) -> str:
        last = request.history[-1]
        assert isinstance(last, Message)
        return f"You said: {last.text}"


class AnnouncedTones(Tones):
    """Says when something was spoken."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._said = asyncio.Event()

    def stream(self, clause: str) -> Iterator[Speech]:
        yield from super().stream(clause)
        self._loop.call_soon_threadsafe(self._said.set)

    async def something_said(self) -> None:
        await asyncio.wait_for(self._said.wait(), TIMEOUT_S)

    def forget(self) -> None:
        self._said.clear()


@pytest.fixture
def agent() -> FrankAgent:
    return FrankAgent()


@pytest.fixture
async def tones(doubles: Doubles) -> AnnouncedTones:
    doubles.synthesizer = AnnouncedTones()
    return doubles.synthesizer


@pytest.fixture
async def client(doubles: Doubles, tones: AnnouncedTones, agent: FrankAgent) -> AsyncIterator[WireClient]:
    """A session whose agent can be foreseen."""
    async with session(doubles, agent) as client:
        yield client


@asynccontextmanager
async def session(doubles: Doubles, agent: FrankAgent) -> AsyncIterator[WireClient]:
    models = replace(doubles.models(), new_agent=lambda: agent)
    async with serving(Settings(port=0), models) as endpoints, connected(endpoints.port) as client:
        await client.expect("session.created")
        yield client


async def test_the_answer_is_made_in_the_pause_and_sent_after_it(
    client: WireClient, tones: AnnouncedTones, agent: FrankAgent
) -> None:
    await client.append(silence(300) + speech(1_000) + silence(320))
    await tones.something_said()
    assert types(await client.settle()) == ["input_audio_buffer.speech_started"]
    await client.append(silence(500))
    events = await client.until("response.done")
    assert types(events)[0] == "input_audio_buffer.speech_stopped"
    assert only(events, "response.audio_transcript.done")[0]["transcript"].startswith("You said: I spoke")
    assert audio_of(events)
    assert agent.foreseen == agent.asked


async def test_what_is_foreseen_is_what_the_agent_is_asked(
    client: WireClient, tones: AnnouncedTones, agent: FrankAgent
) -> None:
    tool = {"type": "function", "name": "look_up", "description": "", "parameters": {}}
    await client.send("session.update", session={"instructions": "Be brief.", "tools": [tool]})
    await client.expect("session.updated")
    await client.say("Before I speak.")
    for _ in range(2):
        tones.forget()
        await client.append(silence(300) + speech(1_000) + silence(320))
        await tones.something_said()
        await client.append(silence(500))
        await client.until("response.done")
    assert len(agent.asked) == 2
    assert agent.foreseen == agent.asked


async def test_a_caller_who_goes_on_is_answered_to_all_of_it(
    client: WireClient, tones: AnnouncedTones, agent: FrankAgent
) -> None:
    await client.append(silence(300) + speech(600) + silence(320))
    await tones.something_said()
    await client.append(speech(600) + silence(1_000))
    events = await client.until("response.done")
    assert len(only(events, "input_audio_buffer.speech_stopped")) == 1
    transcript = only(events, "response.audio_transcript.done")[0]["transcript"]
    assert transcript == "You said: I spoke for 1.5 seconds."


@pytest.mark.parametrize(
    "fields",
    [
        {"modalities": ["text"]},
        {"turn_detection": {"type": "server_vad", "create_response": False}},
    ],
)
async def test_what_will_not_be_said_is_not_prepared(
    client: WireClient, agent: FrankAgent, fields: dict[str, object]
) -> None:
    await client.send("session.update", session=fields)
    await client.expect("session.updated")
    await client.append(silence(300) + speech(1_000) + silence(1_000))
    await client.until("conversation.item.created")
    assert agent.foreseen == []


async def test_a_failure_is_told_when_it_counts(
    client: WireClient, doubles: Doubles, tones: AnnouncedTones, agent: FrankAgent
) -> None:
    doubles.recognizer.error = RuntimeError("broken")
    await client.append(silence(300) + speech(1_000) + silence(1_000))
    await client.until("conversation.item.created")
    doubles.recognizer.error = None
    await client.append(speech(1_000) + silence(1_000))
    assert (await client.until("response.done"))[-1]["response"]["status"] == "completed"
