"""Whole turns over real sockets, with doubles in place of the models."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from tests.emulator.doubles import WORD_MS, Doubles, silence, speech
from tests.emulator.wire import Closed, audio_of, connected, only, types
from voicelive_emulator.agents import CallFunction, FunctionReturned, Request
from voicelive_emulator.outbox import Outbox
from voicelive_emulator.server import Endpoints, serving
from voicelive_emulator.settings import Settings

CASCADE_ANSWER = [
    "response.created",
    "response.output_item.added",
    "conversation.item.created",
    "response.content_part.added",
]
CLOSING = [
    "response.audio.done",
    "response.audio_transcript.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.done",
]


class TestTypedTurn:
    async def test_is_spoken_in_the_recorded_order(self, emulator: Endpoints) -> None:
        async with connected(emulator.port) as client:
            await client.expect("session.created")
            await client.say("Hello.")
            await client.send("response.create")
            events = await client.until("response.done")
        order = types(events)
        assert order[:5] == ["conversation.item.created", *CASCADE_ANSWER]
        assert order[-5:] == CLOSING
        middle = order[5:-5]
        assert set(middle) == {"response.audio_transcript.delta", "response.audio.delta"}
        assert middle[0] == "response.audio_transcript.delta"
        transcript = "You said: Hello. Is there anything else that I can do for you today?"
        assert (
            "".join(event["delta"] for event in only(events, "response.audio_transcript.delta")) == transcript
        )
        assert only(events, "response.audio_transcript.done")[0]["transcript"] == transcript
        assert len(audio_of(events)) == len(transcript.split()) * WORD_MS * 48

    async def test_words_are_placed_in_the_audio_of_the_response(self, emulator: Endpoints) -> None:
        async with connected(emulator.port) as client:
            await client.expect("session.created")
            await client.send("session.update", session={"output_audio_timestamp_types": ["word"]})
            await client.expect("session.updated")
            await client.say("Hello.")
            await client.send("response.create")
            events = await client.until("response.done")
        words = only(events, "response.audio_timestamp.delta")
        assert [word["audio_offset_ms"] for word in words] == [n * WORD_MS for n in range(len(words))]
        assert (
            " ".join(word["text"] for word in words)
            == only(events, "response.done")[0]["response"]["output"][0]["content"][0]["transcript"]
        )
        assert {word["timestamp_type"] for word in words} == {"word"}
        assert "response.audio_timestamp.done" in types(events)

    @pytest.mark.parametrize(
        ("audio_format", "bytes_per_second"),
        [
            ("pcm16", 48_000),
            ("pcm16_16000hz", 32_000),
            ("pcm16-8000hz", 16_000),
            ("g711_ulaw", 8_000),
            ("g711_alaw", 8_000),
        ],
    )
    async def test_is_spoken_in_every_format(
        self, emulator: Endpoints, audio_format: str, bytes_per_second: int
    ) -> None:
        async with connected(emulator.port) as client:
            await client.expect("session.created")
            await client.send("session.update", session={"output_audio_format": audio_format})
            await client.expect("session.updated")
            await client.say("One two.")
            await client.send("response.create")
            events = await client.until("response.done")
        words = only(events, "response.audio_transcript.done")[0]["transcript"].split()
        assert len(audio_of(events)) == len(words) * WORD_MS * bytes_per_second // 1_000
        assert all(
            len(audio_of([event])) <= bytes_per_second // 10
            for event in events
            if "audio.delta" in event["type"]
        )

    async def test_ends_early_at_its_limit_of_tokens(self, emulator: Endpoints) -> None:
        async with connected(emulator.port) as client:
            await client.expect("session.created")
            await client.say("Hello.")
            await client.send("response.create", response={"max_output_tokens": 4})
            response = (await client.until("response.done"))[-1]["response"]
        assert response["status"] == "incomplete"
        assert response["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
        assert response["output"][0]["content"][0]["transcript"] == "You said: Hello."
        assert response["usage"]["output_token_details"]["text_tokens"] == 4


class TestSpokenTurn:
    async def test_is_heard_understood_and_answered(self, emulator: Endpoints) -> None:
        async with connected(emulator.port) as client:
            await client.expect("session.created")
            await client.append(silence(1_000) + speech(1_000) + silence(1_000))
            events = await client.until("response.done")
        assert types(events)[:5] == [
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.input_audio_transcription.completed",
            "conversation.item.created",
        ]
        assert types(events)[5:9] == CASCADE_ANSWER
        assert types(events)[-5:] == CLOSING
        started, stopped, committed, completed, created = events[:5]
        # Frames of 32 ms; the start lies a prefix padding of 400 ms before the first voiced frame.
        assert started["audio_start_ms"] == pytest.approx(1_000 - 400, abs=32)
        assert stopped["audio_end_ms"] == pytest.approx(2_000 + 500, abs=64)
        item_ids = {
            started["item_id"],
            stopped["item_id"],
            committed["item_id"],
            completed["item_id"],
            created["item"]["id"],
        }
        assert len(item_ids) == 1
        assert completed["transcript"] == "I spoke for 1.0 seconds."
        assert "I spoke for 1.0 seconds." in only(events, "response.audio_transcript.done")[0]["transcript"]

    async def test_only_the_turn_is_recognised(self, emulator: Endpoints, doubles: Doubles) -> None:
        async with connected(emulator.port) as client:
            await client.append(silence(5_000) + speech(1_000) + silence(1_000))
            await client.until("response.done")
        heard = doubles.recognizer.heard[-1]
        assert len(heard) / 16 == pytest.approx(400 + 1_000, abs=300)

    async def test_a_pause_does_not_end_the_turn(self, emulator: Endpoints) -> None:
        async with connected(emulator.port) as client:
            await client.expect("session.created")
            await client.append(silence(500) + speech(600) + silence(320) + speech(600) + silence(1_000))
            events = await client.until("response.done")
        assert len(only(events, "input_audio_buffer.speech_started")) == 1
        completed = only(events, "conversation.item.input_audio_transcription.completed")
        assert [event["transcript"] for event in completed] == ["I spoke for 1.5 seconds."]

    @pytest.mark.parametrize(
        ("said", "waited_ms"), [("It is five five", 1_500), ("My name is", 1_500), ("That is all.", 600)]
    )
    async def test_an_incomplete_turn_waits_longer(
        self, emulator: Endpoints, doubles: Doubles, said: str, waited_ms: int
    ) -> None:
        doubles.recognizer.transcribe = lambda samples: said  # type: ignore[method-assign]
        doubles.verdict.complete = 0.0
        utterance = {"model": "semantic_detection_v1", "timeout_ms": 1_500}
        detection = {"type": "azure_semantic_vad", "end_of_utterance_detection": utterance}
        async with connected(emulator.port) as client:
            await client.send("session.update", session={"turn_detection": detection})
            await client.append(silence(500) + speech(1_000) + silence(2_000))
            events = await client.until("response.done")
        assert doubles.verdict.asked == 1
        assert only(events, "input_audio_buffer.speech_stopped")[0]["audio_end_ms"] == pytest.approx(
            500 + 1_000 + waited_ms, abs=64
        )

    async def test_sound_without_words_is_not_answered(self, emulator: Endpoints, doubles: Doubles) -> None:
        doubles.recognizer.transcribe = lambda samples: ""  # type: ignore[method-assign]
        async with connected(emulator.port) as client:
            await client.expect("session.created")
            await client.append(silence(500) + speech(1_000) + silence(1_000))
            events = await client.until("conversation.item.created")
            assert types(await client.settle()) == []
        assert only(events, "conversation.item.input_audio_transcription.completed")[0]["transcript"] == ""

    async def test_recognition_that_fails_is_told(self, emulator: Endpoints, doubles: Doubles) -> None:
        doubles.recognizer.error = RuntimeError("broken")
        async with connected(emulator.port) as client:
            await client.append(silence(500) + speech(1_000) + silence(1_000))
            events = await client.until("conversation.item.created")
            doubles.recognizer.error = None
            await client.append(speech(1_000) + silence(1_000))
            await client.until("response.done")
        assert "conversation.item.input_audio_transcription.failed" in types(events)

    async def test_without_turn_detection_the_client_commits(self, emulator: Endpoints) -> None:
        async with connected(emulator.port) as client:
            await client.expect("session.created")
            await client.send("session.update", session={"turn_detection": None})
            await client.expect("session.updated")
            await client.append(speech(800) + silence(400))
            await client.send("input_audio_buffer.commit")
            await client.send("response.create")
            events = await client.until("response.done")
        assert types(events)[:4] == [
            "input_audio_buffer.committed",
            "conversation.item.input_audio_transcription.completed",
            "conversation.item.created",
            "response.created",
        ]
        assert events[1]["transcript"] == "I spoke for 0.8 seconds."

    async def test_cleared_audio_is_forgotten(self, emulator: Endpoints) -> None:
        async with connected(emulator.port) as client:
            await client.expect("session.created")
            await client.append(silence(300) + speech(500))
            await client.expect("input_audio_buffer.speech_started")
            await client.send("input_audio_buffer.clear")
            await client.append(silence(2_000))
            await client.expect("input_audio_buffer.cleared")
            await client.send("input_audio_buffer.clear")
            await client.expect("input_audio_buffer.cleared")

    async def test_bytes_may_be_split_anywhere(self, emulator: Endpoints) -> None:
        audio = silence(500) + speech(1_000) + silence(1_000)
        async with connected(emulator.port) as client:
            for start in range(0, len(audio), 959):
                await client.append(audio[start : start + 959])
            events = await client.until("response.done")
        completed = only(events, "conversation.item.input_audio_transcription.completed")
        assert completed[0]["transcript"] == "I spoke for 1.0 seconds."


class TestNativeModel:
    async def test_the_words_come_after_the_answer_has_begun(self, emulator: Endpoints) -> None:
        async with connected(emulator.port, "/voice-live/realtime?model=gpt-realtime") as client:
            await client.expect("session.created")
            await client.send("session.update", session={"input_audio_transcription": {"model": "whisper-1"}})
            await client.expect("session.updated")
            await client.append(silence(500) + speech(1_000) + silence(1_000))
            events = await client.until("response.done")
        order = types(events)
        assert order[2:6] == [
            "input_audio_buffer.committed",
            "conversation.item.created",
            "conversation.item.done",
            "response.created",
        ]
        completed = order.index("conversation.item.input_audio_transcription.completed")
        assert order.index("response.audio_transcript.delta") < completed < order.index("response.audio.done")
        assert "I spoke for 1.0 seconds." in only(events, "response.audio_transcript.done")[0]["transcript"]


class TestBargeIn:
    async def test_speech_stops_the_answer(self, emulator: Endpoints, doubles: Doubles) -> None:
        doubles.synthesizer.hold = True
        async with connected(emulator.port) as client:
            await client.expect("session.created")
            await client.say("Hello.")
            await client.send("response.create")
            await client.until("response.audio.delta")
            await client.append(silence(300) + speech(500))
            events = await client.until("response.done")
            doubles.synthesizer.go_on.set()
            late = await client.settle()
        order = types(events)
        assert order[order.index("input_audio_buffer.speech_started") :] == [
            "input_audio_buffer.speech_started",
            *CLOSING,
        ]
        response = events[-1]["response"]
        assert response["status"] == "cancelled"
        assert response["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
        assert response["output"][0]["status"] == "incomplete"
        assert late == []

    async def test_only_if_the_session_wants_it(self, emulator: Endpoints, doubles: Doubles) -> None:
        doubles.synthesizer.hold = True
        async with connected(emulator.port) as client:
            detection = {"type": "server_vad", "interrupt_response": False, "create_response": False}
            await client.send("session.update", session={"turn_detection": detection})
            await client.say("Hello.")
            await client.send("response.create")
            await client.until("response.audio.delta")
            await client.append(silence(300) + speech(500))
            await client.until("input_audio_buffer.speech_started")
            doubles.synthesizer.go_on.set()
            events = await client.until("response.done")
        assert events[-1]["response"]["status"] == "completed"

    async def test_the_next_turn_is_answered(self, emulator: Endpoints) -> None:
        async with connected(emulator.port) as client:
            await client.expect("session.created")
            await client.append(silence(500) + speech(1_000) + silence(1_000))
            await client.until("response.created")
            await client.append(speech(600) + silence(1_000))
            await client.until("input_audio_buffer.speech_started")
            events = await client.until("response.done")
            if events[-1]["response"]["status"] == "cancelled":
                events = await client.until("response.done")
        assert "I spoke for 0.6 seconds." in events[-1]["response"]["output"][0]["content"][0]["transcript"]

    async def test_cancel_by_the_client(self, emulator: Endpoints, doubles: Doubles) -> None:
        doubles.synthesizer.hold = True
        async with connected(emulator.port) as client:
            await client.say("Hello.")
            await client.send("response.create")
            await client.until("response.audio.delta")
            await client.send("response.cancel")
            events = await client.until("response.done")
            doubles.synthesizer.go_on.set()
            assert await client.settle() == []
        assert events[-1]["response"]["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}


class TwoCalls:
    """Says something and calls two functions; says what came back."""

    async def reply(self, request: Request) -> AsyncGenerator[str | CallFunction]:
        if isinstance(request.history[-1], FunctionReturned):
            yield f"It is {request.history[-1].text}."
            return
        yield "Let me look."
        yield CallFunction("get_price", '{"plan":"plus"}')
        yield CallFunction("get_date", "{}")


class TestFunctionCalls:
    TOOLS = ({"type": "function", "name": "get_price"}, {"type": "function", "name": "get_date"})

    async def test_several_in_one_answer_and_their_outputs(
        self, emulator: Endpoints, doubles: Doubles
    ) -> None:
        doubles.agent = TwoCalls()
        async with connected(emulator.port) as client:
            await client.send("session.update", session={"tools": list(self.TOOLS)})
            await client.say("How much, and when?")
            await client.send("response.create")
            events = await client.until("response.done")
            output = events[-1]["response"]["output"]
            for call in output[1:]:
                item = {"type": "function_call_output", "call_id": call["call_id"], "output": "39"}
                await client.send("conversation.item.create", item=item)
            await client.send("response.create")
            answer = (await client.until("response.done"))[-1]["response"]
        assert [item["type"] for item in output] == ["message", "function_call", "function_call"]
        assert [item["name"] for item in output[1:]] == ["get_price", "get_date"]
        whole = [event["arguments"] for event in only(events, "response.function_call_arguments.done")]
        assert whole == ['{"plan":"plus"}', "{}"]
        assert answer["output"][0]["content"][0]["transcript"] == "It is 39."

    async def test_only_the_first_unless_they_may_be_parallel(
        self, emulator: Endpoints, doubles: Doubles
    ) -> None:
        doubles.agent = TwoCalls()
        async with connected(emulator.port) as client:
            session = {"tools": list(self.TOOLS), "parallel_tool_calls": False}
            await client.send("session.update", session=session)
            await client.say("How much, and when?")
            await client.send("response.create")
            output = (await client.until("response.done"))[-1]["response"]["output"]
        assert [item["type"] for item in output] == ["message", "function_call"]


class TestFailure:
    async def test_an_agent_that_fails_fails_the_response_only(
        self, emulator: Endpoints, doubles: Doubles
    ) -> None:
        doubles.agent_error = RuntimeError("no idea")
        async with connected(emulator.port) as client:
            await client.say("Hello.")
            await client.send("response.create")
            events = await client.until("response.done")
            assert events[-1]["response"]["status"] == "failed"
            assert events[-1]["response"]["status_details"]["error"]["type"] == "server_error"
            part = {"type": "text", "text": "All is well."}
            message = {"type": "message", "role": "assistant", "content": [part]}
            await client.send("response.create", response={"pre_generated_assistant_message": message})
            events = await client.until("response.done")
            assert events[-1]["response"]["status"] == "completed"

    async def test_malformed_messages_leave_the_session_alive(self, emulator: Endpoints) -> None:
        async with connected(emulator.port) as client:
            await client.expect("session.created")
            for text in (
                "{",
                '"{}"',
                "[]",
                "17",
                '{"no":"type"}',
                '{"type":7}',
                '{"type":"made.up"}',
                "",
                "\ud83d",
            ):
                await client.ws.send_bytes(text.encode("utf-8", "replace"))
                error = (await client.expect("error"))["error"]
                assert error["type"] == "invalid_request_error"
                assert error["code"]
                assert error["message"]

    async def test_the_session_ends_at_its_age(self, doubles: Doubles) -> None:
        async with (
            serving(Settings(port=0, session_lifetime_s=1), doubles.models()) as endpoints,
            connected(endpoints.port) as client,
        ):
            error = (await client.until("error"))[-1]["error"]
            assert error["code"] == "session_expired"
            with pytest.raises(Closed) as closed:
                await client.receive()
            assert closed.value.code == 1001


class TestLoad:
    async def test_sessions_do_not_mix(self, emulator: Endpoints) -> None:
        async def converse(name: str) -> str:
            async with connected(emulator.port) as client:
                await client.say(name)
                await client.send("response.create")
                events = await client.until("response.done")
                ids = {event["response_id"] for event in events if "response_id" in event}
                assert len(ids) == 1
                transcript = events[-1]["response"]["output"][0]["content"][0]["transcript"]
                assert isinstance(transcript, str)
                return transcript

        names = [f"I am caller {n}." for n in range(8)]
        answers = await asyncio.gather(*(converse(name) for name in names))
        assert all(name in answer for name, answer in zip(names, answers, strict=True))

    async def test_a_long_answer_arrives_whole(self, emulator: Endpoints) -> None:
        part = {"type": "text", "text": "word " * 2_000}
        message = {"type": "message", "role": "assistant", "content": [part]}
        async with connected(emulator.port) as client:
            await client.send("response.create", response={"pre_generated_assistant_message": message})
            events = await client.until("response.done")
        assert len(audio_of(events)) == 2_000 * WORD_MS * 48

    async def test_what_is_not_read_holds_back_what_is_made(self) -> None:
        outbox = Outbox()
        for number in range(3):
            await asyncio.wait_for(outbox.room(3), 5)
            outbox.put({"type": str(number)})
        waiting = asyncio.ensure_future(outbox.room(3))
        await asyncio.sleep(0)
        assert not waiting.done()
        assert [(await outbox.take()) for _ in range(3)] == [{"type": str(number)} for number in range(3)]
        await asyncio.wait_for(waiting, 5)
