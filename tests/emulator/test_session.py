"""The session without a socket: every client event, and every error."""

import base64
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from voicelive_emulator.agents import FunctionCalled, FunctionReturned, Message
from voicelive_emulator.effects import (
    CancelReply,
    Close,
    ConfigureHearing,
    Effect,
    ForgetAudio,
    Hear,
    Send,
    StartReply,
    Transcribe,
)
from voicelive_emulator.events import Event, Events
from voicelive_emulator.profiles import profile_for
from voicelive_emulator.session import Session
from voicelive_emulator.session_config import AgentIdentity, SessionConfig
from voicelive_emulator.synthesis import Word


class Driver:
    """A session and what it has done."""

    def __init__(self, model: str | None = "gpt-4.1", api_version: str = "2026-07-15") -> None:
        events = Events(Random(1))
        profile = profile_for(model)
        agent = AgentIdentity("asst_1", "sales", "shop") if model is None else None
        config = SessionConfig(
            events.new_id("sess"), profile, model=model, api_version=api_version, expires_at=9, agent=agent
        )
        self.session = Session(events, config)
        self.effects: list[Effect] = []
        self.take(self.session.open())

    def take(self, effects: Sequence[Effect]) -> list[Effect]:
        self.effects += effects
        return list(effects)

    def send(self, event_type: str, **fields: Any) -> list[Event]:
        return sent(self.take(self.session.receive({"type": event_type, **fields})))

    def update(self, **fields: Any) -> Event:
        events = self.send("session.update", session=fields)
        assert [event["type"] for event in events] == ["session.updated"], events
        session: Event = events[0]["session"]
        return session

    def error(self, event_type: str, **fields: Any) -> Event:
        events = self.send(event_type, event_id="mine", **fields)
        assert [event["type"] for event in events] == ["error"], events
        error: Event = events[0]["error"]
        assert error["event_id"] == "mine"
        assert error["type"] == "invalid_request_error"
        assert error["message"]
        return error

    def say(self, text: str, item_id: str | None = None) -> Event:
        item: Event = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        if item_id is not None:
            item["id"] = item_id
        (created,) = self.send("conversation.item.create", item=item)
        return created

    def start_reply(self, **response: Any) -> StartReply:
        events = self.take(self.session.receive({"type": "response.create", "response": response}))
        return next(effect for effect in events if isinstance(effect, StartReply))

    def speak(
        self, reply: StartReply, text: str, words: Sequence[Word] = (), milliseconds: int = 1_000
    ) -> None:
        """Answer with one clause and its audio."""
        self.take(self.session.reply_text(reply.response_id, text))
        self.take(self.session.reply_words(reply.response_id, words))
        for start in range(0, milliseconds, 100):
            length = min(100, milliseconds - start)
            self.take(self.session.reply_audio(reply.response_id, bytes(length * 48), length, now=0.0))

    def answer(
        self, text: str, milliseconds: int = 1_000, words: Sequence[Word] = (), **response: Any
    ) -> Event:
        """Answer completely; return `response.done`."""
        reply = self.start_reply(**response)
        self.speak(reply, text, words, milliseconds)
        return sent(self.take(self.session.reply_finished(reply.response_id)))[-1]

    @property
    def events(self) -> list[Event]:
        return sent(self.effects)


def sent(effects: Sequence[Effect]) -> list[Event]:
    return [effect.event for effect in effects if isinstance(effect, Send)]


def types(effects: Sequence[Effect]) -> list[str]:
    return [event["type"] for event in sent(effects)]


def item_of(done: Event) -> str:
    item_id = done["response"]["output"][0]["id"]
    assert isinstance(item_id, str)
    return item_id


