"""OpenAI's own Python client, unchanged: with its newer names, with Azure's flavour, with the beta names."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI
from openai.types.beta import realtime as beta
from openai.types.realtime import (
    ConversationItemAdded,
    ConversationItemDone,
    ConversationItemInputAudioTranscriptionCompletedEvent,
    ConversationItemTruncatedEvent,
    InputAudioBufferSpeechStartedEvent,
    RealtimeErrorEvent,
    ResponseAudioDeltaEvent,
    ResponseAudioDoneEvent,
    ResponseAudioTranscriptDoneEvent,
    ResponseDoneEvent,
    ResponseFunctionCallArgumentsDoneEvent,
    ResponseTextDoneEvent,
    SessionUpdatedEvent,
)
from websockets.exceptions import ConnectionClosedOK, InvalidStatus

from tests.emulator.doubles import WORD_BYTES, Doubles, silence, speech
from tests.emulator.test_server import minted_token
from tests.emulator.wire import TIMEOUT_S
from voicelive_emulator.server import Endpoints

SESSION: Any = {
    "type": "realtime",
    "instructions": "Be brief.",
    "output_modalities": ["audio"],
    "max_output_tokens": 500,
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24_000},
            "transcription": {"model": "whisper-1"},
            "noise_reduction": {"type": "near_field"},
            "turn_detection": {"type": "server_vad", "silence_duration_ms": 400},
        },
        "output": {"format": {"type": "audio/pcm", "rate": 24_000}, "voice": "marin"},
    },
}
TOOL: Any = {"type": "function", "name": "get_price", "parameters": {"type": "object", "properties": {}}}


class Talk:
    """One connection; both generations of the client offer the same methods."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    async def until(self, kind: type[Any]) -> list[Any]:
        """Return the events up to and with the first that the client gives this type."""
        events = [await asyncio.wait_for(self.connection.recv(), TIMEOUT_S)]
        while not isinstance(events[-1], kind):
            events.append(await asyncio.wait_for(self.connection.recv(), TIMEOUT_S))
        return events

    async def type(self, text: str) -> None:
        part = {"type": "input_text", "text": text}
        item = {"type": "message", "role": "user", "content": [part]}
        await self.connection.conversation.item.create(item=item)

    async def speak(self, pcm: bytes) -> None:
        await self.connection.input_audio_buffer.append(audio=base64.b64encode(pcm).decode())


@asynccontextmanager
async def talk(emulator: Endpoints, query: dict[str, object] | None = None) -> AsyncIterator[Talk]:
    """Connect with the names that OpenAI uses today, as its session asks for them."""
    base_url = f"http://127.0.0.1:{emulator.port}/voice-live"
    async with AsyncOpenAI(base_url=base_url, api_key="key", max_retries=0) as client:
        extra = {"extra_query": query} if query else {}
        async with client.realtime.connect(model="gpt-realtime", **extra) as connection:  # type: ignore[arg-type]
            opened = Talk(connection)
            await connection.session.update(session=SESSION)
            await opened.until(SessionUpdatedEvent)
            yield opened


@asynccontextmanager
async def azure_talk(emulator: Endpoints, generation: str = "beta") -> AsyncIterator[Talk]:
    """Connect as Azure's flavour of the client does, with the names of Voice Live."""
    address = f"127.0.0.1:{emulator.port}"
    async with AsyncAzureOpenAI(
        azure_endpoint=f"http://{address}",
        websocket_base_url=f"ws://{address}/voice-live",
        api_version="2025-10-01",
        api_key="key",
    ) as client:
        resource = client.beta.realtime if generation == "beta" else client.realtime
        async with resource.connect(model="gpt-4.1") as connection:
            yield Talk(connection)


