"""The gateway over real sockets, against a Voice Live that does what each test says."""

import asyncio
import base64
import contextlib
import json

import pytest
from aiohttp import web

from app import caller_pace
from app.caller_audio import MAX_HELD_BYTES
from app.config import Settings
from tests.gateway import RawCaller, running_gateway
from tests.scripted_voice_live import ScriptedSession, scripted_voice_live
from tests.virtual_call import speech

pytestmark = pytest.mark.usefixtures("both_ways")


def audio_delta(response_id: str, pcm: bytes) -> dict[str, object]:
    return {
        "event_id": "event_1",
        "type": "response.audio.delta",
        "response_id": response_id,
        "item_id": f"msg_{response_id}",
        "output_index": 0,
        "content_index": 0,
        "delta": base64.b64encode(pcm).decode(),
    }


def response_created(response_id: str) -> dict[str, object]:
    return {"type": "response.created", "response": {"id": response_id, "status": "in_progress"}}


def response_done(response_id: str, status: str = "completed") -> dict[str, object]:
    return {"type": "response.done", "response": {"id": response_id, "status": status, "output": []}}


async def says(session: ScriptedSession, response_id: str, text: str, ms: int) -> None:
    await session.send(
        response_created(response_id),
        {"type": "response.audio_transcript.delta", "response_id": response_id, "delta": text},
        audio_delta(response_id, speech(response_id, ms)),
        {"type": "response.audio_transcript.done", "response_id": response_id, "transcript": text},
        response_done(response_id),
    )


async def quiet(session: ScriptedSession) -> None:
    await session.configure()
    await session.until_closed()