class TestConfiguration:
    def test_a_whole_session_answers_every_update(self) -> None:
        driver = Driver()
        before = driver.events[0]["session"]
        after = driver.update(instructions="Be brief.")
        assert list(after) == list(before)
        assert after["id"] == before["id"]
        assert after["expires_at"] == before["expires_at"]
        assert {name for name in after if after[name] != before[name]} == {"instructions"}

    def test_null_clears_and_absence_keeps(self) -> None:
        driver = Driver()
        assert driver.update(input_audio_noise_reduction={"type": "far_field"})["turn_detection"] is not None
        shown = driver.update(turn_detection=None)
        assert shown["turn_detection"] is None
        assert shown["input_audio_noise_reduction"] == {"type": "far_field"}
        assert driver.update(input_audio_noise_reduction=None)["input_audio_noise_reduction"] is None

    @pytest.mark.parametrize(
        ("fields", "code", "param"),
        [
            ({"model": "gpt-4.1"}, "invalid_value", "session.model"),
            (
                {"voice": {"type": "azure-custom", "name": "A"}},
                "missing_required_parameter",
                "session.voice.endpoint_id",
            ),
            (
                {"voice": {"type": "azure-personal", "name": "A"}},
                "missing_required_parameter",
                "session.voice.model",
            ),
            ({"voice": {"type": "made-up", "name": "A"}}, "invalid_value", "session.voice.type"),
            ({"voice": {"name": "A"}}, "missing_required_parameter", "session.voice.type"),
            ({"voice": "nobody"}, "invalid_value", "session.voice.name"),
            ({"turn_detection": {"type": "telepathy"}}, "invalid_value", "session.turn_detection.type"),
            (
                {"turn_detection": {"type": "server_vad", "threshold": 2}},
                "invalid_value",
                "session.turn_detection.threshold",
            ),
            (
                {"turn_detection": {"type": "server_vad", "silence_duration_ms": "long"}},
                "invalid_type",
                "session.turn_detection.silence_duration_ms",
            ),
            ({"input_audio_format": "mp3"}, "invalid_value", "session.input_audio_format"),
            ({"input_audio_sampling_rate": 8000}, "invalid_value", "session.input_audio_sampling_rate"),
            ({"output_audio_format": "opus"}, "invalid_value", "session.output_audio_format"),
            ({"max_response_output_tokens": 0}, "invalid_value", "session.max_response_output_tokens"),
            ({"tools": [{"type": "function"}]}, "missing_required_parameter", "session.tools[0].name"),
            (
                {"tools": [{"type": "mcp", "server_label": "a"}]},
                "missing_required_parameter",
                "session.tools[0].server_url",
            ),
            ({"avatar": {"character": "lisa"}}, "unsupported_parameter", "session.avatar"),
            ({"animation": {"outputs": ["blendshapes"]}}, "invalid_value", "session.animation.outputs[0]"),
            ({"colour": "blue"}, "unknown_parameter", "session.colour"),
        ],
    )
    def test_wrong_fields_are_named_and_change_nothing(
        self, fields: dict[str, Any], code: str, param: str
    ) -> None:
        driver = Driver()
        before = driver.update(instructions="Before.")
        error = driver.error("session.update", session={"instructions": "After.", **fields})
        assert (error["code"], error["param"]) == (code, param)
        assert driver.update() == before

    def test_what_clients_could_not_take_is_refused(self) -> None:
        driver = Driver()
        before = driver.update(instructions="x" * 600_000)
        tool = {"type": "function", "name": "f", "description": "y" * 600_000}
        error = driver.error("session.update", session={"tools": [tool]})
        assert (error["code"], error["param"]) == ("value_too_large", "session")
        assert driver.update() == before
        part = {"type": "input_text", "text": "x" * 1_000_000}
        item = {"type": "message", "role": "user", "content": [part]}
        assert driver.error("conversation.item.create", item=item)["code"] == "value_too_large"
        said = {"type": "message", "role": "assistant", "content": [{**part, "type": "text"}]}
        response = {"pre_generated_assistant_message": said}
        assert driver.error("response.create", response=response)["code"] == "value_too_large"

    def test_the_voice_is_fixed_once_it_was_heard(self) -> None:
        driver = Driver()
        driver.say("Hello")
        driver.answer("Hello")
        voice = {"type": "azure-standard", "name": "en-US-EmmaNeural"}
        assert driver.error("session.update", session={"voice": voice})["code"] == "cannot_update_voice"
        driver.update(voice={"type": "azure-standard", "name": "en-US-AvaNeural"})

    def test_a_voice_by_name_is_one_of_openai(self) -> None:
        assert Driver("gpt-realtime").update(voice="coral")["voice"] == {"name": "coral", "type": "openai"}

    @pytest.mark.parametrize(
        ("api_version", "kind", "padding_ms"),
        [
            ("2025-10-01", "server_vad", 300),
            ("2026-04-10", "server_vad", 400),
            ("2025-10-01", "azure_semantic_vad", 300),
            ("2026-07-15", "azure_semantic_vad_multilingual", 420),
        ],
    )
    def test_defaults_of_turn_detection_follow_the_api_version(
        self, api_version: str, kind: str, padding_ms: int
    ) -> None:
        driver = Driver(api_version=api_version)
        driver.update(turn_detection={"type": kind, "silence_duration_ms": 700})
        options = [effect.options for effect in driver.effects if isinstance(effect, ConfigureHearing)][-1]
        assert options.turns is not None
        assert options.turns.prefix_padding_ms == padding_ms
        assert options.turns.silence_duration_ms == 700
        assert options.turns.threshold == 0.5
        assert options.turns.end_of_utterance_timeout_ms is None

    def test_hearing_follows_the_session(self) -> None:
        driver = Driver()
        driver.update(
            input_audio_format="g711_ulaw",
            input_audio_echo_cancellation={
                "type": "server_echo_cancellation",
                "reference_source": "client",
                "channels": 2,
            },
            turn_detection={
                "type": "azure_semantic_vad",
                "end_of_utterance_detection": {"model": "semantic_detection_v1", "threshold_level": "high"},
            },
        )
        options = [effect.options for effect in driver.effects if isinstance(effect, ConfigureHearing)][-1]
        assert (options.audio_format, options.channels) == ("g711_ulaw", 2)
        assert options.turns is not None
        assert options.turns.end_of_utterance_timeout_ms == 1_000
        assert options.end_of_utterance_threshold > 0.5

    def test_an_agent_keeps_its_own_instructions(self) -> None:
        driver = Driver(model=None)
        before = driver.events[0]["session"]
        events = driver.send("session.update", session={"instructions": "Obey.", "metadata": {"a": "b"}})
        assert [event["type"] for event in events] == ["warning", "session.updated"]
        assert events[0]["warning"]["param"] == "session.instructions"
        assert events[1]["session"]["instructions"] == before["instructions"]
        assert events[1]["session"]["metadata"] == {"a": "b"}


