"""The whole protocol, as far as a client can see it."""

import base64
from typing import Any

import numpy as np
import pytest
import soxr

from tests.emulator.conformance.target import Target, answered, given, long_answer
from tests.emulator.doubles import silence
from tests.emulator.wire import Event, WireClient, audio_of, only, types
from voicelive_emulator.audio import InputDecoder, OutputEncoder, Samples

TRANSCRIPTION = "conversation.item.input_audio_transcription"
TOOL = {
    "type": "function",
    "name": "get_price",
    "parameters": {"type": "object", "properties": {"plan": {"type": "string"}}, "required": ["plan"]},
}
WHISPER = {"model": "whisper-1"}
OUTPUT_RATES = {
    "pcm16": 24_000,
    "pcm16_16000hz": 16_000,
    "pcm16-16000hz": 16_000,
    "pcm16_8000hz": 8_000,
    "pcm16-8000hz": 8_000,
    "g711_ulaw": 8_000,
    "g711_alaw": 8_000,
}


async def asked_aloud(target: Target, client: WireClient, last: str = "response.done") -> list[Event]:
    """Ask the question aloud; return the events up to the first of type `last`."""
    await client.append(silence(500) + target.speech + silence(1_500))
    return await client.until(last)


async def test_f1_explicit_nulls_names_and_prefixes(target: Target) -> None:
    async with target.open() as client:
        created = await client.expect("session.created")
        events = await answered(client)
    session, response = created["session"], events[-1]["response"]
    for unset in ("input_audio_noise_reduction", "input_audio_echo_cancellation", "avatar", "animation"):
        assert session[unset] is None
    assert response["object"] == "realtime.response"
    assert response["output"][0]["object"] == "realtime.item"
    assert response["output"][0]["id"].startswith("msg_")
    assert response["id"].startswith("resp_")
    assert session["id"].startswith("sess_")
    assert all(event["event_id"].startswith("event_") for event in events)
    assert len({event["event_id"] for event in events}) == len(events)


async def test_f2_cascade_and_native(target: Target) -> None:
    async with target.session() as client:
        cascade = types(await asked_aloud(target, client))
    assert cascade.index(f"{TRANSCRIPTION}.completed") < cascade.index("conversation.item.created")
    async with target.session(target.native_model, input_audio_transcription=WHISPER) as client:
        native = types(await asked_aloud(target, client))
    created = native.index("conversation.item.created")
    assert native[created - 1 : created + 3] == [
        "input_audio_buffer.committed",
        "conversation.item.created",
        "conversation.item.done",
        "response.created",
    ]
    assert native.index("response.created") < native.index(f"{TRANSCRIPTION}.completed")


@pytest.mark.parametrize(
    ("kind", "native"),
    [
        ("server_vad", False),
        ("azure_semantic_vad", False),
        ("azure_semantic_vad_en", False),
        ("azure_semantic_vad_multilingual", False),
        ("semantic_vad", True),
    ],
)
async def test_f3_turn_detection(target: Target, kind: str, native: bool) -> None:
    detection = {"type": kind, "create_response": False}
    model = target.native_model if native else None
    async with target.session(
        model,
        turn_detection=detection,
        input_audio_transcription=WHISPER if native else {"model": "azure-speech"},
    ) as client:
        events = await asked_aloud(target, client, f"{TRANSCRIPTION}.completed")
        rest = await client.settle()
    (started,) = only(events, "input_audio_buffer.speech_started")
    (stopped,) = only(events, "input_audio_buffer.speech_stopped")
    (created,) = only([*events, *rest], "conversation.item.created")
    assert started["item_id"] == stopped["item_id"] == created["item"]["id"] == events[-1]["item_id"]
    assert 0 <= started["audio_start_ms"] <= 900
    assert started["audio_start_ms"] + 500 < stopped["audio_end_ms"]
    assert not only([*events, *rest], "response.created")


