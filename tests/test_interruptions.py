"""Interruptions with real speech, over real sockets, at every moment of an answer."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from tests.gateway import RawCaller, RunningGateway
from tests.modes import gateway_for, model
from tests.processes import EmulatorProcess, GatewayProcess
from tests.speech_data import human_clips
from tests.test_continuity import resume
from tests.test_end_to_end import at_24_khz, stream

CLIP = "goforward"
WITHOUT_GREETING = {"ENABLE_PROACTIVE_GREETING": "false"}


@pytest.fixture(scope="module")
def gateway(emulator: EmulatorProcess) -> Iterator[GatewayProcess]:
    """A gateway whose agent waits for the caller's first words."""
    with gateway_for(emulator, model(emulator) | WITHOUT_GREETING) as running:
        yield running


@asynccontextmanager
async def answering(gateway: GatewayProcess) -> AsyncIterator[tuple[RawCaller, str]]:
    """A call in which the agent has just begun a long answer."""
    async with aiohttp.ClientSession() as http:
        async with RunningGateway(gateway.address, http).caller() as caller:
            await caller.until("session_started")
            await caller.send(type="text", text="What is included?")
            await caller.until("status", status="processing")
            speaking = await caller.until("status", status="agent_speaking")
            yield caller, speaking["response_id"]


async def heard_at_least(caller: RawCaller, ms: int) -> None:
    begin = len(caller.audio)
    while len(caller.audio) - begin < ms * 48:
        assert await caller.next() is not None


def clip() -> bytes:
    return at_24_khz(next(clip for clip in human_clips() if clip.name == CLIP).at(24_000))


async def assert_cut_off_and_answered(caller: RawCaller, response_id: str) -> dict[str, object]:
    """Speak now; not a byte of the old answer follows its clearing, and a new one comes."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(stream(caller, clip()))
        await caller.until("clear_playback", response_id=response_id)
        cleared = len(caller.frames)
        transcript = await caller.until("agent_transcript", response_id=response_id)
        answer = await caller.until("status", status="agent_speaking")
    between = caller.frames[cleared : caller.frames.index(answer)]
    assert not any(isinstance(frame, bytes) for frame in between)
    assert transcript["interrupted"] is True
    assert str(transcript["text"]).startswith(str(transcript["heard_text"]))
    assert answer["response_id"] != response_id
    return transcript


class TestBySpeech:
    async def test_at_the_first_word(self, gateway: GatewayProcess) -> None:
        async with answering(gateway) as (caller, response_id):
            transcript = await assert_cut_off_and_answered(caller, response_id)
            assert len(str(transcript["heard_text"])) < len(str(transcript["text"]))

    async def test_in_the_middle(self, gateway: GatewayProcess) -> None:
        async with answering(gateway) as (caller, response_id):
            await heard_at_least(caller, 2500)
            transcript = await assert_cut_off_and_answered(caller, response_id)
            assert 0 < len(str(transcript["heard_text"])) < len(str(transcript["text"]))

    async def test_at_the_last_word(self, gateway: GatewayProcess) -> None:
        """All audio has been sent, and the last second of it is being played."""
        async with answering(gateway) as (caller, response_id):
            await caller.until("agent_audio_end", response_id=response_id)
            await assert_cut_off_and_answered(caller, response_id)

    async def test_twice_in_a_row(self, gateway: GatewayProcess) -> None:
        async with answering(gateway) as (caller, response_id):
            await assert_cut_off_and_answered(caller, response_id)
            (*_, newest) = caller.of_type("status")
            await assert_cut_off_and_answered(caller, newest["response_id"])
            ends = [message["response_id"] for message in caller.of_type("agent_transcript")]
            assert len(ends) == len(set(ends))


class TestByHand:
    async def test_the_button(self, gateway: GatewayProcess) -> None:
        async with answering(gateway) as (caller, response_id):
            await heard_at_least(caller, 1500)
            await caller.send(type="barge_in")
            await caller.until("clear_playback", response_id=response_id)
            await caller.send(type="playback", response_id=response_id, played_ms=1200)
            transcript = await caller.until("agent_transcript", response_id=response_id)
            assert 0 < len(transcript["heard_text"]) < len(transcript["text"])
            assert caller.of_type("status")[-1]["status"] == "ready"

    async def test_typing_interrupts_and_is_answered(self, gateway: GatewayProcess) -> None:
        async with answering(gateway) as (caller, response_id):
            await heard_at_least(caller, 1000)
            await caller.send(type="text", text="How much does it cost?")
            await caller.until("clear_playback", response_id=response_id)
            answer = await caller.until("status", status="agent_speaking")
            transcript = await caller.until("agent_transcript", response_id=answer["response_id"])
            assert "dollars" in transcript["text"]


class TestGatewayPolicy:
    async def test_real_speech_is_held_and_then_cut_off(self, emulator: EmulatorProcess) -> None:
        variables = model(emulator) | WITHOUT_GREETING | {"INTERRUPTION_POLICY": "gateway"}
        with gateway_for(emulator, variables) as gateway:
            async with answering(gateway) as (caller, response_id):
                await heard_at_least(caller, 1000)
                await assert_cut_off_and_answered(caller, response_id)
                held = next(m for m in caller.messages if m["type"] == "hold_playback")
                assert held["response_id"] == response_id


class TestResumeInEveryState:
    @pytest.mark.parametrize("state", ["ready", "listening", "processing", "agent_speaking"])
    async def test_the_call_goes_on(self, emulator: EmulatorProcess, state: str) -> None:
        variables = model(emulator) | WITHOUT_GREETING | {"RESUME_WINDOW_S": "30"}
        with gateway_for(emulator, variables) as gateway:
            async with aiohttp.ClientSession() as http:
                running = RunningGateway(gateway.address, http)
                async with running.caller() as lost:
                    token = (await lost.until("session_started"))["resume_token"]
                    await reach(lost, state)
                    lost.break_connection()
                async with running.caller(**resume(token)) as caller:
                    assert (await caller.until("session_started"))["resumed"] is True
                    if state == "listening":
                        await stream(caller, bytes(24_000 * 2 * 2))
                        await caller.until("user_transcript")
                    if state != "ready":
                        await caller.until("agent_transcript")
                    await caller.send(type="text", text="How much does it cost?")
                    while "dollars" not in (await caller.until("agent_transcript"))["text"]:
                        pass
                    await caller.send(type="end")
                    assert await caller.until_closed() == 1000


async def reach(caller: RawCaller, state: str) -> None:
    """Bring a silent call into this state."""
    match state:
        case "listening":
            async with asyncio.TaskGroup() as tasks:
                speaking = tasks.create_task(stream(caller, clip()))
                await caller.until("status", status="listening")
                speaking.cancel()
        case "processing":
            await caller.send(type="text", text="What is included?")
            await caller.until("status", status="processing")
        case "agent_speaking":
            await caller.send(type="text", text="What is included?")
            await heard_at_least(caller, 1000)
        case _:
            await caller.until("status", status="ready")