class TestItems:
    def test_ids_of_clients_are_kept_and_made_ones_returned(self) -> None:
        driver = Driver()
        assert driver.say("One", "mine")["item"]["id"] == "mine"
        assert driver.say("Two")["item"]["id"].startswith("item_")

    def test_can_be_put_anywhere(self) -> None:
        driver = Driver("gpt-realtime")
        for text in ("first", "second"):
            driver.say(text, text)
        for after, text in (("first", "between"), ("root", "before")):
            item = {
                "id": text,
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": text}],
            }
            driver.send("conversation.item.create", item=item, previous_item_id=after)
        history = [message.text for message in driver.start_reply().request.history]
        assert history == ["before", "first", "between", "second"]

    def test_an_id_is_used_once(self) -> None:
        driver = Driver()
        driver.say("One", "mine")
        part = {"type": "input_text", "text": "Two"}
        item = {"id": "mine", "type": "message", "role": "user", "content": [part]}
        assert driver.error("conversation.item.create", item=item)["code"] == "item_already_exists"

    def test_are_retrieved_and_deleted(self) -> None:
        driver = Driver()
        created = driver.say("One", "mine")
        (retrieved,) = driver.send("conversation.item.retrieve", item_id="mine")
        assert retrieved["item"] == created["item"]
        (deleted,) = driver.send("conversation.item.delete", item_id="mine")
        assert (deleted["type"], deleted["item_id"]) == ("conversation.item.deleted", "mine")
        for event_type in ("conversation.item.retrieve", "conversation.item.delete"):
            assert driver.error(event_type, item_id="mine")["code"] == "item_not_found"

    @pytest.mark.parametrize(
        ("item", "param"),
        [
            ({"type": "message", "role": "user", "content": []}, "item.content"),
            ({"type": "message", "role": "user"}, "item.content"),
            (
                {"type": "message", "role": "nobody", "content": [{"type": "input_text", "text": ""}]},
                "item.role",
            ),
            (
                {"type": "message", "role": "assistant", "content": [{"type": "input_text", "text": ""}]},
                "item.content[0].type",
            ),
            ({"type": "message", "role": "user", "content": [{"type": "smell"}]}, "item.content[0].type"),
            (
                {"type": "message", "role": "user", "content": [{"type": "input_text"}]},
                "item.content[0].text",
            ),
            ({"type": "poem"}, "item.type"),
            ({"type": "function_call_output", "output": "x"}, "item.call_id"),
        ],
    )
    def test_wrong_ones_are_refused(self, item: Event, param: str) -> None:
        assert Driver().error("conversation.item.create", item=item)["param"] == param

    def test_typed_text_in_pieces_becomes_an_item(self) -> None:
        driver = Driver()
        for delta in ("Hello ", "there"):
            assert driver.send("input_text.delta", id="typed", delta=delta) == []
        (created,) = driver.send("input_text.done", id="typed")
        assert created["item"]["id"] == "typed"
        assert created["item"]["content"] == [{"type": "input_text", "text": "Hello there"}]


