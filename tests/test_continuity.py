"""A call survives: the caller's connection breaks and comes back, or Voice Live's is taken up again."""

import asyncio
import time
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr

from app import main as main_module
from app.config import Settings, settings_from
from app.voicelive.credentials import Credentials, Token
from tests.gateway import RawCaller, RunningGateway, running_gateway
from tests.scripted_voice_live import ScriptedSession, ScriptedVoiceLive, scripted_voice_live
from tests.test_config import AGENT, ORIGINAL
from tests.test_main import upgrade
from tests.test_service import audio_delta, response_created, response_done, says

pytestmark = pytest.mark.usefixtures("both_ways")

WINDOW_S = 20


def ramp(ms: int) -> bytes:
    """Audio in which every sample says where it is."""
    return np.arange(ms * 24, dtype="<u2").tobytes()


def resume(token: str) -> dict[str, Any]:
    return {"protocols": ["voice-live.v1", f"resume.{token}"]}


async def hang_up(caller: RawCaller) -> None:
    await caller.send(type="end")
    assert await caller.until_closed() == 1000


async def refused_status(gateway: RunningGateway, token: str) -> int:
    headers = upgrade() | {"Sec-WebSocket-Protocol": f"voice-live.v1, resume.{token}"}
    async with gateway.http.get(f"{gateway.address}/ws/voice", headers=headers) as refused:
        return refused.status