async def test_f4_barge_in_and_auto_truncation(target: Target) -> None:
    detection = {"type": "server_vad", "auto_truncate": True}
    # Faster than it plays, so that some is unheard, and slow enough to be interrupted.
    async with target.session(turn_detection=detection, pace=4) as client:
        await client.send("response.create", response=long_answer())
        await client.until("response.audio.delta")
        await client.append(silence(300) + target.speech)
        events = await client.until("conversation.item.truncated")
        late = await client.settle()
        cut = events[-1]
        await client.send(
            "conversation.item.truncate", item_id=cut["item_id"], content_index=0, audio_end_ms=0
        )
        again = (await client.until("error"))[-1]["error"]
    (done,) = only(events, "response.done")
    assert done["response"]["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert done["response"]["output"][0]["status"] == "incomplete"
    assert types(events).index("input_audio_buffer.speech_started") < types(events).index("response.done")
    about = [event for event in late if event.get("response_id") == done["response"]["id"]]
    assert about == []
    assert again["code"] == "item_already_truncated"


async def test_f5_errors(target: Target) -> None:
    async with target.session() as client:
        item_id = (await answered(client))[-1]["response"]["output"][0]["id"]
        cut: Event = {"item_id": item_id, "content_index": 0, "audio_end_ms": 10_000_000}
        for event_type, fields in (
            ("conversation.item.truncate", cut),
            ("conversation.item.delete", {"item_id": "nothing"}),
            ("conversation.item.retrieve", {"item_id": "nothing"}),
            ("input_audio_buffer.commit", {}),
        ):
            await client.send(event_type, event_id=event_type, **fields)
            error = (await client.expect("error"))["error"]
            assert (error["type"], error["event_id"]) == ("invalid_request_error", event_type)
        await client.send("conversation.item.retrieve", item_id=item_id)
        assert (await client.expect("conversation.item.retrieved"))["item"]["id"] == item_id
        await client.send("conversation.item.delete", item_id=item_id)
        assert (await client.expect("conversation.item.deleted"))["item_id"] == item_id


async def test_f6_one_answer_at_a_time(target: Target) -> None:
    async with target.session(pace=1) as client:
        await client.send("response.create", response=long_answer())
        await client.until("response.audio.delta")
        await client.send("response.create", event_id="second")
        error = (await client.until("error"))[-1]["error"]
        assert (error["code"], error["event_id"]) == ("conversation_already_has_active_response", "second")
        beside = {"conversation": "none", "modalities": ["text"], "metadata": {"topic": "beside"}}
        await client.send("response.create", response=beside)
        events = await client.until("response.done")
        assert events[-1]["response"]["metadata"] == {"topic": "beside"}
        await client.send("response.cancel")
        details = (await client.until("response.done"))[-1]["response"]["status_details"]
        assert details == {"type": "cancelled", "reason": "client_cancelled"}


async def test_f7_given_and_interim_texts(target: Target) -> None:
    interim = {
        "type": "static_interim_response",
        "triggers": ["tool"],
        "texts": ["Let me look that up."],
    }
    async with target.session(interim_response=interim, tools=[TOOL]) as client:
        await client.send("response.create", response=given("Welcome back."))
        done = (await client.until("response.done"))[-1]["response"]
        assert done["output"][0]["content"][0]["transcript"].strip() == "Welcome back."
        await client.send("conversation.item.retrieve", item_id=done["output"][0]["id"])
        await client.expect("conversation.item.retrieved")
        output = (await answered(client, tool_choice="required"))[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["message", "function_call"]
    assert output[0]["content"][0]["transcript"].strip() == "Let me look that up."


async def test_f8_functions(target: Target) -> None:
    choices: tuple[Any, ...] = ("required", {"type": "function", "name": "get_price"})
    async with target.session(tools=[TOOL]) as client:
        for choice in choices:
            events = await answered(client, "What does it cost?", tool_choice=choice)
            deltas = only(events, "response.function_call_arguments.delta")
            (done,) = only(events, "response.function_call_arguments.done")
            assert "".join(event["delta"] for event in deltas) == done["arguments"]
            assert done["name"] == "get_price"
            call = events[-1]["response"]["output"][0]
            assert (call["type"], call["call_id"]) == ("function_call", done["call_id"])
            output = {"type": "function_call_output", "call_id": call["call_id"], "output": "39 dollars"}
            await client.send("conversation.item.create", item=output)
            await client.expect("conversation.item.created")
            await client.send("response.create", response={"tool_choice": "none"})
            spoken = (await client.until("response.done"))[-1]["response"]
            assert spoken["status"] == "completed"
            assert spoken["output"][0]["type"] == "message"


async def test_f9_formats(target: Target) -> None:
    question = np.frombuffer(target.speech, "<i2")
    narrow = soxr.resample(question, 24_000, 16_000).astype("<i2").tobytes()
    stereo = np.column_stack((question, np.zeros_like(question))).astype("<i2").tobytes()
    echo = {"type": "server_echo_cancellation", "reference_source": "client", "channels": 2}
    inputs: tuple[tuple[Event, bytes, float], ...] = (
        ({"input_audio_format": "pcm16", "input_audio_sampling_rate": 16_000}, narrow, 32.0),
        ({"input_audio_format": "g711_ulaw"}, _encoded(target.speech, "g711_ulaw"), 8.0),
        ({"input_audio_format": "g711_alaw"}, _encoded(target.speech, "g711_alaw"), 8.0),
        ({"input_audio_echo_cancellation": echo}, stereo, 96.0),
    )
    for fields, audio, bytes_per_ms in inputs:
        async with target.session(**fields) as client:
            quiet = _quiet(fields, bytes_per_ms)
            await client.append(quiet(500) + audio + quiet(1_500))
            heard = (await client.until(f"{TRANSCRIPTION}.completed"))[-1]["transcript"]
            assert "price" in heard.lower(), fields
    lengths_s = {}
    for name, rate_hz in OUTPUT_RATES.items():
        async with target.session(output_audio_format=name) as client:
            await client.send("response.create", response=given("One moment, please."))
            sound = audio_of(await client.until("response.done"))
        assert np.abs(_samples(sound, name)).max() > 0.05, name
        lengths_s[name] = len(sound) / rate_hz / (1 if name.startswith("g711") else 2)
    assert max(lengths_s.values()) < 1.2 * min(lengths_s.values()), lengths_s


def _quiet(fields: Event, bytes_per_ms: float) -> Any:
    """Return what makes silence of so many milliseconds; in G.711 it is not zero."""
    name = fields.get("input_audio_format", "pcm16")
    value = {"g711_ulaw": b"\xff", "g711_alaw": b"\xd5"}.get(name, b"\x00")
    return lambda milliseconds: value * int(milliseconds * bytes_per_ms)


def _encoded(pcm24: bytes, name: str) -> bytes:
    return OutputEncoder(name).encode(pcm24, last=True)


def _samples(sound: bytes, name: str) -> Samples:
    """Return samples in [-1, 1] at whatever rate."""
    if name.startswith("g711"):
        return InputDecoder(name, 8_000).decode(sound)
    samples: Samples = np.divide(np.frombuffer(sound, "<i2"), 32_768, dtype=np.float32)
    return samples


async def test_f10_voices(target: Target) -> None:
    async with target.session() as client:
        for voice, param in (
            ({"type": "azure-custom", "name": "Brand"}, "session.voice.endpoint_id"),
            ({"type": "azure-personal", "name": "Mine"}, "session.voice.model"),
            ({"type": "made-up", "name": "Any"}, "session.voice.type"),
        ):
            await client.send("session.update", session={"voice": voice})
            error = (await client.expect("error"))["error"]
            assert (error["type"], error["param"]) == ("invalid_request_error", param)
    async with target.session(target.native_model) as client:
        await client.send("session.update", session={"voice": "coral"})
        assert (await client.expect("session.updated"))["session"]["voice"]["name"] == "coral"


async def test_f11_timestamps_and_avatars(target: Target) -> None:
    animation = {"outputs": ["viseme_id"]}
    async with target.session(output_audio_timestamp_types=["word"], animation=animation) as client:
        events = await answered(client)
        await client.send("session.avatar.connect", client_sdp="")
        assert (await client.expect("error"))["error"]["message"]
    words = only(events, "response.audio_timestamp.delta")
    starts = [word["audio_offset_ms"] for word in words]
    assert len(words) > 2
    assert starts == sorted(starts)
    assert {word["timestamp_type"] for word in words} == {"word"}
    shapes = only(events, "response.animation_viseme.delta")
    assert len(shapes) > len(words)
    assert {shape["viseme_id"] for shape in shapes} <= set(range(22))
    for name in ("audio_timestamp", "animation_viseme"):
        assert len(only(events, f"response.{name}.done")) == 1
    async with target.session() as client:
        events = await answered(client)
    assert not only(events, "response.audio_timestamp.delta")
    assert not only(events, "response.animation_viseme.delta")


async def test_f13_model_and_voice_are_fixed(target: Target) -> None:
    async with target.session() as client:
        await client.send("session.update", session={"model": target.model})
        assert (await client.expect("error"))["error"]["param"] == "session.model"
        await answered(client)
        voice = {"type": "azure-standard", "name": "en-US-EmmaNeural"}
        await client.send("session.update", session={"voice": voice})
        assert (await client.expect("error"))["error"]["type"] == "invalid_request_error"


async def test_f19_messages_of_clients(target: Target) -> None:
    async with target.session() as client:
        await client.ws.send_bytes(b'{"type":"input_audio_buffer.clear"}')
        await client.expect("input_audio_buffer.cleared")
        for text in ("{", '"{\\"type\\":\\"response.create\\"}"', "[]", '{"type":"made.up"}'):
            await client.ws.send_str(text)
            assert (await client.expect("error"))["error"]["type"] == "invalid_request_error"
        assert (await answered(client))[-1]["response"]["status"] == "completed"


async def test_f20_types_that_only_sdks_know(target: Target) -> None:
    audio = base64.b64encode(bytes(4_800)).decode()
    async with target.session() as client:
        for event_type, fields in (
            ("input_audio.turn.start", {"turn_id": "t"}),
            ("input_audio.turn.append", {"turn_id": "t", "audio": audio}),
            ("input_audio.turn.end", {"turn_id": "t"}),
            ("input_audio.turn.cancel", {"turn_id": "t"}),
            ("input_audio.clear", {}),
            ("transcription_session.update", {"session": {}}),
            ("mcp_approval_response", {"approval_request_id": "a", "approve": True}),
        ):
            await client.send(event_type, event_id=event_type, **fields)
            assert (await client.expect("error"))["error"]["event_id"] == event_type
        await client.send("input_text.delta", id="typed", delta="Hello.")
        await client.send("input_text.done", id="typed")
        assert (await client.expect("conversation.item.created"))["item"]["id"] == "typed"