class TestCall:
    async def test_a_greeting_from_the_first_message_to_the_hang_up(self) -> None:
        closed: list[int | None] = []

        async def greets(session: ScriptedSession) -> None:
            await session.configure()
            assert (await session.receive())["type"] == "response.create"
            await says(session, "resp_1", "Good day.", ms=300)
            closed.append(await session.until_closed())

        async with scripted_voice_live(greets) as service, running_gateway(service.settings()) as gateway:
            async with gateway.caller(protocols=["voice-live.v1"]) as caller:
                assert caller.socket.protocol == "voice-live.v1"
                await caller.until("agent_transcript")
                await caller.until("status", status="ready")
                await caller.send(type="end")
                assert await caller.until_closed() == 1000
            assert caller.messages[0]["type"] == "session_started"
            assert caller.messages[0]["protocol"] == "voice-live.v1"
            assert [m["status"] for m in caller.of_type("status")] == ["ready", "agent_speaking", "ready"]
            assert caller.of_type("agent_transcript")[0]["text"] == "Good day."
            assert caller.messages[-1] == {"type": "session_ended", "reason": "ended"}
            assert caller.audio == speech("resp_1", 300)
            assert closed == [1000]

    async def test_the_greeting_text_is_said_verbatim(self) -> None:
        asked: list[dict[str, object]] = []

        async def listens(session: ScriptedSession) -> None:
            await session.configure()
            asked.append(await session.receive())
            await session.until_closed()

        async with scripted_voice_live(listens) as service:
            settings = service.settings(greeting_text="Hello from the bank.")
            async with running_gateway(settings) as gateway, gateway.caller() as caller:
                await caller.until("session_started")
                await caller.send(type="end")
                await caller.until_closed()
        assert asked == [
            {
                "type": "response.create",
                "response": {
                    "pre_generated_assistant_message": {
                        "type": "message",
                        "role": "assistant",
                        "content": [{"type": "text", "text": "Hello from the bank."}],
                    }
                },
            }
        ]

    async def test_what_is_said_before_the_session_is_kept_and_delivered_first(self) -> None:
        early_sent = asyncio.Event()
        heard: list[bytes] = []

        async def slow_to_open(session: ScriptedSession) -> None:
            await early_sent.wait()
            await session.configure()
            while sum(map(len, heard)) < 4 * 960:
                heard.append(base64.b64decode(await session.receive_audio()))
            await session.until_closed()

        async with (
            scripted_voice_live(slow_to_open) as service,
            running_gateway(service.settings()) as gateway,
        ):
            async with gateway.caller() as caller:
                frames = [bytes([number]) * 960 for number in range(4)]
                await caller.socket.send_bytes(frames[0])
                await caller.send(type="audio", audio=base64.b64encode(frames[1]).decode())
                await caller.socket.send_bytes(frames[2][:481])
                await caller.socket.send_bytes(frames[2][481:])
                await caller.send(type="ping")
                await caller.until("pong")
                early_sent.set()
                await caller.until("session_started")
                await caller.socket.send_bytes(frames[3])
                await caller.send(type="ping")
                await caller.until("pong")
                await caller.send(type="end")
                await caller.until_closed()
        assert b"".join(heard) == b"".join(frames)
        assert all(len(chunk) % 2 == 0 for chunk in heard)

    async def test_early_audio_is_bounded_and_the_newest_is_refused(self) -> None:
        early_sent = asyncio.Event()
        heard: list[bytes] = []
        complete = asyncio.Event()

        async def slow_to_open(session: ScriptedSession) -> None:
            await early_sent.wait()
            await session.configure()
            while sum(map(len, heard)) < MAX_HELD_BYTES:
                heard.append(base64.b64decode(await session.receive_audio()))
            complete.set()
            await session.until_closed()

        async with (
            scripted_voice_live(slow_to_open) as service,
            running_gateway(service.settings(caller_audio_max_rate=0)) as gateway,
        ):
            async with gateway.caller() as caller:
                for number in range(12):
                    await caller.socket.send_bytes(bytes([number]) * 48_000)
                await caller.send(type="ping")
                await caller.until("pong")
                early_sent.set()
                await complete.wait()
                await caller.send(type="end")
                await caller.until_closed()
        assert b"".join(heard) == b"".join(bytes([number]) * 48_000 for number in range(10))

    async def test_after_clear_playback_not_one_byte_of_the_old_response(self) -> None:
        async def is_interrupted(session: ScriptedSession) -> None:
            await session.configure()
            await session.receive()
            await session.send(response_created("resp_1"), audio_delta("resp_1", speech("resp_1", 3000)))
            await session.receive_audio()
            await session.send(
                audio_delta("resp_1", speech("resp_1", 3000)),
                {"type": "input_audio_buffer.speech_started", "item_id": "item_1", "audio_start_ms": 0},
                audio_delta("resp_1", speech("resp_1", 3000)),
                response_done("resp_1", "cancelled"),
                audio_delta("resp_1", speech("resp_1", 3000)),
            )
            truncated = await session.receive()
            assert truncated["type"] == "conversation.item.truncate"
            assert truncated["item_id"] == "msg_resp_1"
            assert truncated["audio_end_ms"] == 800
            await says(session, "resp_2", "Yes?", ms=200)
            await session.until_closed()

        async with (
            scripted_voice_live(is_interrupted) as service,
            running_gateway(service.settings()) as gateway,
        ):
            async with gateway.caller() as caller:
                await caller.until("status", status="agent_speaking")
                await caller.socket.send_bytes(bytes(960))
                await caller.until("clear_playback", response_id="resp_1")
                cleared = len(caller.frames)
                await caller.send(type="playback", response_id="resp_1", played_ms=800)
                await caller.until("agent_transcript", response_id="resp_2")
                await caller.send(type="end")
                await caller.until_closed()
            after = b"".join(frame for frame in caller.frames[cleared:] if isinstance(frame, bytes))
            assert after == speech("resp_2", 200)
            interrupted = caller.of_type("agent_transcript")[0]
            assert interrupted["interrupted"] is True