class TestTheCallerComesBack:
    async def test_the_agent_goes_on_where_it_was_and_no_sound_is_lost(self) -> None:
        story = ramp(4000)
        asked: list[str] = []

        async def tells(session: ScriptedSession) -> None:
            await session.configure()
            asked.append((await session.receive())["type"])
            await session.send(
                response_created("resp_1"),
                {"type": "response.audio_transcript.delta", "response_id": "resp_1", "delta": "A story."},
                audio_delta("resp_1", story),
                {"type": "response.audio_transcript.done", "response_id": "resp_1", "transcript": "A story."},
                response_done("resp_1"),
            )
            await session.until_closed()

        async with scripted_voice_live(tells) as service:
            async with running_gateway(service.settings(resume_window_s=WINDOW_S)) as gateway:
                async with gateway.caller() as lost:
                    token = (await lost.until("session_started"))["resume_token"]
                    while len(lost.audio) < 1500 * 48:
                        assert await lost.next() is not None
                    lost.break_connection()
                async with gateway.caller(**resume(token)) as caller:
                    started = await caller.until("session_started")
                    assert caller.frames[0] is started
                    assert started["resumed"] is True
                    assert started["resume_token"] != token
                    assert caller.socket.protocol == "voice-live.v1"
                    transcript = await caller.until("agent_transcript")
                    await hang_up(caller)
        assert len(service.handshakes) == 1
        assert asked == ["response.create"]
        assert transcript["text"] == "A story."
        assert "interrupted" not in transcript
        assert story.endswith(caller.audio)
        assert len(lost.audio) + len(caller.audio) >= len(story)
        assert caller.of_type("status")[0] == {
            "type": "status",
            "status": "agent_speaking",
            "response_id": "resp_1",
        }

    async def test_what_was_said_meanwhile_is_told(self) -> None:
        lost_now = asyncio.Event()

        async def hears_something(session: ScriptedSession) -> None:
            await session.configure()
            await session.receive()
            await lost_now.wait()
            await session.send(
                {"type": "input_audio_buffer.speech_started", "item_id": "item_1"},
                {"type": "input_audio_buffer.speech_stopped", "item_id": "item_1"},
                {
                    "type": "conversation.item.input_audio_transcription.completed",
                    "item_id": "item_1",
                    "transcript": "My last words.",
                },
            )
            await session.until_closed()

        async with scripted_voice_live(hears_something) as service:
            async with running_gateway(service.settings(resume_window_s=WINDOW_S)) as gateway:
                async with gateway.caller() as lost:
                    token = (await lost.until("session_started"))["resume_token"]
                    lost.break_connection()
                    lost_now.set()
                async with gateway.caller(**resume(token)) as caller:
                    assert (await caller.until("user_transcript"))["text"] == "My last words."
                    await hang_up(caller)

    async def test_a_token_opens_once_and_an_unknown_one_never(self) -> None:
        async with scripted_voice_live(quiet) as service:
            async with running_gateway(service.settings(resume_window_s=WINDOW_S)) as gateway:
                async with gateway.caller() as lost:
                    token = (await lost.until("session_started"))["resume_token"]
                    lost.break_connection()
                async with gateway.caller(**resume(token)) as caller:
                    await caller.until("session_started")
                    assert await refused_status(gateway, token) == 401
                    assert await refused_status(gateway, "made-up") == 401
                    newest = caller.of_type("session_started")[0]["resume_token"]
                    await hang_up(caller)
                assert await refused_status(gateway, newest) == 401

    async def test_a_hang_up_ends_the_upstream_session_in_spite_of_the_window(self) -> None:
        ended = asyncio.Event()

        async def listens(session: ScriptedSession) -> None:
            await session.configure()
            await session.until_closed()
            ended.set()

        async with scripted_voice_live(listens) as service:
            async with running_gateway(service.settings(resume_window_s=WINDOW_S)) as gateway:
                async with gateway.caller() as caller:
                    await caller.until("session_started")
                    await caller.socket.close()
                async with asyncio.timeout(5):
                    await ended.wait()

    async def test_a_caller_who_stays_away_ends_the_call(self) -> None:
        ended = asyncio.Event()

        async def listens(session: ScriptedSession) -> None:
            await session.configure()
            await session.until_closed()
            ended.set()

        async with scripted_voice_live(listens) as service:
            async with running_gateway(service.settings(resume_window_s=0.5)) as gateway:
                async with gateway.caller() as lost:
                    token = (await lost.until("session_started"))["resume_token"]
                    lost.break_connection()
                async with asyncio.timeout(10):
                    await ended.wait()
                assert await refused_status(gateway, token) == 401

    async def test_a_caller_who_is_back_before_the_loss_was_noticed(self) -> None:
        async with scripted_voice_live(quiet) as service:
            async with running_gateway(service.settings(resume_window_s=WINDOW_S)) as gateway:
                async with gateway.caller() as stale:
                    token = (await stale.until("session_started"))["resume_token"]
                    async with gateway.caller(**resume(token)) as caller:
                        await caller.until("session_started")
                        await caller.send(type="ping")
                        await caller.until("pong")
                        await stale.until_closed()
                        assert not [m for m in stale.messages if m.get("fatal")]
                        await hang_up(caller)
        assert len(service.handshakes) == 1

    async def test_without_a_window_there_is_no_token(self) -> None:
        async with scripted_voice_live(quiet) as service, running_gateway(service.settings()) as gateway:
            async with gateway.caller() as caller:
                assert "resume_token" not in await caller.until("session_started")
                await hang_up(caller)


async def quiet(session: ScriptedSession) -> None:
    await session.configure()
    await session.until_closed()


class LosesEachSession:
    """A Voice Live whose sessions break when the test says so; what each was sent is kept."""

    def __init__(self, **session: object) -> None:
        self.session = session
        self.received: list[list[dict[str, Any]]] = []
        self.break_now = asyncio.Event()
        self.opened = asyncio.Semaphore(0)

    async def play(self, session: ScriptedSession) -> None:
        mine: list[dict[str, Any]] = []
        self.received.append(mine)
        await session.configure(**self.session)
        self.opened.release()
        async with asyncio.TaskGroup() as tasks:
            breaking = tasks.create_task(self._break(session))
            try:
                while True:
                    mine.append(await session.receive())
                    if mine[-1]["type"] == "response.create":
                        name = f"resp_{len(self.received)}_{len(mine)}"
                        await says(session, name, "Of course.", ms=100)
            finally:
                breaking.cancel()

    async def _break(self, session: ScriptedSession) -> None:
        await self.break_now.wait()
        self.break_now.clear()
        await session.abort()


