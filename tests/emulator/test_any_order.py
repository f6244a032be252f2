"""The session under any client and any models: whatever comes in any order, the promises of the wire hold."""

import base64
from random import Random
from typing import Any

import orjson
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.emulator.test_session import Driver
from voicelive_emulator.effects import CancelReply, Effect, Send, StartReply, Transcribe
from voicelive_emulator.events import Event, Events
from voicelive_emulator.openai_names import OpenAINames
from voicelive_emulator.synthesis import Word

AUDIO = base64.b64encode(bytes(4_800)).decode()
TOOL = {"type": "function", "name": "f", "parameters": {}}
CLIENT_EVENTS = (
    "session.update",
    "input_audio_buffer.append",
    "input_audio_buffer.commit",
    "input_audio_buffer.clear",
    "conversation.item.create",
    "conversation.item.retrieve",
    "conversation.item.truncate",
    "conversation.item.delete",
    "response.create",
    "response.cancel",
    "input_text.delta",
    "input_text.done",
    "input_audio.turn.start",
    "made.up",
)
FIELDS = (
    "session",
    "item",
    "item_id",
    "previous_item_id",
    "audio",
    "audio_end_ms",
    "content_index",
    "response",
    "response_id",
    "id",
    "delta",
    "type",
)
DETECTIONS = (
    None,
    {"type": "server_vad"},
    {"type": "server_vad", "auto_truncate": True, "appended_text_after_truncation": "(cut off)"},
    {"type": "server_vad", "interrupt_response": False},
    {"type": "azure_semantic_vad", "create_response": False},
)
RESPONSES: tuple[dict[str, Any] | None, ...] = (
    None,
    {},
    {"conversation": "none"},
    {"modalities": ["text"]},
    {"cancel_previous": True},
    {"commit": False, "input_items": []},
    {"tools": [TOOL], "tool_choice": "required"},
    {"pre_generated_assistant_message": {"type": "message", "role": "assistant", "content": []}},
)
garbage = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


class Promises:
    """Checks each event as it is sent."""

    def __init__(self) -> None:
        self.event_ids: set[str] = set()
        self.items: set[str] = set()
        self.known: set[str] = set()
        """Ids of items that were announced, even if they are deleted by now."""
        self.announced: list[str] = []
        self.ended: set[str] = set()
        self.opened: dict[str, list[str]] = {}
        self.closed: dict[str, list[str]] = {}

    def check(self, event: Event) -> None:
        assert event["event_id"] not in self.event_ids
        self.event_ids.add(event["event_id"])
        orjson.dumps(event)
        match event["type"]:
            case "response.created":
                response_id = event["response"]["id"]
                assert response_id not in self.announced
                assert event["response"]["status"] == "in_progress"
                self.announced.append(response_id)
                self.opened[response_id], self.closed[response_id] = [], []
            case "response.done":
                self._ends(event["response"])
            case "conversation.item.created":
                item_id = event["item"]["id"]
                assert item_id not in self.items
                assert event["previous_item_id"] in {None, "", *self.known}
                self.items.add(item_id)
                self.known.add(item_id)
            case "input_audio_buffer.committed":
                self.known.add(event["item_id"])
            case "conversation.item.deleted":
                # The client may use the id once more.
                self.items.discard(event["item_id"])
            case name if name.startswith("response."):
                self._goes_on(event)

    def _goes_on(self, event: Event) -> None:
        response_id = event["response_id"]
        assert response_id in self.announced
        assert response_id not in self.ended
        opened, closed = self.opened[response_id], self.closed[response_id]
        if event["type"] == "response.output_item.added":
            assert opened == closed
            opened.append(event["item"]["id"])
        else:
            item_id = event["item"]["id"] if "item" in event else event["item_id"]
            assert opened[-1] == item_id
            assert item_id not in closed
        assert event["output_index"] == len(opened) - 1
        if event["type"] == "response.output_item.done":
            closed.append(event["item"]["id"])

    def _ends(self, response: Event) -> None:
        response_id = response["id"]
        assert response_id in self.announced
        assert response_id not in self.ended
        assert response["status"] in {"completed", "cancelled", "incomplete", "failed"}
        output = [item["id"] for item in response["output"]]
        assert output == self.opened[response_id] == self.closed[response_id]
        self.ended.add(response_id)