class TestEnds:
    @pytest.mark.parametrize(
        ("status", "code", "close_code"),
        [
            (401, "upstream_auth", 4502),
            (403, "upstream_auth", 4502),
            (404, "upstream_config", 4502),
            (429, "upstream_busy", 1013),
            (503, "upstream_lost", 1014),
        ],
    )
    async def test_a_refused_handshake(self, status: int, code: str, close_code: int) -> None:
        def refuse(_: web.Request) -> web.Response:
            return web.Response(status=status, text="key-canary", headers={"Retry-After": "9"})

        async with scripted_voice_live(refuse_with=refuse) as service:
            caller = await self.ended_call(service.settings())
        (error,) = caller.of_type("error")
        assert (error["code"], error["fatal"], caller.socket.close_code) == (code, True, close_code)
        assert len(error["ref"]) == 32
        if status == 429:
            assert error["retry_after_ms"] == 9000
        assert "canary" not in json.dumps(caller.messages)

    async def test_nobody_at_the_endpoint(self) -> None:
        async with scripted_voice_live() as service:
            settings = service.settings()
        caller = await self.ended_call(settings)
        assert (caller.messages[-1]["code"], caller.socket.close_code) == ("upstream_lost", 1014)

    async def test_an_endpoint_that_never_answers(self) -> None:
        async with scripted_voice_live() as service:
            service.hang = asyncio.Event()
            caller = await self.ended_call(service.settings(connect_timeout_s=0.3))
        assert (caller.messages[-1]["code"], caller.socket.close_code) == ("upstream_lost", 1014)

    async def test_a_session_that_is_refused(self) -> None:
        async def refuses(session: ScriptedSession) -> None:
            await session.receive()
            await session.send(
                {"type": "error", "error": {"type": "invalid_request_error", "message": "secret"}}
            )
            await session.until_closed()

        async with scripted_voice_live(refuses) as service:
            caller = await self.ended_call(service.settings())
        assert (caller.messages[-1]["code"], caller.socket.close_code) == ("upstream_config", 4502)
        assert "secret" not in json.dumps(caller.messages)

    async def test_a_session_with_another_voice_than_we_asked_for(self) -> None:
        async def contradicts(session: ScriptedSession) -> None:
            asked = await session.receive()
            voice = asked["session"]["voice"] | {"name": "en-US-OtherNeural"}
            await session.send(
                {"type": "session.updated", "session": asked["session"] | {"id": "s", "voice": voice}}
            )
            await session.until_closed()

        async with scripted_voice_live(contradicts) as service:
            caller = await self.ended_call(service.settings())
        assert caller.messages[-1]["code"] == "upstream_config"

    async def test_a_session_that_does_not_echo_is_no_error(self) -> None:
        async def reticent(session: ScriptedSession) -> None:
            await session.receive()
            await session.send(
                {"type": "session.updated", "session": {"id": "s", "voice": None, "model": "x"}}
            )
            await session.until_closed()

        async with scripted_voice_live(reticent) as service, running_gateway(service.settings()) as gateway:
            async with gateway.caller() as caller:
                await caller.until("session_started")

    @pytest.mark.parametrize("code", [None, 1000, 1001, 1011])
    async def test_voice_live_vanishes(self, code: int | None) -> None:
        async def vanishes(session: ScriptedSession) -> None:
            await session.configure()
            if code is None:
                await session.abort()
            else:
                await session.socket.close(code=code)

        async with scripted_voice_live(vanishes) as service:
            caller = await self.ended_call(service.settings())
        assert (caller.messages[-1]["code"], caller.socket.close_code) == ("upstream_lost", 1014)

    async def test_voice_live_talks_nonsense(self) -> None:
        async def babbles(session: ScriptedSession) -> None:
            await session.configure()
            for _ in range(11):
                await session.socket.send_str("nonsense")
            await session.until_closed()

        async with scripted_voice_live(babbles) as service:
            caller = await self.ended_call(service.settings())
        assert (caller.messages[-1]["code"], caller.socket.close_code) == ("upstream_protocol", 1014)

    async def test_unknown_events_and_errors_of_the_service_change_nothing(self) -> None:
        async def chatters(session: ScriptedSession) -> None:
            await session.configure()
            await session.receive()
            await session.send(
                {"type": "rate_limits.updated", "rate_limits": []},
                {"type": "conversation.item.done", "item": {}},
                {"type": "error", "error": {"type": "server_error", "code": "x", "message": "secret"}},
            )
            await says(session, "resp_1", "Still here.", ms=100)
            await session.until_closed()

        async with scripted_voice_live(chatters) as service, running_gateway(service.settings()) as gateway:
            async with gateway.caller() as caller:
                assert (await caller.until("agent_transcript"))["text"] == "Still here."
            assert "secret" not in json.dumps(caller.messages)

    async def test_the_upstream_session_ends_when_the_caller_leaves(self) -> None:
        left = asyncio.Event()

        async def listens(session: ScriptedSession) -> None:
            await session.configure()
            await session.until_closed()
            left.set()

        async with scripted_voice_live(listens) as service, running_gateway(service.settings()) as gateway:
            async with gateway.caller() as caller:
                await caller.until("session_started")
                assert caller.socket._response.connection is not None
                caller.socket._response.connection.transport.abort()  # type: ignore[union-attr]
            async with asyncio.timeout(5):
                await left.wait()

    async def test_the_longest_call_is_announced_and_ends(self) -> None:
        async with scripted_voice_live(quiet) as service:
            caller = await self.ended_call(service.settings(max_call_duration_s=10))
        assert caller.of_type("session_ending")[0]["reason"] == "max_duration"
        assert (caller.messages[-1]["code"], caller.socket.close_code) == ("session_expired", 4410)

    async def test_a_silent_line_is_announced_and_ends(self) -> None:
        async with scripted_voice_live(quiet) as service:
            caller = await self.ended_call(service.settings(idle_timeout_s=5))
        assert caller.of_type("session_ending")[0]["reason"] == "idle"
        assert (caller.messages[-1]["code"], caller.socket.close_code) == ("idle_timeout", 4408)

    async def test_a_silent_caller_is_asked_and_told_goodbye(self) -> None:
        asked: list[str] = []

        async def says_what_it_is_told(session: ScriptedSession) -> None:
            await session.configure()
            while True:
                event = await session.receive()
                text = event["response"]["pre_generated_assistant_message"]["content"][0]["text"]
                asked.append(text)
                await says(session, f"resp_{len(asked)}", text, ms=100)

        async with scripted_voice_live(says_what_it_is_told) as service:
            settings = service.settings(
                enable_proactive_greeting=False, reprompt_after_s=1, idle_timeout_s=5, goodbye_text="Goodbye."
            )
            caller = await self.ended_call(settings)
        assert asked == ["Are you still there?", "Goodbye."]
        assert [m["text"] for m in caller.of_type("agent_transcript")] == asked
        assert (caller.messages[-1]["code"], caller.socket.close_code) == ("idle_timeout", 4408)

    async def ended_call(self, settings: Settings) -> RawCaller:
        """A call that ends by itself: exactly one terminal message, the last one, then one close frame."""
        async with running_gateway(settings) as gateway, gateway.caller() as caller:
            await caller.until_closed()
            terminal = [m for m in caller.messages if m["type"] == "session_ended" or m.get("fatal")]
            assert terminal == [caller.messages[-1]]
            return caller