class TestResponses:
    def test_know_the_conversation_and_the_instructions(self) -> None:
        driver = Driver()
        driver.update(instructions="Be brief.")
        driver.say("Hello")
        driver.answer("Hi")
        driver.say("Bye")
        reply = driver.start_reply(instructions="Say farewell.")
        assert reply.request.history == (
            Message("system", "Be brief."),
            Message("user", "Hello"),
            Message("assistant", "Hi"),
            Message("user", "Bye"),
            Message("system", "Say farewell."),
        )

    def test_there_is_one_at_a_time(self) -> None:
        driver = Driver()
        reply = driver.start_reply()
        assert driver.error("response.create")["code"] == "conversation_already_has_active_response"
        driver.take(driver.session.reply_finished(reply.response_id))
        assert driver.start_reply().response_id != reply.response_id

    def test_a_new_one_may_replace_the_old_one(self) -> None:
        driver = Driver()
        first = driver.start_reply()
        effects = driver.take(
            driver.session.receive({"type": "response.create", "response": {"cancel_previous": True}})
        )
        assert effects[0] == CancelReply(first.response_id)
        assert types(effects) == ["response.done", "response.created"]

    def test_outside_the_conversation_they_leave_no_item(self) -> None:
        driver = Driver()
        driver.say("Hello")
        active = driver.start_reply()
        beside = driver.start_reply(conversation="none", metadata={"topic": "mood"})
        before = len(driver.effects)
        driver.speak(beside, "Cheerful")
        driver.take(driver.session.reply_finished(beside.response_id))
        added = driver.effects[before:]
        assert "conversation.item.created" not in types(added)
        assert sent(added)[-1]["response"]["metadata"] == {"topic": "mood"}
        driver.take(driver.session.reply_finished(active.response_id))
        assert [message.text for message in driver.start_reply().request.history] == ["Hello"]

    def test_may_have_their_own_context(self) -> None:
        driver = Driver()
        driver.say("Hello")
        part = {"type": "input_text", "text": "Other"}
        item = {"type": "message", "role": "user", "content": [part]}
        assert [m.text for m in driver.start_reply(input_items=[item]).request.history] == ["Other"]

    def test_may_bring_items_along(self) -> None:
        driver = Driver()
        part = {"type": "input_text", "text": "Hello"}
        item = {"type": "message", "role": "user", "content": [part]}
        assert [m.text for m in driver.start_reply(append_input_items=[item]).request.history] == ["Hello"]
        assert [event["type"] for event in driver.events[1:]] == [
            "conversation.item.created",
            "response.created",
        ]

    def test_a_given_message_is_said_as_it_stands_and_remembered(self) -> None:
        driver = Driver()
        text = "Hello, this is Ada. May I ask you something?"
        message = {"type": "message", "role": "assistant", "content": [{"type": "text", "text": text}]}
        reply = driver.start_reply(pre_generated_assistant_message=message)
        assert reply.verbatim == text
        driver.speak(reply, text)
        driver.take(driver.session.reply_finished(reply.response_id))
        assert driver.start_reply().request.history == (Message("assistant", text),)

    @pytest.mark.parametrize("modalities", [["text"], ["text", "audio"]])
    def test_modalities_decide_whether_it_speaks(self, modalities: list[str]) -> None:
        reply = Driver().start_reply(modalities=modalities)
        assert (reply.audio_format is not None) == ("audio" in modalities)

    def test_text_alone_has_no_audio_event(self) -> None:
        driver = Driver()
        reply = driver.start_reply(modalities=["text"])
        driver.take(driver.session.reply_text(reply.response_id, "Five cents."))
        driver.take(driver.session.reply_finished(reply.response_id))
        assert types(driver.effects)[2:] == [
            "response.output_item.added",
            "conversation.item.created",
            "response.content_part.added",
            "response.text.delta",
            "response.text.delta",
            "response.text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.done",
        ]
        assert driver.events[-3]["part"] == {"type": "text", "text": "Five cents."}

    def test_work_that_comes_late_is_dropped(self) -> None:
        driver = Driver()
        reply = driver.start_reply()
        driver.speak(reply, "Hello")
        driver.send("response.cancel")
        session = driver.session
        assert session.reply_text(reply.response_id, "more") == []
        assert session.reply_words(reply.response_id, [Word("more", 0, 10)]) == []
        assert session.reply_audio(reply.response_id, b"12", 1.0, 1.0) == []
        assert session.reply_finished(reply.response_id) == []
        assert session.reply_failed(reply.response_id) == []

    def test_a_cancellation_needs_a_response(self) -> None:
        driver = Driver()
        assert driver.error("response.cancel")["code"] == "response_cancel_not_active"
        driver.answer("Hello")
        assert driver.error("response.cancel")["code"] == "response_cancel_not_active"
        driver.start_reply()
        assert (
            driver.error("response.cancel", response_id="resp_other")["code"] == "response_cancel_not_active"
        )

    def test_usage_adds_up(self) -> None:
        driver = Driver()
        driver.say("How much is it, please?")
        usage = driver.answer("Forty dollars a month.", 2_000)["response"]["usage"]
        read, written = usage["input_token_details"], usage["output_token_details"]
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
        assert usage["input_tokens"] == read["text_tokens"] + read["audio_tokens"] + read["image_tokens"] > 0
        assert usage["output_tokens"] == written["text_tokens"] + written["audio_tokens"]
        assert written["audio_tokens"] == 40
        assert set(read["cached_tokens_details"]) == {"text_tokens", "audio_tokens", "image_tokens"}

    @pytest.mark.parametrize(
        ("response", "param"),
        [
            ({"modalities": ["smell"]}, "response.modalities[0]"),
            ({"voice": {"type": "azure-custom", "name": "A"}}, "response.voice.endpoint_id"),
            ({"max_output_tokens": -1}, "response.max_output_tokens"),
            ({"pre_generated_assistant_message": {"type": "message"}}, None),
            ({"tool_choice": "unknown_function"}, "tool_choice"),
            ({"colour": 1}, "response.colour"),
        ],
    )
    def test_wrong_requests_are_refused(self, response: Event, param: str | None) -> None:
        error = Driver().error("response.create", response=response)
        assert param is None or error["param"] == param


