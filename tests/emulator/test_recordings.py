"""The shapes of the live service, as recorded in September 2026, against what the emulator sends.

The facts below were read off recordings of Azure AI Voice Live: order of events, key order, explicit
nulls, prefixes and lengths of ids. `...` stands for a value that a session makes; an `Id` for an id.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tests.emulator.doubles import silence, speech
from tests.emulator.wire import Event, connected, types
from voicelive_emulator.server import Endpoints


@dataclass(frozen=True)
class Id:
    """An id by its prefix and the lengths that were seen after it."""

    prefix: str
    lengths: Sequence[int] = (20, 21, 22)

    def matches(self, value: object) -> bool:
        lengths = "|".join(f"[0-9A-Za-z]{{{length}}}" for length in self.lengths)
        return isinstance(value, str) and re.fullmatch(f"{self.prefix}_(?:{lengths})", value) is not None


EVENT = Id("event")
SESSION, CONVERSATION, RESPONSE = Id("sess"), Id("conv"), Id("resp")
ITEM, CASCADE_ANSWER = Id("item"), Id("msg", (22, 21))

AVA = {
    "name": "en-US-AvaNeural",
    "type": "azure-standard",
    "temperature": None,
    "custom_lexicon_url": None,
    "custom_text_normalization_url": None,
    "prefer_locales": None,
    "locale": None,
    "style": None,
    "pitch": None,
    "rate": None,
    "volume": None,
}
ALLOY = {"name": "alloy", "type": "openai"}


def server_vad(threshold: float | None, padding_ms: int | None, silence_ms: int | None) -> Event:
    return {
        "type": "server_vad",
        "threshold": threshold,
        "prefix_padding_ms": padding_ms,
        "silence_duration_ms": silence_ms,
        "create_response": True,
        "interrupt_response": True,
        "idle_timeout_ms": None,
        "speech_duration_ms": None,
        "auto_truncate": False,
        "appended_text_after_truncation": None,
    }


def semantic_vad(kind: str, languages: list[str] | None, utterance: Event | None = None) -> Event:
    return {
        "type": kind,
        "threshold": None,
        "prefix_padding_ms": None,
        "silence_duration_ms": None,
        "create_response": True,
        "interrupt_response": True,
        "idle_timeout_ms": None,
        "profile": "classic",
        **({"end_of_utterance_detection": utterance} if utterance else {}),
        "neg_threshold": None,
        "speech_duration_ms": None,
        "window_size": None,
        "distinct_ci_phones": None,
        "require_vowel": None,
        "require_vowel_assistant_speaking": None,
        "remove_filler_words": False,
        "languages": languages,
        "auto_truncate": False,
        "appended_text_after_truncation": None,
    }


def transcription(model: str, language: str | None) -> Event:
    return {
        "model": model,
        "language": language,
        "prompt": None,
        "delay": None,
        "custom_speech": None,
        "phrase_list": None,
    }


def session(**known: Any) -> Event:
    """Return a session in recorded key order; `known` replaces values, adds optional ones in their place."""
    shape: Event = {
        "id": SESSION,
        "model": ...,
        "modalities": ...,
        "instructions": ...,
        "voice": ...,
        "input_audio_format": "pcm16",
        "output_audio_format": "pcm16",
        "input_audio_transcription": None,
        "input_audio_noise_reduction": None,
        "turn_detection": ...,
        "tools": [],
        "tool_choice": "auto",
        "temperature": None,
        "max_response_output_tokens": "inf",
        "expires_at": ...,
        "object": "realtime.session",
        "input_audio_sampling_rate": 24_000,
        "animation": None,
        "input_audio_echo_cancellation": None,
        "avatar": None,
        "output_audio_timestamp_types": None,
        "reasoning_effort": None,
        "truncation_strategy": None,
        "include": None,
        "greeting": None,
        "handoff": None,
    }
    assert set(known) <= set(shape)
    optional = {"temperature", "reasoning_effort"} - set(known)
    return {name: known.get(name, value) for name, value in shape.items() if name not in optional}


USAGE = {
    "total_tokens": ...,
    "input_tokens": ...,
    "output_tokens": ...,
    "input_token_details": {
        "cached_tokens": 0,
        "cache_write_tokens": 0,
        "text_tokens": ...,
        "audio_tokens": ...,
        "image_tokens": 0,
        "cached_tokens_details": {"text_tokens": 0, "audio_tokens": 0, "image_tokens": 0},
    },
    "output_token_details": {"text_tokens": ..., "audio_tokens": ..., "reasoning_tokens": 0},
}


def message(item_id: Id | str, role: str, status: str, *content: Event) -> Event:
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "message",
        "status": status,
        "role": role,
        "content": list(content),
    }


def response(status: str, output: list[Event], **known: Any) -> Event:
    return {
        "object": "realtime.response",
        "id": RESPONSE,
        "status": status,
        "status_details": None,
        "output": output,
        "usage": None if status == "in_progress" else USAGE,
        "conversation_id": "",
        "modalities": ...,
        "voice": AVA,
        "output_audio_format": "pcm16",
        "temperature": 0.8,
        "max_output_tokens": None,
        "metadata": None,
        **known,
    }


def matches(shape: Any, value: Any, path: str = "") -> None:
    """Assert that a value has the shape, keys in order."""
    if shape is ...:
        return
    if isinstance(shape, Id):
        assert shape.matches(value), (path, value)
    elif isinstance(shape, dict):
        assert list(value) == list(shape), path
        for name, part in shape.items():
            matches(part, value[name], f"{path}.{name}")
    elif isinstance(shape, list):
        assert len(value) == len(shape), (path, value)
        for index, part in enumerate(shape):
            matches(part, value[index], f"{path}[{index}]")
    else:
        assert value == shape, (path, value)


def event(event_type: str, **fields: Any) -> Event:
    return {"event_id": EVENT, "type": event_type, **fields}


def part_event(event_type: str, item_id: Id, **fields: Any) -> Event:
    return event(event_type, response_id=RESPONSE, item_id=item_id, output_index=0, content_index=0, **fields)


def assert_shapes(shapes: list[Event], events: list[Event]) -> None:
    """Assert that events have these shapes in this order; runs of deltas count once."""
    firsts = [
        found
        for index, found in enumerate(events)
        if index == 0 or events[index - 1]["type"] != found["type"]
    ]
    assert [found["type"] for found in firsts] == [shape["type"] for shape in shapes]
    for shape, found in zip(shapes, firsts, strict=True):
        matches(shape, found, found["type"])


class TestCascade:
    async def test_session(self, emulator: Endpoints) -> None:
        async with connected(emulator.port) as client:
            created = await client.expect("session.created")
            update = {
                "instructions": "Reply in a few words.",
                "modalities": ["text", "audio"],
                "turn_detection": {
                    "type": "azure_semantic_vad_multilingual",
                    "languages": ["en", "fr"],
                    "end_of_utterance_detection": {
                        "model": "semantic_detection_v1_multilingual",
                        "timeout_ms": 800,
                    },
                },
                "input_audio_transcription": {"model": "azure-speech"},
                "input_audio_noise_reduction": {"type": "azure_deep_noise_suppression"},
                "input_audio_echo_cancellation": {"type": "server_echo_cancellation"},
            }
            await client.send("session.update", session=update)
            updated = await client.expect("session.updated")
        matches(
            event(
                "session.created",
                session=session(
                    model="gpt-4.1",
                    voice=AVA,
                    input_audio_transcription=transcription("azure-speech", None),
                    turn_detection=server_vad(0.5, 400, 500),
                    temperature=0.8,
                ),
            ),
            created,
        )
        utterance = {
            "model": "semantic_detection_v1_multilingual",
            "threshold": None,
            "threshold_level": "default",
            "timeout": None,
            "timeout_ms": 800,
        }
        matches(
            event(
                "session.updated",
                session=session(
                    id=created["session"]["id"],
                    model="gpt-4.1",
                    instructions="Reply in a few words.",
                    voice=AVA,
                    input_audio_transcription=transcription("azure-speech", ""),
                    input_audio_noise_reduction={"type": "azure_deep_noise_suppression"},
                    turn_detection=semantic_vad("azure_semantic_vad_multilingual", ["en", "fr"], utterance),
                    temperature=0.8,
                    expires_at=created["session"]["expires_at"],
                    input_audio_echo_cancellation={
                        "type": "server_echo_cancellation",
                        "reference_source": "server",
                        "channels": 1,
                    },
                ),
            ),
            updated,
        )

    async def test_reasoning_model(self, emulator: Endpoints) -> None:
        async with connected(emulator.port, "/voice-live/realtime?model=gpt-5") as client:
            created = await client.expect("session.created")
            update = {
                "turn_detection": {"type": "server_vad"},
                "reasoning_effort": "high",
                "instructions": "",
            }
            await client.send("session.update", session=update)
            updated = await client.expect("session.updated")
        assert created["session"]["reasoning_effort"] == "minimal"
        matches(
            session(
                model="gpt-5",
                voice=AVA,
                instructions=created["session"]["instructions"],
                input_audio_transcription=transcription("azure-speech", None),
                turn_detection=server_vad(None, None, None),
                temperature=1.0,
                reasoning_effort="high",
            ),
            updated["session"],
        )

    async def test_spoken_turn(self, emulator: Endpoints) -> None:
        async with connected(emulator.port) as client:
            await client.expect("session.created")
            await client.append(silence(500) + speech(1_000) + silence(1_000))
            events = await client.until("response.done")
        item_id, answer_id = events[0]["item_id"], events[-1]["response"]["output"][0]["id"]
        transcript = events[-1]["response"]["output"][0]["content"][0]["transcript"]
        spoken = {"type": "audio", "transcript": transcript}
        heard = {"type": "input_audio", "transcript": "I spoke for 1.0 seconds."}
        answer = CASCADE_ANSWER
        opened = message(answer, "assistant", "incomplete")
        complete = message(answer_id, "assistant", "completed", spoken)
        assert ITEM.matches(item_id)
        shapes = [
            event("input_audio_buffer.speech_started", audio_start_ms=..., item_id=item_id),
            event("input_audio_buffer.speech_stopped", audio_end_ms=..., item_id=item_id),
            event("input_audio_buffer.committed", previous_item_id=None, item_id=item_id),
            event(
                "conversation.item.input_audio_transcription.completed",
                item_id=item_id,
                content_index=0,
                transcript=heard["transcript"],
                language="en-US",
            ),
            event(
                "conversation.item.created",
                previous_item_id=None,
                item=message(item_id, "user", "completed", heard),
            ),
            event("response.created", response=response("in_progress", [])),
            event("response.output_item.added", response_id=RESPONSE, output_index=0, item=opened),
            event("conversation.item.created", previous_item_id=item_id, item=opened),
            part_event("response.content_part.added", answer, part={"type": "audio", "transcript": ""}),
            part_event("response.audio_transcript.delta", answer, delta=...),
            part_event("response.audio.delta", answer, delta=...),
            part_event("response.audio.done", answer),
            part_event("response.audio_transcript.done", answer, transcript=transcript),
            part_event("response.content_part.done", answer, part=spoken),
            event("response.output_item.done", response_id=RESPONSE, output_index=0, item=complete),
            event("response.done", response=response("completed", [complete])),
        ]
        deltas = {"response.audio_transcript.delta", "response.audio.delta"}
        # Words and audio may follow each other in any number of runs; the first runs stand for all.
        first_audio = next(i for i, found in enumerate(events) if found["type"] == "response.audio.delta")
        rest = [found for found in events[first_audio + 1 :] if found["type"] not in deltas]
        assert_shapes(shapes, [*events[: first_audio + 1], *rest])

    async def test_typed_turn(self, emulator: Endpoints) -> None:
        async with connected(emulator.port) as client:
            await client.expect("session.created")
            item = {
                "id": "chosen_by_client",
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "Hello."}],
            }
            await client.send("conversation.item.create", item=item)
            await client.send("response.create", response={"modalities": ["text"], "metadata": {"a": "b"}})
            events = await client.until("response.done")
        text = events[-1]["response"]["output"][0]["content"][0]["text"]
        answer = CASCADE_ANSWER
        part = {"type": "text", "text": text}
        opened = message(answer, "assistant", "incomplete")
        complete = message(answer, "assistant", "completed", part)
        known = {"metadata": {"a": "b"}, "modalities": ["text"]}
        assert_shapes(
            [
                event(
                    "conversation.item.created",
                    previous_item_id="",
                    item=message(
                        "chosen_by_client", "user", "completed", {"type": "input_text", "text": "Hello."}
                    ),
                ),
                event("response.created", response=response("in_progress", [], **known)),
                event("response.output_item.added", response_id=RESPONSE, output_index=0, item=opened),
                event("conversation.item.created", previous_item_id="", item=opened),
                part_event("response.content_part.added", answer, part={"type": "text", "text": ""}),
                part_event("response.text.delta", answer, delta=...),
                part_event("response.text.done", answer, text=text),
                part_event("response.content_part.done", answer, part=part),
                event("response.output_item.done", response_id=RESPONSE, output_index=0, item=complete),
                event("response.done", response=response("completed", [complete], **known)),
            ],
            events,
        )


class TestNative:
    PATH = "/voice-live/realtime?model=gpt-realtime"

    async def test_session(self, emulator: Endpoints) -> None:
        async with connected(emulator.port, self.PATH) as client:
            created = await client.expect("session.created")
            update = {
                "modalities": ["text"],
                "turn_detection": {"type": "semantic_vad", "eagerness": "high"},
                "input_audio_transcription": {"model": "whisper-1"},
                "input_audio_noise_reduction": {"type": "far_field"},
                "temperature": 0.7,
            }
            await client.send("session.update", session=update)
            updated = await client.expect("session.updated")
            await client.send("session.update", session={"turn_detection": {"type": "server_vad"}})
            again = await client.expect("session.updated")
        model = "gpt-realtime-global-standard"
        native = session(
            model=model, modalities=["audio"], voice=ALLOY, turn_detection=server_vad(0.5, 300, 200)
        )
        matches(event("session.created", session=native), created)
        matches(
            session(
                model=model,
                modalities=["text"],
                voice=ALLOY,
                input_audio_transcription=transcription("whisper-1", None),
                input_audio_noise_reduction={"type": "far_field"},
                turn_detection={
                    "type": "semantic_vad",
                    "eagerness": "high",
                    "create_response": True,
                    "interrupt_response": True,
                    "auto_truncate": False,
                },
                temperature=0.7,
            ),
            updated["session"],
        )
        matches(server_vad(0.5, 400, 500), again["session"]["turn_detection"])

    async def test_typed_turns_name_the_item_before(self, emulator: Endpoints) -> None:
        async with connected(emulator.port, self.PATH) as client:
            await client.expect("session.created")
            await client.say("One")
            part = {"type": "output_text", "text": "Two"}
            seeded = {"type": "message", "role": "assistant", "content": [part]}
            await client.send("conversation.item.create", item=seeded)
            await client.send("response.create", response={"modalities": ["text"]})
            events = await client.until("response.done")
        one, two, answer = [found for found in events if found["type"] == "conversation.item.created"]
        assert one["previous_item_id"] is None
        assert two["previous_item_id"] == one["item"]["id"]
        assert answer["previous_item_id"] == two["item"]["id"]
        assert two["item"]["content"] == [{"type": "text", "text": "Two"}]
        assert Id("item", (21,)).matches(answer["item"]["id"])
        assert answer["item"]["status"] == "in_progress"
        part_done = next(found for found in events if found["type"] == "response.content_part.done")
        assert part_done["part"] == {"type": "text", "text": ""}
        known = {
            "id": Id("resp", (21,)),
            "conversation_id": Id("conv", (21,)),
            "modalities": ["text"],
            "voice": ALLOY,
            "temperature": None,
            "max_output_tokens": "inf",
        }
        created = next(found for found in events if found["type"] == "response.created")
        matches(response("in_progress", [], **known), created["response"])

    async def test_spoken_turn(self, emulator: Endpoints) -> None:
        async with connected(emulator.port, self.PATH) as client:
            await client.send("session.update", session={"input_audio_transcription": {"model": "whisper-1"}})
            await client.until("session.updated")
            await client.append(silence(500) + speech(1_000) + silence(1_000))
            events = await client.until("response.done")
        item_id = events[0]["item_id"]
        unknown = message(item_id, "user", "completed", {"type": "input_audio", "transcript": None})
        about = {"item_id": item_id, "content_index": 0}
        name = "conversation.item.input_audio_transcription"
        text = "I spoke for 1.0 seconds."
        shapes = {
            "conversation.item.created": event(
                "conversation.item.created", previous_item_id=None, item=unknown
            ),
            "conversation.item.done": event("conversation.item.done", previous_item_id=None, item=unknown),
            f"{name}.delta": event(f"{name}.delta", **about, delta=text),
            f"{name}.completed": event(f"{name}.completed", **about, transcript=text),
        }
        for event_type, shape in shapes.items():
            matches(shape, next(found for found in events if found["type"] == event_type))
        assert types(events)[3:6] == [
            "conversation.item.created",
            "conversation.item.done",
            "response.created",
        ]

    async def test_function_call(self, emulator: Endpoints) -> None:
        parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
        tool = {
            "type": "function",
            "name": "get_weather",
            "parameters": parameters,
            "description": "Weather.",
        }
        async with connected(emulator.port, self.PATH) as client:
            await client.expect("session.created")
            await client.send("session.update", session={"tools": [tool], "modalities": ["text"]})
            updated = await client.expect("session.updated")
            await client.say("What is the weather?")
            await client.send("response.create", response={"tool_choice": "required"})
            events = await client.until("response.done")
        assert list(updated["session"]["tools"][0]) == ["name", "description", "type", "parameters"]
        call = {
            "id": ITEM,
            "object": "realtime.item",
            "type": "function_call",
            "status": "in_progress",
            "name": "get_weather",
            "call_id": Id("call", (16,)),
            "arguments": "",
        }
        arguments = '{"city":""}'
        complete = {**call, "status": "completed", "arguments": arguments}
        about = {"response_id": RESPONSE, "item_id": ITEM, "output_index": 0, "call_id": Id("call", (16,))}
        name = "response.function_call_arguments"
        assert_shapes(
            [
                event("conversation.item.created", previous_item_id=None, item=...),
                event("response.created", response=...),
                event("response.output_item.added", response_id=RESPONSE, output_index=0, item=call),
                event("conversation.item.created", previous_item_id=ITEM, item=call),
                event(f"{name}.delta", **about, delta=...),
                event(f"{name}.done", **about, name="get_weather", arguments=arguments),
                event("response.output_item.done", response_id=RESPONSE, output_index=0, item=complete),
                event("response.done", response=...),
            ],
            events,
        )

    async def test_second_generation_labels_its_messages(self, emulator: Endpoints) -> None:
        async with connected(emulator.port, "/voice-live/realtime?model=gpt-realtime-2") as client:
            created = await client.expect("session.created")
            await client.send("response.create", response={"modalities": ["text"]})
            events = await client.until("response.done")
        assert created["session"]["voice"] == {"name": "marin", "type": "openai"}
        assert created["session"]["turn_detection"]["silence_duration_ms"] == 500
        assert list(events[-1]["response"]["output"][0])[-1] == "phase"
        assert events[-1]["response"]["output"][0]["phase"] == "final_answer"


@pytest.mark.parametrize("model", ["gpt-4.1", "gpt-realtime"])
async def test_pictures_do_not_come_back(emulator: Endpoints, model: str) -> None:
    picture = {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 131_432}
    async with connected(emulator.port, f"/voice-live/realtime?model={model}") as client:
        await client.expect("session.created")
        item = {"type": "message", "role": "user", "content": [picture]}
        await client.send("conversation.item.create", item=item)
        created = await client.expect("conversation.item.created")
    assert created["item"]["content"] == [{"type": "input_image", "image_url": None, "detail": "auto"}]