class TestBadInput:
    @pytest.mark.parametrize(
        ("text", "param"),
        [
            ("{", None),
            ("[]", None),
            ("null", None),
            ("[" * 50_000, None),
            ('{"type":"dance"}', "type"),
            ('{"type":5}', "type"),
            ('{"type":"audio","audio":"%%%"}', "audio"),
            ('{"type":"audio"}', "audio"),
            ('{"type":"text","text":""}', "text"),
            (json.dumps({"type": "text", "text": "x" * 2001}), "text"),
            ('{"type":"playback","response_id":"r","played_ms":-1}', "played_ms"),
            ('{"type":"playback","response_id":"r","played_ms":NaN}', None),
            ('{"type":"playback","played_ms":1}', "response_id"),
        ],
    )
    async def test_is_answered_and_the_call_goes_on(self, text: str, param: str | None) -> None:
        async with scripted_voice_live(quiet) as service, running_gateway(service.settings()) as gateway:
            async with gateway.caller() as caller:
                await caller.socket.send_str(text)
                error = await caller.until("error")
                assert (error["code"], error["fatal"], error.get("param")) == ("bad_request", False, param)
                await caller.send(type="ping")
                await caller.until("pong")

    async def test_too_much_of_it_ends_the_call(self) -> None:
        async with scripted_voice_live(quiet) as service, running_gateway(service.settings()) as gateway:
            async with gateway.caller() as caller:
                for _ in range(21):
                    await caller.socket.send_str("nonsense")
                assert await caller.until_closed() == 4400
            assert [error["fatal"] for error in caller.of_type("error")] == [False] * 20 + [True]

    async def test_a_message_over_64_kib_closes_with_1009(self) -> None:
        async with scripted_voice_live(quiet) as service, running_gateway(service.settings()) as gateway:
            async with gateway.caller() as caller:
                await caller.socket.send_bytes(bytes(64 * 1024 + 1))
                assert await caller.until_closed() == 1009

    async def test_a_message_of_64_kib_is_served(self) -> None:
        async with scripted_voice_live(quiet) as service, running_gateway(service.settings()) as gateway:
            async with gateway.caller() as caller:
                await caller.socket.send_bytes(bytes(64 * 1024))
                await caller.send(type="ping")
                await caller.until("pong")

    async def test_deflate_is_not_negotiated(self) -> None:
        async with scripted_voice_live(quiet) as service, running_gateway(service.settings()) as gateway:
            async with gateway.caller(compress=15) as caller:
                assert caller.socket.compress == 0