class AnyOrder(RuleBasedStateMachine):
    """A client and models that do whatever they like."""

    @initialize(model=st.sampled_from(["gpt-4.1", "gpt-realtime", None]))
    def start(self, model: str | None) -> None:
        self.driver = Driver(model)
        self.promises = Promises()
        self.newer = OpenAINames(Events(Random(2)), asked=True)
        self.newer_open: set[str] = set()
        self.now = 0.0
        self.words_awaited = 0
        self.working: list[StartReply] = []
        for event in self.driver.events:
            self.check(event)

    def take(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Transcribe():
                    self.words_awaited += 1
                case StartReply():
                    self.working.append(effect)
                case CancelReply(response_id=response_id):
                    assert response_id in self.promises.announced
                case Send(event=event):
                    self.check(event)

    def check(self, event: Event) -> None:
        self.promises.check(event)
        for named in self.newer.outgoing(event):
            if named["type"] == "conversation.item.added":
                self.newer_open.add(named["item"]["id"])
            elif named["type"] == "conversation.item.done":
                self.newer_open.remove(named["item"]["id"])

    def client(self, event_type: str, **fields: Any) -> None:
        self.take(self.driver.session.receive({"type": event_type, **fields}))

    @rule(text=st.sampled_from(["Hello", "", "a b c"]))
    def type_a_message(self, text: str) -> None:
        part = {"type": "input_text", "text": text}
        self.client("conversation.item.create", item={"type": "message", "role": "user", "content": [part]})

    @rule(response=st.sampled_from(RESPONSES))
    def ask(self, response: object) -> None:
        self.client("response.create", response=response)

    @rule(which=st.none() | st.integers(0, 3))
    def cancel(self, which: int | None) -> None:
        announced = self.promises.announced
        wanted = announced[which % len(announced)] if which is not None and announced else None
        self.client("response.cancel", response_id=wanted)

    @rule(detection=st.sampled_from(DETECTIONS), tools=st.sampled_from([[], [TOOL]]))
    def reconfigure(self, detection: object, tools: object) -> None:
        self.client("session.update", session={"turn_detection": detection, "tools": tools})

    @rule(kind=st.sampled_from(["append", "commit", "clear"]))
    def use_the_buffer(self, kind: str) -> None:
        self.client(f"input_audio_buffer.{kind}", **({"audio": AUDIO} if kind == "append" else {}))

    @rule(which=st.integers(0, 5), what=st.sampled_from(["truncate", "delete", "retrieve"]))
    def touch_an_item(self, which: int, what: str) -> None:
        items = sorted(self.promises.items)
        item_id = items[which % len(items)] if items else "none"
        cut = {"content_index": 0, "audio_end_ms": 50} if what == "truncate" else {}
        self.client(f"conversation.item.{what}", item_id=item_id, **cut)

    @rule(event_type=st.sampled_from(CLIENT_EVENTS), fields=st.dictionaries(st.sampled_from(FIELDS), garbage))
    def send_nonsense(self, event_type: str, fields: dict[str, Any]) -> None:
        self.take(self.driver.session.receive({**fields, "type": event_type}))

    @rule(message=garbage)
    def send_what_is_no_event(self, message: object) -> None:
        self.take(self.driver.session.receive(message))

    @rule()
    def speech_starts(self) -> None:
        self.take(self.driver.session.speech_started(0, self.now))

    @rule()
    def speech_stops(self) -> None:
        self.take(self.driver.session.speech_stopped(1_000))

    @precondition(lambda self: self.words_awaited)
    @rule(text=st.sampled_from(["", "Yes please", None]))
    def words_arrive(self, text: str | None) -> None:
        self.words_awaited -= 1
        session = self.driver.session
        self.take(session.transcription_failed() if text is None else session.transcribed(text))

    @precondition(lambda self: self.working)
    @rule(
        which=st.integers(-3, -1),
        what=st.sampled_from(["text", "words", "audio", "finish", "cut", "fail", "call"]),
    )
    def work_arrives(self, which: int, what: str) -> None:
        session = self.driver.session
        reply = self.working[max(which, -len(self.working))]
        response_id = reply.response_id
        self.now += 0.05
        match what:
            case "text":
                self.take(session.reply_text(response_id, "Certainly, "))
            case "words":
                self.take(session.reply_words(response_id, [Word("Certainly,", 0, 80)]))
            case "audio" if reply.audio_format is not None:
                self.take(session.reply_audio(response_id, bytes(4_800), 100.0, self.now))
            case "finish" | "cut":
                self.take(session.reply_finished(response_id, cut_short=what == "cut"))
            case "fail":
                self.take(session.reply_failed(response_id))
            case "call":
                self.take(session.reply_call(response_id, "f", "{}"))

    def teardown(self) -> None:
        """Every response that was announced has exactly one end, once the work on it is over."""
        if not hasattr(self, "driver"):
            return
        while self.words_awaited:
            self.words_awaited -= 1
            self.take(self.driver.session.transcribed("Yes please"))
        for reply in self.working:
            self.take(self.driver.session.reply_finished(reply.response_id))
        assert self.promises.ended == set(self.promises.announced)
        assert not self.newer_open


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
