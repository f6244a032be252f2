"""Microsoft's own client, unchanged, against the emulator: it connects, configures and converses."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import pytest
from azure.ai.voicelive.aio import ConnectionClosed, ConnectionError, VoiceLiveConnection, connect  # noqa: A004 (its name)
from azure.ai.voicelive.models import (
    AudioEchoCancellation,
    AudioInputTranscriptionOptions,
    AudioNoiseReduction,
    AzureCustomVoice,
    AzureSemanticDetection,
    AzureSemanticVad,
    ClientEvent,
    FunctionCallOutputItem,
    FunctionTool,
    InputAudioFormat,
    InputTextContentPart,
    Modality,
    OutputAudioFormat,
    RequestSession,
    ServerEvent,
    ServerEventConversationItemCreated,
    ServerEventConversationItemInputAudioTranscriptionCompleted,
    ServerEventConversationItemTruncated,
    ServerEventError,
    ServerEventResponseAudioDelta,
    ServerEventResponseAudioTimestampDelta,
    ServerEventResponseDone,
    ServerEventSessionCreated,
    ServerEventSessionUpdated,
    ServerVad,
    UserMessageItem,
)
from azure.core.credentials import AzureKeyCredential

from tests.emulator.doubles import Doubles, silence, speech
from tests.emulator.test_server import minted_token
from tests.emulator.wire import TIMEOUT_S, connected
from voicelive_emulator.server import Endpoints


@asynccontextmanager
async def session(emulator: Endpoints, **options: Any) -> AsyncIterator[VoiceLiveConnection]:
    options = {"model": "gpt-4.1", **options} if "query" not in options else options
    async with connect(
        endpoint=f"http://127.0.0.1:{emulator.port}", credential=AzureKeyCredential("key"), **options
    ) as connection:
        yield connection


async def until(connection: VoiceLiveConnection, kind: type[ServerEvent]) -> list[ServerEvent]:
    """Return the typed events up to and with the first of a class."""
    events = [await asyncio.wait_for(connection.recv(), TIMEOUT_S)]
    while not isinstance(events[-1], kind):
        events.append(await asyncio.wait_for(connection.recv(), TIMEOUT_S))
    return events


def typed(text: str) -> UserMessageItem:
    return UserMessageItem(content=[InputTextContentPart(text=text)])


GATEWAY_SESSION = RequestSession(
    modalities=[Modality.TEXT, Modality.AUDIO],
    voice=AzureCustomVoice(name="Brand", endpoint_id="6e1ce7ba-3ea1-4eac-90ec-2fd35f0bd1e7"),
    input_audio_format=InputAudioFormat.PCM16,
    output_audio_format=OutputAudioFormat.PCM16,
    input_audio_sampling_rate=24_000,
    turn_detection=ServerVad(threshold=0.5, prefix_padding_ms=300, silence_duration_ms=500),
    input_audio_echo_cancellation=AudioEchoCancellation(),
    input_audio_noise_reduction=AudioNoiseReduction(type="azure_deep_noise_suppression"),
    input_audio_transcription=AudioInputTranscriptionOptions(model="azure-speech"),
    output_audio_timestamp_types=["word"],
)


async def test_configures_a_session(emulator: Endpoints) -> None:
    async with session(emulator) as connection:
        (created,) = await until(connection, ServerEventSessionCreated)
        await connection.session.update(session=GATEWAY_SESSION)
        (updated,) = await until(connection, ServerEventSessionUpdated)
    assert isinstance(created, ServerEventSessionCreated)
    assert isinstance(updated, ServerEventSessionUpdated)
    assert created.session.id == updated.session.id
    assert isinstance(created.session.expires_at, datetime)
    voice: Any = updated.session.voice
    assert (voice["type"], voice["name"]) == ("azure-custom", "Brand")
    assert voice["endpoint_id"] == "6e1ce7ba-3ea1-4eac-90ec-2fd35f0bd1e7"
    assert isinstance(updated.session.turn_detection, ServerVad)


async def test_semantic_turn_detection_and_null(emulator: Endpoints) -> None:
    detection = AzureSemanticVad(end_of_utterance_detection=AzureSemanticDetection(timeout_ms=800))
    async with session(emulator) as connection:
        await connection.session.update(session=RequestSession(turn_detection=detection))
        updated = (await until(connection, ServerEventSessionUpdated))[-1]
        assert isinstance(updated, ServerEventSessionUpdated)
        assert isinstance(updated.session.turn_detection, AzureSemanticVad)
        await connection.session.update(session=RequestSession(turn_detection=None))
        updated = (await until(connection, ServerEventSessionUpdated))[-1]
        assert isinstance(updated, ServerEventSessionUpdated)
        assert updated.session.turn_detection is None


async def test_typed_turn(emulator: Endpoints) -> None:
    async with session(emulator) as connection:
        await connection.session.update(session=GATEWAY_SESSION)
        await connection.conversation.item.create(item=typed("Hello."))
        await connection.response.create()
        events = await until(connection, ServerEventResponseDone)
    done = events[-1]
    assert isinstance(done, ServerEventResponseDone)
    assert done.response.status == "completed"
    assert done.response.usage is not None
    assert done.response.usage.total_tokens > 0
    audio = b"".join(event.delta for event in events if isinstance(event, ServerEventResponseAudioDelta))
    assert len(audio) > 48_000
    words = [event.text for event in events if isinstance(event, ServerEventResponseAudioTimestampDelta)]
    assert words[:3] == ["You", "said:", "Hello."]


async def test_spoken_turn_and_barge_in(emulator: Endpoints, doubles: Doubles) -> None:
    async with session(emulator) as connection:
        await connection.session.update(session=GATEWAY_SESSION)
        doubles.synthesizer.hold = True
        audio = silence(500) + speech(1_000) + silence(1_000)
        for start in range(0, len(audio), 4_800):
            chunk: Any = audio[start : start + 4_800]
            await connection.input_audio_buffer.append(audio=chunk)
        await until(connection, ServerEventResponseAudioDelta)
        loud: Any = silence(300) + speech(500)
        await connection.input_audio_buffer.append(audio=loud)
        done = (await until(connection, ServerEventResponseDone))[-1]
        doubles.synthesizer.go_on.set()
    assert isinstance(done, ServerEventResponseDone)
    assert done.response.status == "cancelled"


async def test_function_call_round(emulator: Endpoints) -> None:
    tool = FunctionTool(name="get_price", parameters={"type": "object", "properties": {}})
    async with session(emulator) as connection:
        await connection.session.update(session=RequestSession(tools=[tool]))
        await connection.conversation.item.create(item=typed("How much?"))
        await connection.response.create(response={"tool_choice": "required"})
        done = (await until(connection, ServerEventResponseDone))[-1]
        assert isinstance(done, ServerEventResponseDone)
        assert done.response.output is not None
        call: Any = done.response.output[0]
        assert call.name == "get_price"
        output = FunctionCallOutputItem(call_id=call.call_id, output="39 dollars")
        await connection.conversation.item.create(item=output)
        await until(connection, ServerEventConversationItemCreated)
        await connection.response.create()
        done = (await until(connection, ServerEventResponseDone))[-1]
        assert isinstance(done, ServerEventResponseDone)
        assert done.response.status == "completed"


async def test_native_model(emulator: Endpoints) -> None:
    async with session(emulator, model="gpt-realtime") as connection:
        (created,) = await until(connection, ServerEventSessionCreated)
        assert isinstance(created, ServerEventSessionCreated)
        assert created.session.voice == {"name": "alloy", "type": "openai"}
        await connection.conversation.item.create(item=typed("Hello."))
        await connection.response.create()
        done = (await until(connection, ServerEventResponseDone))[-1]
    assert isinstance(done, ServerEventResponseDone)
    assert done.response.status == "completed"


async def test_cancel_race(emulator: Endpoints, doubles: Doubles) -> None:
    doubles.synthesizer.hold = True
    async with session(emulator) as connection:
        await connection.conversation.item.create(item=typed("Hello."))
        await connection.response.create()
        await until(connection, ServerEventResponseAudioDelta)
        await connection.response.cancel()
        await connection.response.cancel(event_id="late")
        done = (await until(connection, ServerEventResponseDone))[-1]
        assert isinstance(done, ServerEventResponseDone)
        details: Any = done.response.status_details
        assert (details.type, details.reason) == ("cancelled", "client_cancelled")
        doubles.synthesizer.go_on.set()
        after = await until(connection, ServerEventError)
        error = after[-1]
        assert isinstance(error, ServerEventError)
        assert (error.error.code, error.error.event_id) == ("response_cancel_not_active", "late")
        assert not any(isinstance(event, ServerEventResponseAudioDelta) for event in after)


async def test_truncation(emulator: Endpoints) -> None:
    async with session(emulator) as connection:
        await connection.conversation.item.create(item=typed("Hello."))
        await connection.response.create()
        done = (await until(connection, ServerEventResponseDone))[-1]
        assert isinstance(done, ServerEventResponseDone)
        assert done.response.output is not None
        item_id = done.response.output[0].id
        assert item_id is not None
        cut: Any = {"item_id": item_id, "audio_end_ms": 400, "content_index": 0}
        await connection.conversation.item.truncate(**cut)
        truncated = (await until(connection, ServerEventConversationItemTruncated))[-1]
        assert isinstance(truncated, ServerEventConversationItemTruncated)
        assert (truncated.item_id, truncated.audio_end_ms) == (item_id, 400)
        await connection.conversation.item.truncate(**cut)
        error = (await until(connection, ServerEventError))[-1]
        assert isinstance(error, ServerEventError)
        assert error.error.code == "item_already_truncated"


async def test_auto_truncation(emulator: Endpoints, doubles: Doubles) -> None:
    doubles.synthesizer.hold = True
    async with session(emulator) as connection:
        await connection.session.update(session=RequestSession(turn_detection=ServerVad(auto_truncate=True)))
        await connection.conversation.item.create(item=typed("Hello."))
        await connection.response.create()
        await until(connection, ServerEventResponseAudioDelta)
        loud: Any = silence(300) + speech(500)
        await connection.input_audio_buffer.append(audio=loud)
        events = await until(connection, ServerEventConversationItemTruncated)
        doubles.synthesizer.go_on.set()
    assert isinstance(events[-2], ServerEventResponseDone)


async def test_expiry(emulator: Endpoints) -> None:
    async with session(emulator, query={"model": "gpt-4.1", "fault": "expire:0.1"}) as connection:
        error = (await until(connection, ServerEventError))[-1]
        assert isinstance(error, ServerEventError)
        assert error.error.code == "session_expired"
        with pytest.raises(ConnectionClosed) as closed:
            await until(connection, ServerEventResponseDone)
    assert closed.value.code == 1001


@pytest.mark.parametrize("status", [401, 429])
async def test_a_refused_handshake_tells_its_status(emulator: Endpoints, status: int) -> None:
    with pytest.raises(ConnectionError) as refused:
        async with session(emulator, query={"model": "m", "fault": f"refuse:{status}"}):
            pass
    cause: Any = refused.value.__cause__
    assert cause.status == status


async def test_real_speech(real_emulator: Endpoints, spoken_question: bytes) -> None:
    async with session(real_emulator) as connection:
        audio: Any = silence(300) + spoken_question + silence(1_000)
        await connection.input_audio_buffer.append(audio=audio)
        events = await until(connection, ServerEventResponseAudioDelta)
    words = [
        event.transcript
        for event in events
        if isinstance(event, ServerEventConversationItemInputAudioTranscriptionCompleted)
    ]
    assert "price" in words[0].lower()


async def test_errors_leave_the_session_alive(emulator: Endpoints) -> None:
    async with session(emulator) as connection:
        await connection.response.cancel(event_id="mine")
        error = (await until(connection, ServerEventError))[-1]
        assert isinstance(error, ServerEventError)
        assert (error.error.code, error.error.event_id) == ("response_cancel_not_active", "mine")
        # The SDK encodes a string once more: the frame is a JSON string, not an object.
        mistaken: Any = '{"type":"response.create"}'
        await connection.send(mistaken)
        error = (await until(connection, ServerEventError))[-1]
        assert isinstance(error, ServerEventError)
        assert error.error.type == "invalid_request_error"
        await connection.conversation.item.create(item=typed("Still there?"))
        await until(connection, ServerEventConversationItemCreated)


async def test_every_client_event_of_the_sdk_is_known_and_answered(emulator: Endpoints) -> None:
    async with connected(emulator.port) as client:
        await client.expect("session.created")
        for event_type in ClientEvent.__mapping__:
            await client.send(event_type, event_id=event_type)
            answers = await client.settle()
            assert answers, event_type
            for error in (answer["error"] for answer in answers if answer["type"] == "error"):
                assert error["event_id"] == event_type
                assert error["message"] != "There is no client event of this type."


async def test_the_sdk_knows_every_event_of_a_spoken_turn(emulator: Endpoints) -> None:
    async with session(emulator) as connection:
        await connection.session.update(session=GATEWAY_SESSION)
        audio: Any = silence(500) + speech(1_000) + silence(1_000)
        await connection.input_audio_buffer.append(audio=audio)
        events = await until(connection, ServerEventResponseDone)
    assert ServerEvent not in {type(event) for event in events}


async def test_every_agent_mode_by_its_query(emulator: Endpoints) -> None:
    token = await minted_token(emulator)
    classic = {"agent-id": "asst_1", "agent-project-name": "shop", "agent-access-token": token}
    async with session(emulator, query=classic) as connection:
        (created,) = await until(connection, ServerEventSessionCreated)
    assert isinstance(created, ServerEventSessionCreated)
    assert created.session.agent is not None
    assert created.session.agent.agent_id == "asst_1"
    agent: Any = {"model": None, "agent_name": "sales", "project_name": "shop"}
    async with session(emulator, **agent, headers={"Authorization": f"Bearer {token}"}) as connection:
        (created,) = await until(connection, ServerEventSessionCreated)
        assert isinstance(created, ServerEventSessionCreated)
        assert created.session.agent is not None
        assert created.session.agent.name == "sales"


async def test_takes_a_conversation_with_an_agent_up_again(emulator: Endpoints) -> None:
    headers = {"Authorization": f"Bearer {await minted_token(emulator)}"}
    agent: Any = {"model": None, "agent_name": "sales", "project_name": "shop", "headers": headers}
    async with session(emulator, **agent) as connection:
        (created,) = await until(connection, ServerEventSessionCreated)
        assert isinstance(created, ServerEventSessionCreated)
        assert created.session.agent is not None
        thread_id = created.session.agent.thread_id
        await connection.conversation.item.create(item=typed("My name is Ada."))
        await until(connection, ServerEventConversationItemCreated)
    async with session(emulator, **agent, conversation_id=thread_id) as connection:
        (created,) = await until(connection, ServerEventSessionCreated)
        assert isinstance(created, ServerEventSessionCreated)
        assert created.session.agent is not None
        assert created.session.agent.thread_id == thread_id
        await connection.response.create()
        done: Any = (await until(connection, ServerEventResponseDone))[-1]
    assert done.response.output[0].content[0].transcript.startswith("You said: My name is Ada.")


async def test_sees_the_close_code(emulator: Endpoints) -> None:
    path = {"model": "gpt-4.1", "fault": "close:1011@session.created"}
    async with session(emulator, query=path) as connection:
        with pytest.raises(ConnectionClosed) as closed:
            await until(connection, ServerEventError)
    assert closed.value.code == 1011