class TestFunctions:
    TOOLS = (
        {"type": "function", "name": "get_price", "parameters": {"type": "object", "properties": {}}},
        {"type": "function", "name": "book_call", "description": "Books.", "parameters": {}},
    )

    @pytest.mark.parametrize(
        ("choice", "name"),
        [
            ("auto", None),
            ("none", None),
            ("required", "get_price"),
            ("book_call", "book_call"),
            ({"type": "function", "name": "book_call"}, "book_call"),
            ({"type": "function", "function": {"name": "book_call"}}, "book_call"),
        ],
    )
    def test_the_choice_decides_which_is_called(self, choice: object, name: str | None) -> None:
        driver = Driver()
        driver.update(tools=list(self.TOOLS), tool_choice=choice)
        request = driver.start_reply().request
        assert (request.tools[0].name if request.must_call else None) == name
        assert len(request.tools) == (1 if name else 0 if choice == "none" else 2)

    def test_a_call_and_its_output_make_a_round(self) -> None:
        driver = Driver("gpt-realtime")
        driver.update(tools=list(self.TOOLS), modalities=["text"])
        driver.say("How much?")
        reply = driver.start_reply(tool_choice="required")
        arguments = '{"plan": "plus"}'
        driver.effects.clear()
        driver.take(driver.session.reply_call(reply.response_id, "get_price", arguments))
        driver.take(driver.session.reply_finished(reply.response_id))
        events = driver.events
        item = events[0]["item"]
        assert (item["name"], item["arguments"], item["status"]) == ("get_price", "", "in_progress")
        done = next(e for e in events if e["type"] == "response.function_call_arguments.done")
        deltas = [e["delta"] for e in events if e["type"] == "response.function_call_arguments.delta"]
        assert "".join(deltas) == done["arguments"] == arguments
        assert not any("content_part" in event["type"] for event in events)
        assert events[-1]["response"]["output"][0]["call_id"] == item["call_id"]
        output = {"type": "function_call_output", "call_id": item["call_id"], "output": "39 dollars"}
        (created,) = driver.send("conversation.item.create", item=output)
        assert "status" not in created["item"]
        history = driver.start_reply().request.history
        assert history[1:] == (
            FunctionCalled(item["call_id"], "get_price", arguments),
            FunctionReturned(item["call_id"], "39 dollars"),
        )

    def test_an_answer_may_speak_first_and_then_call_several(self) -> None:
        driver = Driver()
        driver.update(tools=list(self.TOOLS))
        driver.say("How much, and when?")
        reply = driver.start_reply()
        driver.speak(reply, "Let me look. ", milliseconds=200)
        for name in ("get_price", "book_call"):
            driver.take(driver.session.reply_call(reply.response_id, name, "{}"))
        driver.take(driver.session.reply_text(reply.response_id, "Done."))
        driver.take(driver.session.reply_finished(reply.response_id))
        done = driver.events[-1]["response"]
        assert [item["type"] for item in done["output"]] == [
            "message",
            "function_call",
            "function_call",
            "message",
        ]
        assert {item["status"] for item in done["output"]} == {"completed"}
        for event_type in ("response.output_item.added", "response.output_item.done"):
            events = [event for event in driver.events if event["type"] == event_type]
            assert [event["output_index"] for event in events] == [0, 1, 2, 3]
            assert [event["item"]["id"] for event in events] == [item["id"] for item in done["output"]]
        texts = [event for event in driver.events if event["type"] == "response.audio_transcript.done"]
        assert [event["transcript"] for event in texts] == ["Let me look. ", "Done."]