class TestVoiceLiveIsLost:
    async def test_a_model_is_told_what_was_said_and_answers_on(self) -> None:
        loses = LosesEachSession()
        async with scripted_voice_live(loses.play) as service:
            async with running_gateway(service.settings()) as gateway, gateway.caller() as caller:
                await caller.until("agent_transcript")
                await caller.send(type="text", text="The price?")
                await caller.until("agent_transcript")
                await caller.until("status", status="ready")
                loses.break_now.set()
                await loses.opened.acquire()
                await loses.opened.acquire()
                await caller.send(type="text", text="And per year?")
                await caller.until("agent_transcript")
                await hang_up(caller)
        assert len(caller.of_type("session_started")) == 1
        said = [event["item"]["content"][0]["text"] for event in loses.received[1][:4]]
        assert said == ["Of course.", "The price?", "Of course.", "And per year?"]
        assert [event["item"]["role"] for event in loses.received[1][:4]] == [
            "assistant",
            "user",
            "assistant",
            "user",
        ]
        assert [event["type"] for event in loses.received[1][4:]] == ["response.create"]

    async def test_a_turn_that_waited_for_an_answer_is_asked_again(self) -> None:
        asked = asyncio.Event()
        sessions = 0

        async def dies_when_asked(session: ScriptedSession) -> None:
            nonlocal sessions
            sessions += 1
            await session.configure()
            while (await session.receive())["type"] != "response.create":
                pass
            if sessions == 1:
                asked.set()
                await session.abort()
            else:
                await says(session, "resp_1", "Here I am.", ms=100)
                await session.until_closed()

        async with scripted_voice_live(dies_when_asked) as service:
            settings = service.settings(enable_proactive_greeting=False)
            async with running_gateway(settings) as gateway, gateway.caller() as caller:
                await caller.send(type="text", text="Hello?")
                assert (await caller.until("agent_transcript"))["text"] == "Here I am."
                await hang_up(caller)
        assert asked.is_set()

    async def test_what_was_generated_is_still_played(self) -> None:
        sessions = 0

        async def dies_while_speaking(session: ScriptedSession) -> None:
            nonlocal sessions
            sessions += 1
            await session.configure()
            if sessions == 1:
                await session.receive()
                await session.send(response_created("resp_1"), audio_delta("resp_1", ramp(1500)))
                await session.abort()
            await session.until_closed()

        async with scripted_voice_live(dies_while_speaking) as service:
            async with running_gateway(service.settings()) as gateway, gateway.caller() as caller:
                await caller.until("agent_transcript")
                await caller.until("status", status="ready")
                await hang_up(caller)
        assert caller.audio == ramp(1500)
        assert sessions == 2

    async def test_a_caller_who_was_speaking_is_heard_anew(self) -> None:
        sessions = 0

        async def dies_while_listening(session: ScriptedSession) -> None:
            nonlocal sessions
            sessions += 1
            await session.configure()
            if sessions == 1:
                await session.send({"type": "input_audio_buffer.speech_started", "item_id": "item_1"})
                await session.abort()
            await session.receive_audio()
            await session.send(
                {"type": "input_audio_buffer.speech_started", "item_id": "item_2"},
                {"type": "input_audio_buffer.speech_stopped", "item_id": "item_2"},
            )
            await says(session, "resp_1", "I hear you.", ms=100)
            await session.until_closed()

        async with scripted_voice_live(dies_while_listening) as service:
            settings = service.settings(enable_proactive_greeting=False)
            async with running_gateway(settings) as gateway, gateway.caller() as caller:
                await caller.until("status", status="listening")
                await caller.until("status", status="ready")
                await caller.socket.send_bytes(bytes(9600))
                assert (await caller.until("agent_transcript"))["text"] == "I hear you."
                await hang_up(caller)
        assert sessions == 2

    async def test_a_second_loss_ends_the_call(self) -> None:
        loses = LosesEachSession()
        async with scripted_voice_live(loses.play) as service:
            async with running_gateway(service.settings()) as gateway, gateway.caller() as caller:
                await caller.until("agent_transcript")
                loses.break_now.set()
                await loses.opened.acquire()
                await loses.opened.acquire()
                loses.break_now.set()
                assert await caller.until_closed() == 1014
        assert len(loses.received) == 2

    async def test_an_agent_goes_on_with_its_own_conversation(self, minted: None) -> None:
        loses = LosesEachSession(agent={"type": "agent", "name": "telesales", "thread_id": "conv_7"})
        async with scripted_voice_live(loses.play) as service:
            async with running_gateway(with_endpoint(AGENT, service)) as gateway:
                async with gateway.caller() as caller:
                    await caller.until("agent_transcript")
                    loses.break_now.set()
                    await loses.opened.acquire()
                    await loses.opened.acquire()
                    await caller.send(type="text", text="And per year?")
                    await caller.until("agent_transcript")
                    await hang_up(caller)
        assert "conversation-id" not in service.handshakes[0].query
        assert service.handshakes[1].query["conversation-id"] == "conv_7"
        assert loses.received[1][0]["item"]["content"][0]["text"] == "And per year?"

    async def test_a_classic_agent_cannot_go_on_after_its_first_words(self, minted: None) -> None:
        loses = LosesEachSession()
        async with scripted_voice_live(loses.play) as service:
            async with running_gateway(with_endpoint(ORIGINAL, service)) as gateway:
                async with gateway.caller() as caller:
                    await caller.until("agent_transcript")
                    loses.break_now.set()
                    assert await caller.until_closed() == 1014
        assert len(loses.received) == 1

    @pytest.fixture
    def minted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Tokens without a sign-in service."""

        async def mint(_: object) -> Token:
            return Token(SecretStr("token"), int(time.time()) + 3600)

        monkeypatch.setattr(main_module, "Credentials", lambda settings: Credentials(settings, mint))


class TestVoiceLiveWillExpire:
    async def test_a_model_moves_to_a_fresh_session_in_a_pause(self) -> None:
        sessions = 0

        async def expires_soon(session: ScriptedSession) -> None:
            nonlocal sessions
            sessions += 1
            await session.configure(expires_at=int(time.time()) + (30 if sessions == 1 else 3600))
            if sessions == 1:
                await says(session, "resp_1", "Hello.", ms=100)
            await session.receive()
            if sessions == 2:
                await says(session, "resp_2", "Still me.", ms=100)
            await session.until_closed()

        async with scripted_voice_live(expires_soon) as service:
            settings = service.settings(enable_proactive_greeting=False)
            async with running_gateway(settings) as gateway, gateway.caller() as caller:
                await caller.until("agent_transcript")
                assert (await caller.until("agent_transcript"))["text"] == "Still me."
                await hang_up(caller)
        assert sessions == 2
        assert caller.of_type("session_ending") == []

    async def test_otherwise_the_caller_is_told_and_the_call_ends_in_time(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def mint(_: object) -> Token:
            return Token(SecretStr("token"), int(time.time()) + 3600)

        monkeypatch.setattr(main_module, "Credentials", lambda settings: Credentials(settings, mint))

        async def expires_soon(session: ScriptedSession) -> None:
            await session.configure(expires_at=int(time.time()) + 4)
            await says(session, "resp_1", "Hello.", ms=100)
            await session.until_closed()

        async with scripted_voice_live(expires_soon) as service:
            async with running_gateway(with_endpoint(ORIGINAL, service)) as gateway:
                async with gateway.caller() as caller:
                    assert (await caller.until("session_ending"))["reason"] == "session_expired"
                    assert await caller.until_closed() == 4410


def with_endpoint(values: dict[str, str], service: ScriptedVoiceLive) -> Settings:
    return settings_from(values | {"azure_voicelive_endpoint": service.address})