class TestNewerNames:
    async def test_the_session_is_shown_in_the_shape_that_was_sent(self, emulator: Endpoints) -> None:
        async with talk(emulator) as it:
            await it.connection.session.update(session={"type": "realtime"})
            session: Any = (await it.until(SessionUpdatedEvent))[-1].session
        assert session.type == "realtime"
        assert session.output_modalities == ["audio"]
        assert session.max_output_tokens == 500
        assert session.audio.input.format.type == "audio/pcm"
        assert session.audio.input.turn_detection.silence_duration_ms == 400
        assert session.audio.input.transcription.model == "whisper-1"
        assert session.audio.input.noise_reduction.type == "near_field"
        assert session.audio.output.voice == "marin"

    @pytest.mark.parametrize(
        ("session", "param"),
        [
            ({"audio": {"output": {"voice": "nobody"}}}, "session.audio.output.voice.name"),
            ({"audio": {"input": {"format": {"type": "audio/mp3"}}}}, "session.audio.input.format"),
            ({"audio": {"output": {"speed": 2.0}}}, "session.audio.output.speed"),
            ({"output_modalities": ["smell"]}, "session.output_modalities[0]"),
            ({"model": "gpt-realtime"}, "session.model"),
        ],
    )
    async def test_errors_name_the_field_as_it_was_sent(
        self, emulator: Endpoints, session: dict[str, Any], param: str
    ) -> None:
        async with talk(emulator) as it:
            update: Any = {"type": "realtime", **session}
            await it.connection.session.update(session=update, event_id="mine")
            error = (await it.until(RealtimeErrorEvent))[-1].error
        assert (error.param, error.event_id, error.type) == (param, "mine", "invalid_request_error")

    async def test_typed_turn(self, emulator: Endpoints) -> None:
        async with talk(emulator) as it:
            await it.type("Hello.")
            await it.connection.response.create()
            events = await it.until(ResponseDoneEvent)
        # The client tells its event classes apart by their names.
        added: list[Any] = [event for event in events if isinstance(event, ConversationItemAdded)]
        done = [event for event in events if isinstance(event, ConversationItemDone)]
        assert [event.item.role for event in added] == ["user", "assistant"]
        assert [event.item.id for event in done] == [event.item.id for event in added]
        audio = b"".join(
            base64.b64decode(event.delta) for event in events if isinstance(event, ResponseAudioDeltaEvent)
        )
        transcript = next(
            event.transcript for event in events if isinstance(event, ResponseAudioTranscriptDoneEvent)
        )
        assert transcript.startswith("You said: Hello.")
        assert len(audio) == len(transcript.split()) * WORD_BYTES
        assert any(isinstance(event, ResponseAudioDoneEvent) for event in events)
        response = events[-1].response
        assert (response.status, response.output_modalities) == ("completed", ["audio"])
        assert response.output[0].content[0].type == "output_audio"
        assert response.usage.total_tokens > 0

    async def test_text_alone_and_beside_the_conversation(self, emulator: Endpoints) -> None:
        async with talk(emulator) as it:
            part = {"type": "input_text", "text": "Sum up."}
            await it.connection.response.create(
                response={
                    "conversation": "none",
                    "output_modalities": ["text"],
                    "input": [{"type": "message", "role": "user", "content": [part]}],
                }
            )
            events = await it.until(ResponseDoneEvent)
        (text,) = [event for event in events if isinstance(event, ResponseTextDoneEvent)]
        assert text.text.startswith("You said: Sum up.")
        assert events[-1].response.output[0].content[0].type == "output_text"
        assert not any(isinstance(event, (ConversationItemAdded, ConversationItemDone)) for event in events)

    async def test_may_be_asked_for_in_the_query(self, emulator: Endpoints) -> None:
        base_url = f"http://127.0.0.1:{emulator.port}/voice-live"
        async with AsyncOpenAI(base_url=base_url, api_key="key") as client:
            connecting = client.realtime.connect(model="gpt-realtime", extra_query={"names": "openai"})
            async with connecting as connection:
                created: Any = await connection.recv()
        assert created.session.type == "realtime"
        assert created.session.audio.output.voice == "alloy"

    async def test_spoken_turn_and_barge_in(self, emulator: Endpoints, doubles: Doubles) -> None:
        doubles.synthesizer.hold = True
        async with talk(emulator) as it:
            await it.speak(silence(500) + speech(1_000) + silence(1_000))
            events = await it.until(ResponseAudioDeltaEvent)
            await it.speak(silence(300) + speech(500))
            events += await it.until(ResponseDoneEvent)
            doubles.synthesizer.go_on.set()
        words = [
            event.transcript
            for event in events
            if isinstance(event, ConversationItemInputAudioTranscriptionCompletedEvent)
        ]
        assert words == ["I spoke for 1.0 seconds."]
        assert sum(isinstance(event, InputAudioBufferSpeechStartedEvent) for event in events) == 2
        response = events[-1].response
        assert (response.status, response.status_details.reason) == ("cancelled", "turn_detected")

    async def test_cancel_race(self, emulator: Endpoints, doubles: Doubles) -> None:
        doubles.synthesizer.hold = True
        async with talk(emulator) as it:
            await it.type("Hello.")
            await it.connection.response.create()
            await it.until(ResponseAudioDeltaEvent)
            await it.connection.response.cancel()
            await it.connection.response.cancel(event_id="late")
            response = (await it.until(ResponseDoneEvent))[-1].response
            assert response.status_details.reason == "client_cancelled"
            error = (await it.until(RealtimeErrorEvent))[-1].error
            assert (error.code, error.event_id) == ("response_cancel_not_active", "late")
            doubles.synthesizer.go_on.set()

    async def test_function_call(self, emulator: Endpoints) -> None:
        async with talk(emulator) as it:
            await it.type("How much?")
            await it.connection.response.create(response={"tools": [TOOL], "tool_choice": "required"})
            events = await it.until(ResponseDoneEvent)
            (call,) = [event for event in events if isinstance(event, ResponseFunctionCallArgumentsDoneEvent)]
            assert (call.name, call.arguments) == ("get_price", "{}")
            output = {"type": "function_call_output", "call_id": call.call_id, "output": "39"}
            await it.connection.conversation.item.create(item=output)
            await it.connection.response.create()
            assert (await it.until(ResponseDoneEvent))[-1].response.status == "completed"

    async def test_truncation(self, emulator: Endpoints) -> None:
        async with talk(emulator) as it:
            await it.type("Hello.")
            await it.connection.response.create()
            item = (await it.until(ResponseDoneEvent))[-1].response.output[0]
            cut = {"item_id": item.id, "content_index": 0, "audio_end_ms": 400}
            await it.connection.conversation.item.truncate(**cut)
            assert (await it.until(ConversationItemTruncatedEvent))[-1].audio_end_ms == 400
            await it.connection.conversation.item.truncate(**cut)
            assert (await it.until(RealtimeErrorEvent))[-1].error.code == "item_already_truncated"

    async def test_expiry(self, emulator: Endpoints) -> None:
        async with talk(emulator, {"fault": "expire:0.5"}) as it:
            error = (await it.until(RealtimeErrorEvent))[-1].error
            assert error.code == "session_expired"
            with pytest.raises(ConnectionClosedOK) as closed:
                await it.until(ResponseDoneEvent)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1001, "session_expired")

    async def test_real_speech(self, real_emulator: Endpoints, spoken_question: bytes) -> None:
        async with talk(real_emulator) as it:
            await it.speak(silence(300) + spoken_question + silence(1_000))
            events = await it.until(ResponseDoneEvent)
        words = [
            event.transcript
            for event in events
            if isinstance(event, ConversationItemInputAudioTranscriptionCompletedEvent)
        ]
        assert "price" in words[0].lower()
        assert any(isinstance(event, ResponseAudioDeltaEvent) for event in events)