WORDS = [Word("One", 0, 400), Word("two,", 400, 400), Word("three.", 800, 400)]


class TestTruncation:
    def spoken(self, driver: Driver) -> str:
        return item_of(driver.answer("One two, three.", 1_200, WORDS))

    @pytest.mark.parametrize(
        ("heard_ms", "text"),
        [
            (0, ""),
            (150, ""),
            (250, "One"),
            (799, "One two,"),
            (1_000, "One two,"),
            (1_200, "One two, three."),
        ],
    )
    def test_the_history_keeps_what_was_heard(self, heard_ms: int, text: str) -> None:
        driver = Driver()
        item_id = self.spoken(driver)
        (cut,) = driver.send(
            "conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=heard_ms
        )
        assert cut["type"] == "conversation.item.truncated"
        assert (cut["item_id"], cut["content_index"], cut["audio_end_ms"]) == (item_id, 0, heard_ms)
        (retrieved,) = driver.send("conversation.item.retrieve", item_id=item_id)
        assert retrieved["item"]["content"][0]["transcript"] == text
        assert [message.text for message in driver.start_reply().request.history] == ([text] if text else [])

    def test_without_word_times_it_is_cut_in_proportion(self) -> None:
        driver = Driver()
        item_id = item_of(driver.answer("One two three four", 2_000))
        driver.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=1_000)
        assert [message.text for message in driver.start_reply().request.history] == ["One two"]

    def test_happens_once_within_the_audio_of_an_assistant(self) -> None:
        driver = Driver()
        user_id = driver.say("Hello")["item"]["id"]
        item_id = self.spoken(driver)
        cut = {"content_index": 0, "audio_end_ms": 300}
        event = "conversation.item.truncate"
        assert driver.error(event, item_id=user_id, **cut)["code"] == "invalid_value"
        assert driver.error(event, item_id="item_x", **cut)["code"] == "item_not_found"
        too_long = driver.error(event, item_id=item_id, content_index=0, audio_end_ms=1_201)
        assert (too_long["code"], too_long["param"]) == ("invalid_value", "audio_end_ms")
        wrong_part = driver.error(event, item_id=item_id, content_index=1, audio_end_ms=1)
        assert wrong_part["param"] == "content_index"
        assert (
            driver.error(event, item_id=item_id, content_index=0, audio_end_ms=-1)["param"] == "audio_end_ms"
        )
        driver.send(event, item_id=item_id, **cut)
        assert driver.error(event, item_id=item_id, **cut)["code"] == "item_already_truncated"

    def test_is_done_by_the_service_when_asked(self) -> None:
        driver = Driver()
        detection = {"type": "server_vad", "auto_truncate": True, "appended_text_after_truncation": "(cut)"}
        driver.update(turn_detection=detection)
        item_id = self.spoken(driver)
        effects = driver.take(driver.session.speech_started(5_000, now=0.5))
        assert types(effects) == ["input_audio_buffer.speech_started", "conversation.item.truncated"]
        cut = sent(effects)[1]
        assert (cut["item_id"], cut["audio_end_ms"]) == (item_id, 500)
        driver.send("response.cancel")
        assert [message.text for message in driver.start_reply().request.history] == ["One (cut)"]
        error = driver.error("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=100)
        assert error["code"] == "item_already_truncated"

    def test_is_not_done_for_what_was_heard_to_the_end(self) -> None:
        driver = Driver()
        driver.update(turn_detection={"type": "server_vad", "auto_truncate": True})
        self.spoken(driver)
        effects = driver.take(driver.session.speech_started(5_000, now=1.3))
        assert types(effects) == ["input_audio_buffer.speech_started"]


class TestSpeech:
    def test_a_turn_is_committed_under_the_id_that_was_announced(self) -> None:
        driver = Driver()
        (started,) = sent(driver.session.speech_started(100, 0.0))
        effects = driver.session.speech_stopped(1_700)
        assert types(effects) == ["input_audio_buffer.speech_stopped", "input_audio_buffer.committed"]
        assert effects[-1] == Transcribe(started["item_id"])
        assert {event["item_id"] for event in sent(effects)} == {started["item_id"]}

    def test_committed_turns_name_the_item_before(self) -> None:
        driver = Driver()
        first = self.turn(driver, "One")
        second = self.turn(driver, "Two")
        assert first[1]["previous_item_id"] is None
        assert second[1]["previous_item_id"] == first[1]["item_id"]

    def turn(self, driver: Driver, text: str) -> list[Event]:
        driver.update(turn_detection={"type": "server_vad", "create_response": False})
        driver.take(driver.session.speech_started(0, 0.0))
        stopped = sent(driver.take(driver.session.speech_stopped(1_000)))
        return [*stopped, *sent(driver.take(driver.session.transcribed(text)))]

    def test_no_answer_where_none_is_wanted(self) -> None:
        driver = Driver()
        events = self.turn(driver, "Hello")
        assert [event["type"] for event in events[2:]] == [
            "conversation.item.input_audio_transcription.completed",
            "conversation.item.created",
        ]
        assert driver.start_reply().request.history == (Message("user", "Hello"),)

    def test_without_transcription_the_model_still_understands(self) -> None:
        driver = Driver()
        driver.update(input_audio_transcription=None)
        events = self.turn(driver, "Hello")
        assert [event["type"] for event in events[2:]] == ["conversation.item.created"]
        assert events[-1]["item"]["content"] == [{"type": "input_audio", "transcript": None}]
        assert driver.start_reply().request.history == (Message("user", "Hello"),)

    def test_a_turn_while_an_answer_goes_on_cannot_be_answered(self) -> None:
        driver = Driver()
        driver.update(turn_detection={"type": "server_vad", "interrupt_response": False})
        driver.start_reply()
        driver.take(driver.session.speech_started(0, 0.0))
        driver.take(driver.session.speech_stopped(1_000))
        events = sent(driver.take(driver.session.transcribed("Hello")))
        assert [event["type"] for event in events[-2:]] == ["conversation.item.created", "error"]
        assert events[-1]["error"]["code"] == "conversation_already_has_active_response"

    def test_who_speaks_on_is_answered_after_the_next_turn(self) -> None:
        driver = Driver()
        driver.take(driver.session.speech_started(0, 0.0))
        driver.take(driver.session.speech_stopped(1_000))
        driver.take(driver.session.speech_started(1_200, 0.0))
        assert "response.created" not in types(driver.take(driver.session.transcribed("I want")))
        driver.take(driver.session.speech_stopped(2_000))
        effects = driver.take(driver.session.transcribed("two of them"))
        reply = next(effect for effect in effects if isinstance(effect, StartReply))
        assert [message.text for message in reply.request.history] == ["I want", "two of them"]

    def test_a_commit_needs_audio(self) -> None:
        driver = Driver()
        assert driver.error("input_audio_buffer.commit")["code"] == "input_audio_buffer_commit_empty"
        audio = base64.b64encode(bytes(4_800)).decode()
        effects = driver.take(driver.session.receive({"type": "input_audio_buffer.append", "audio": audio}))
        assert effects == [Hear(bytes(4_800))]
        assert [event["type"] for event in driver.send("input_audio_buffer.commit")] == [
            "input_audio_buffer.committed"
        ]
        assert driver.error("input_audio_buffer.commit")["code"] == "input_audio_buffer_commit_empty"

    def test_cleared_audio_cannot_be_committed(self) -> None:
        driver = Driver()
        audio = base64.b64encode(bytes(4_800)).decode()
        driver.send("input_audio_buffer.append", audio=audio)
        effects = driver.take(driver.session.receive({"type": "input_audio_buffer.clear"}))
        assert ForgetAudio() in effects
        assert types(effects) == ["input_audio_buffer.cleared"]
        assert driver.error("input_audio_buffer.commit")["code"] == "input_audio_buffer_commit_empty"

    @pytest.mark.parametrize("audio", ["no base64!", "AAA", 17, None])
    def test_audio_that_is_none_is_refused(self, audio: object) -> None:
        assert Driver().error("input_audio_buffer.append", audio=audio)["param"] == "audio"

    def test_a_response_waits_for_words_that_are_on_their_way(self) -> None:
        driver = Driver()
        driver.send("input_audio_buffer.append", audio=base64.b64encode(bytes(4_800)).decode())
        driver.send("input_audio_buffer.commit")
        assert driver.send("response.create") == []
        assert driver.error("response.create")["code"] == "conversation_already_has_active_response"
        effects = driver.take(driver.session.transcribed("Hello"))
        assert types(effects)[-2:] == ["conversation.item.created", "response.created"]
        assert isinstance(effects[-1], StartReply)
        assert effects[-1].request.history == (Message("user", "Hello"),)


class TestUnavailable:
    @pytest.mark.parametrize(
        "event_type",
        [
            "session.avatar.connect",
            "output_audio_buffer.clear",
            "mcp_approval_response",
            "input_audio.turn.start",
            "input_audio.turn.append",
            "input_audio.turn.end",
            "input_audio.turn.cancel",
            "input_audio.clear",
            "transcription_session.update",
        ],
    )
    def test_is_answered_with_an_error(self, event_type: str) -> None:
        assert Driver().error(event_type)["code"] == "unsupported_event"

    def test_expiry_says_so_and_closes(self) -> None:
        effects = Driver().session.expire()
        assert sent(effects)[0]["error"]["code"] == "session_expired"
        assert isinstance(effects[-1], Close)