class TestTooMuch:
    async def test_audio_faster_than_real_time_is_paced_told_and_at_last_cut_off(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(caller_pace, "SUSTAINED_S", 3.0)
        heard: list[tuple[float, int]] = []

        async def counts(session: ScriptedSession) -> None:
            await session.configure()
            clock = asyncio.get_running_loop().time
            with contextlib.suppress(Exception):
                while True:
                    heard.append((clock(), len(base64.b64decode(await session.receive_audio()))))

        async def floods(caller: RawCaller) -> None:
            with contextlib.suppress(ConnectionError):
                while not caller.socket.closed:
                    await caller.socket.send_bytes(bytes(4_800))
                    await asyncio.sleep(0.005)

        async with scripted_voice_live(counts) as service, running_gateway(service.settings()) as gateway:
            async with gateway.caller() as caller, asyncio.TaskGroup() as tasks:
                await caller.until("session_started")
                started_at = asyncio.get_running_loop().time()
                flood = tasks.create_task(floods(caller))
                assert await caller.until_closed() == 4429
                over_at = asyncio.get_running_loop().time()
                flood.cancel()
        errors = [(e["code"], e["fatal"], e["retry_after_ms"] > 0) for e in caller.of_type("error")]
        assert errors == [("rate_limited", False, True), ("rate_limited", True, True)]
        total = sum(size for _, size in heard)
        assert total > 2 * 48_000
        assert total <= 1.3 * 48_000 * (over_at - started_at + 1)

    async def test_without_a_limit_everything_goes_on(self) -> None:
        heard = 0
        complete = asyncio.Event()

        async def counts(session: ScriptedSession) -> None:
            nonlocal heard
            await session.configure()
            while heard < 20 * 48_000:
                heard += len(base64.b64decode(await session.receive_audio()))
            complete.set()
            await session.until_closed()

        async with scripted_voice_live(counts) as service:
            settings = service.settings(caller_audio_max_rate=0)
            async with running_gateway(settings) as gateway, gateway.caller() as caller:
                await caller.until("session_started")
                for _ in range(20):
                    await caller.socket.send_bytes(bytes(48_000))
                async with asyncio.timeout(30):
                    await complete.wait()

    async def test_a_burst_after_a_stall_is_served_and_told_nothing(self) -> None:
        heard = 0
        complete = asyncio.Event()

        async def counts(session: ScriptedSession) -> None:
            nonlocal heard
            await session.configure()
            while heard < 2 * 48_000:
                heard += len(base64.b64decode(await session.receive_audio()))
            complete.set()
            await session.until_closed()

        async with scripted_voice_live(counts) as service, running_gateway(service.settings()) as gateway:
            async with gateway.caller() as caller:
                await caller.until("session_started")
                for _ in range(100):
                    await caller.socket.send_bytes(bytes(960))
                async with asyncio.timeout(30):
                    await complete.wait()
                await caller.send(type="end")
                assert await caller.until_closed() == 1000
                assert caller.of_type("error") == []

    async def test_pings_without_end_are_told_why_the_call_ends(self) -> None:
        async with scripted_voice_live(quiet) as service, running_gateway(service.settings()) as gateway:
            async with gateway.caller() as caller:
                await caller.until("session_started")
                for _ in range(1000):
                    await caller.socket.ping()
                assert await caller.until_closed() == 4429
        assert [(e["code"], e["fatal"]) for e in caller.of_type("error")] == [("rate_limited", True)]

    async def test_messages_beyond_the_quota_end_the_call(self) -> None:
        async with scripted_voice_live(quiet) as service:
            async with running_gateway(service.settings(max_messages_per_minute=10)) as gateway:
                async with gateway.caller() as caller:
                    await caller.until("session_started")
                    for _ in range(11):
                        await caller.send(type="ping")
                    assert await caller.until_closed() == 4429
                assert len(caller.of_type("pong")) == 10
                assert caller.messages[-1]["code"] == "rate_limited"
                assert 0 < caller.messages[-1]["retry_after_ms"] <= 60_000