class TestAzureFlavour:
    @pytest.mark.parametrize("generation", ["beta", "today"])
    async def test_typed_turn(self, emulator: Endpoints, generation: str) -> None:
        async with azure_talk(emulator, generation) as it:
            await it.connection.session.update(session={"voice": "alloy", "modalities": ["text", "audio"]})
            await it.type("Hello.")
            await it.connection.response.create()
            events = [await asyncio.wait_for(it.connection.recv(), TIMEOUT_S)]
            while events[-1].type != "response.done":
                events.append(await asyncio.wait_for(it.connection.recv(), TIMEOUT_S))
        assert {"response.audio.delta", "conversation.item.created"} <= {event.type for event in events}
        assert events[-1].response.status == "completed"

    async def test_the_client_knows_every_event_of_a_spoken_turn(
        self, emulator: Endpoints, doubles: Doubles
    ) -> None:
        doubles.synthesizer.hold = True
        async with azure_talk(emulator) as it:
            await it.speak(silence(500) + speech(1_000) + silence(1_000))
            events = await it.until(beta.ResponseAudioDeltaEvent)
            await it.speak(silence(300) + speech(500))
            events += await it.until(beta.ResponseDoneEvent)
            doubles.synthesizer.go_on.set()
        assert events[-1].response.status_details.reason == "turn_detected"
        by_name = {event.type: type(event).__name__ for event in events}
        assert by_name["response.audio_transcript.delta"] == "ResponseAudioTranscriptDeltaEvent"
        assert by_name["conversation.item.created"] == "ConversationItemCreatedEvent"

    async def test_cancel_race(self, emulator: Endpoints, doubles: Doubles) -> None:
        doubles.synthesizer.hold = True
        async with azure_talk(emulator) as it:
            await it.type("Hello.")
            await it.connection.response.create()
            await it.until(beta.ResponseAudioDeltaEvent)
            await it.connection.response.cancel()
            await it.connection.response.cancel(event_id="late")
            response = (await it.until(beta.ResponseDoneEvent))[-1].response
            assert response.status_details.reason == "client_cancelled"
            error = (await it.until(beta.ErrorEvent))[-1].error
            assert (error.code, error.event_id) == ("response_cancel_not_active", "late")
            doubles.synthesizer.go_on.set()

    async def test_function_call_truncation_and_errors(self, emulator: Endpoints) -> None:
        async with azure_talk(emulator) as it:
            await it.connection.session.update(session={"tools": [TOOL]})
            await it.type("How much?")
            await it.connection.response.create(response={"tool_choice": "required"})
            call = (await it.until(beta.ResponseDoneEvent))[-1].response.output[0]
            assert call.name == "get_price"
            output = {"type": "function_call_output", "call_id": call.call_id, "output": "39"}
            await it.connection.conversation.item.create(item=output)
            await it.connection.response.create()
            item = (await it.until(beta.ResponseDoneEvent))[-1].response.output[0]
            cut = {"item_id": item.id, "content_index": 0, "audio_end_ms": 200}
            await it.connection.conversation.item.truncate(**cut)
            await it.until(beta.ConversationItemTruncatedEvent)
            await it.connection.conversation.item.truncate(**cut)
            assert (await it.until(beta.ErrorEvent))[-1].error.code == "item_already_truncated"
            await it.connection.response.cancel(event_id="mine")
            error = (await it.until(beta.ErrorEvent))[-1].error
            assert (error.code, error.event_id) == ("response_cancel_not_active", "mine")

    async def test_expiry(self, emulator: Endpoints) -> None:
        address = f"ws://127.0.0.1:{emulator.port}/voice-live"
        async with AsyncAzureOpenAI(
            azure_endpoint="http://127.0.0.1", websocket_base_url=address, api_version="1", api_key="key"
        ) as client:
            connecting = client.beta.realtime.connect(model="m", extra_query={"fault": "expire:0.1"})
            async with connecting as connection:
                it = Talk(connection)
                assert (await it.until(beta.ErrorEvent))[-1].error.code == "session_expired"
                with pytest.raises(ConnectionClosedOK):
                    await it.until(beta.ResponseDoneEvent)


class TestAccess:
    async def test_an_agent_by_query(self, emulator: Endpoints) -> None:
        token = await minted_token(emulator)
        base_url = f"http://127.0.0.1:{emulator.port}/voice-live"
        agent: dict[str, object] = {"agent-name": "sales", "agent-project-name": "shop"}
        async with AsyncOpenAI(base_url=base_url, api_key=token) as client:
            async with client.realtime.connect(model="any", extra_query=agent) as connection:
                created: Any = await connection.recv()
        assert created.session.agent["name"] == "sales"

    async def test_is_refused_with_a_status(self, emulator: Endpoints) -> None:
        base_url = f"http://127.0.0.1:{emulator.port}/voice-live"
        async with AsyncOpenAI(base_url=base_url, api_key="key") as client:
            connecting = client.realtime.connect(model="m", extra_query={"fault": "refuse:429"})
            with pytest.raises(InvalidStatus) as refused:
                await connecting.enter()
        assert refused.value.response.status_code == 429
