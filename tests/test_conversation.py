"""The conversation in virtual time: turns, barge-in, what was heard, watchdogs, and every interleaving."""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.errors import ErrorCode
from app.interruption import InterruptionPolicy
from app.messages import (
    BYTES_PER_MS,
    AgentAudioEnd,
    AgentText,
    AgentTranscript,
    AgentTranscriptDelta,
    BargeIn,
    ClearPlayback,
    ErrorMessage,
    HangUp,
    HoldPlayback,
    Ping,
    PlaybackReport,
    Pong,
    ResumePlayback,
    SessionStarted,
    Status,
    TypedText,
    UserTranscript,
)
from app.replies import HEARD_WAIT_S
from app.turns import End
from app.voicelive import events as service
from tests.virtual_call import VirtualCall, speech


@pytest.fixture
def call() -> VirtualCall:
    started = VirtualCall()
    started.start()
    return started


class TestOpening:
    def test_session_started_is_the_first_message_and_the_call_is_ready(self) -> None:
        call = VirtualCall()
        call.start()
        assert isinstance(call.messages[0], SessionStarted)
        assert call.statuses == ["ready"]

    def test_greeting_is_asked_for_once(self) -> None:
        call = VirtualCall(greeting=[{"type": "response.create"}])
        call.start()
        call.start()
        assert call.upstream_types() == ["response.create"]

    def test_text_typed_before_the_session_is_delivered_after_it(self) -> None:
        call = VirtualCall()
        call.client(TypedText("hello"))
        assert call.upstream == []
        call.start()
        assert call.upstream_types() == ["conversation.item.create", "response.create"]

    def test_ping_is_answered_at_any_time(self) -> None:
        call = VirtualCall()
        call.client(Ping())
        assert call.messages == [Pong()]


class TestTurn:
    def test_a_turn_goes_through_every_status_once(self, call: VirtualCall) -> None:
        call.caller_says("item_1", "What does it cost?")
        call.agent_speaks("resp_1", "Ten dollars.", ms=1500)
        call.agent_finishes("resp_1", "Ten dollars.")
        call.advance(3)
        assert call.statuses == ["ready", "listening", "processing", "agent_speaking", "ready"]
        assert UserTranscript("What does it cost?", "item_1") in call.messages
        assert call.agent_transcripts == [AgentTranscript("Ten dollars.", "resp_1")]

    def test_captions_travel_with_their_audio(self, call: VirtualCall) -> None:
        call.service(
            service.ResponseCreated("resp_1"),
            service.AgentTranscriptDelta("resp_1", "Ten "),
        )
        assert not any(isinstance(message, AgentTranscriptDelta) for message in call.messages)
        call.service(
            service.AudioDelta("resp_1", "msg_1", speech("resp_1", 2000)),
            service.AgentTranscriptDelta("resp_1", "dollars."),
            service.AudioDelta("resp_1", "msg_1", speech("resp_1", 2000)),
        )
        assert [m for m in call.messages if isinstance(m, Status | AgentTranscriptDelta)][-2:] == [
            Status("agent_speaking", "resp_1"),
            AgentTranscriptDelta("Ten ", "resp_1", 0),
        ]
        call.advance(1.5)
        assert call.messages[-1] == AgentTranscriptDelta("dollars.", "resp_1", 1)

    def test_ready_follows_when_the_response_is_played_not_when_it_is_generated(
        self, call: VirtualCall
    ) -> None:
        call.agent_speaks("resp_1", "Hello.", ms=5000)
        call.agent_finishes("resp_1", "Hello.")
        call.advance(4.9)
        assert call.statuses[-1] == "agent_speaking"
        assert call.agent_transcripts == []
        call.advance(0.2)
        assert call.statuses[-1] == "ready"

    def test_audio_end_comes_after_the_last_byte_and_names_the_length(self, call: VirtualCall) -> None:
        call.agent_speaks("resp_1", "Hello.", ms=2500)
        call.agent_finishes("resp_1", "Hello.")
        call.advance(10)
        end = call.to_client.index(AgentAudioEnd("resp_1", 2500))
        assert not any(isinstance(sent, bytes) for sent in call.to_client[end:])
        assert call.heard_ms("resp_1") == 2500

    def test_audio_is_released_at_most_the_lead_ahead_of_real_time(self, call: VirtualCall) -> None:
        call.agent_speaks("resp_1", "Hello.", ms=60_000)
        assert 1000 <= call.heard_ms("resp_1") <= 1100
        call.advance(2)
        assert 3000 <= call.heard_ms("resp_1") <= 3100

    def test_without_a_lead_everything_is_released_at_once(self) -> None:
        call = VirtualCall(lead_ms=0)
        call.start()
        call.agent_speaks("resp_1", "Hello.", ms=60_000)
        assert call.heard_ms("resp_1") == 60_000

    def test_a_text_only_response_is_sent_as_agent_text(self, call: VirtualCall) -> None:
        call.client(TypedText("hello"))
        call.service(
            service.ResponseCreated("resp_1"),
            service.AgentTextDelta("resp_1", "Good "),
            service.AgentTextDelta("resp_1", "day."),
            service.ResponseDone("resp_1", "completed", calls_function=False),
        )
        assert AgentText("Good day.", "resp_1") in call.messages
        assert call.statuses == ["ready", "processing", "ready"]

    def test_an_empty_transcript_expects_no_answer(self, call: VirtualCall) -> None:
        call.caller_says("item_1", "")
        assert call.statuses[-1] == "ready"
        call.advance(60)
        assert not any(isinstance(message, ErrorMessage) for message in call.messages)

    def test_a_second_transcript_of_a_turn_is_ignored(self, call: VirtualCall) -> None:
        call.caller_says("item_1", "Yes.")
        call.service(service.CallerTranscript("item_1", ""))
        assert call.statuses[-1] == "processing"
        assert len([m for m in call.messages if isinstance(m, UserTranscript)]) == 1

    def test_a_response_that_starts_while_another_plays_waits_behind_it(self, call: VirtualCall) -> None:
        call.agent_speaks("resp_1", "One.", ms=3000)
        call.agent_finishes("resp_1", "One.")
        call.agent_speaks("resp_2", "Two.", ms=3000)
        call.agent_finishes("resp_2", "Two.")
        call.advance(20)
        order = [m.response_id for m in call.messages if isinstance(m, AgentTranscript)]
        assert order == ["resp_1", "resp_2"]
        assert call.heard_ms("resp_1") == call.heard_ms("resp_2") == 3000


class TestBargeIn:
    def test_speech_clears_playback_and_drops_what_was_not_sent(self, call: VirtualCall) -> None:
        call.agent_speaks("resp_1", "A long story.", ms=10_000)
        call.advance(2)
        sent = call.heard_ms("resp_1")
        call.service(service.SpeechStarted("item_1"))
        assert call.cleared == ["resp_1"]
        call.service(service.AudioDelta("resp_1", "msg_resp_1", speech("resp_1", 1000)))
        call.agent_finishes("resp_1", "A long story.", status="cancelled")
        call.advance(30)
        assert call.heard_ms("resp_1") == sent

    def test_the_service_stops_by_itself_so_no_cancel_is_sent(self, call: VirtualCall) -> None:
        call.agent_speaks("resp_1", "A long story.", ms=10_000)
        call.service(service.SpeechStarted("item_1"))
        call.advance(1)
        assert "response.cancel" not in call.upstream_types()

    def test_a_barge_in_by_hand_cancels_once(self, call: VirtualCall) -> None:
        call.agent_speaks("resp_1", "A long story.", ms=10_000)
        call.client(BargeIn())
        call.client(BargeIn())
        call.service(service.ServiceError("response_cancel_not_active"))
        assert call.upstream_types().count("response.cancel") == 1
        assert call.cleared == ["resp_1"]
        assert not call.ended

    def test_a_barge_in_while_nothing_is_audible_is_ignored(self, call: VirtualCall) -> None:
        call.service(service.ResponseCreated("resp_1"))
        call.client(BargeIn())
        assert call.cleared == []
        assert call.upstream == []

    def test_a_response_already_generated_is_not_cancelled_upstream(self, call: VirtualCall) -> None:
        call.agent_speaks("resp_1", "A long story.", ms=10_000)
        call.agent_finishes("resp_1", "A long story.")
        call.client(BargeIn())
        assert "response.cancel" not in call.upstream_types()
        assert call.cleared == ["resp_1"]

    def test_typed_text_counts_first_as_barge_in_and_waits_for_the_end_of_the_response(
        self, call: VirtualCall
    ) -> None:
        call.agent_speaks("resp_1", "A long story.", ms=10_000)
        call.client(TypedText("Stop. The price?"))
        assert call.upstream_types() == ["response.cancel", "conversation.item.create"]
        call.service(service.ResponseDone("resp_1", "cancelled", calls_function=False))
        assert call.upstream_types()[-1] == "response.create"

    def test_a_request_that_met_another_response_is_made_again(self, call: VirtualCall) -> None:
        call.client(TypedText("The price?"))
        call.service(
            service.ServiceError("conversation_already_has_active_response"),
            service.ResponseCreated("resp_1"),
            service.ResponseDone("resp_1", "cancelled", calls_function=False),
        )
        assert call.upstream_types().count("response.create") == 2


class TestWhatWasHeard:
    def interrupted(self, call: VirtualCall) -> None:
        call.agent_speaks("resp_1", "one two three four", ms=4000)
        for number, word in enumerate(("one", "two", "three", "four")):
            call.service(service.WordTimestamp("resp_1", word, number * 1000, 900))
        call.advance(2.0)
        call.service(service.SpeechStarted("item_1"))

    def test_the_clients_report_counts(self, call: VirtualCall) -> None:
        self.interrupted(call)
        call.client_reports("resp_1", 1600)
        (transcript,) = call.agent_transcripts
        assert transcript.interrupted
        assert transcript.heard_text == "one two"
        assert transcript.heard_estimated is None
        (truncate,) = [e for e in call.upstream if e["type"] == "conversation.item.truncate"]
        assert (truncate["item_id"], truncate["audio_end_ms"]) == ("msg_resp_1", 1600)

    def test_the_play_clock_counts_for_a_client_that_never_reports(self, call: VirtualCall) -> None:
        self.interrupted(call)
        assert call.agent_transcripts == []
        call.advance(HEARD_WAIT_S)
        assert call.agent_transcripts[0].heard_text == "one two"
        assert call.upstream[-1]["audio_end_ms"] == 2000

    def test_a_report_beyond_what_was_sent_is_clamped(self, call: VirtualCall) -> None:
        self.interrupted(call)
        sent = call.heard_ms("resp_1")
        call.client_reports("resp_1", 999_999)
        assert call.upstream[-1]["audio_end_ms"] == sent

    def test_it_is_told_once_however_often_the_client_reports(self, call: VirtualCall) -> None:
        self.interrupted(call)
        call.client_reports("resp_1", 1000)
        call.client_reports("resp_1", 2000)
        call.advance(5)
        assert len(call.agent_transcripts) == 1
        assert call.upstream_types().count("conversation.item.truncate") == 1

    def test_without_word_times_the_cut_is_an_estimate(self, call: VirtualCall) -> None:
        call.agent_speaks("resp_1", "one two three four", ms=4000)
        call.advance(2.0)
        call.service(service.SpeechStarted("item_1"))
        call.advance(1)
        assert call.agent_transcripts[0].heard_text == "one two"
        assert call.agent_transcripts[0].heard_estimated

    def test_a_client_that_reports_is_given_time_to_report_the_end(self, call: VirtualCall) -> None:
        for number in (1, 2):
            call.agent_speaks(f"resp_{number}", "Hi.", ms=500)
            call.agent_finishes(f"resp_{number}", "Hi.")
            call.advance(0.6)
            if number == 1:
                continue
            assert call.statuses[-1] == "ready"
        call.agent_speaks("resp_3", "Hi.", ms=500)
        call.agent_finishes("resp_3", "Hi.")
        call.client_reports("resp_3", 500)
        call.agent_speaks("resp_4", "Hi.", ms=500)
        call.agent_finishes("resp_4", "Hi.")
        call.advance(1.2)
        assert call.statuses[-1] == "agent_speaking"
        call.client_reports("resp_4", 500)
        assert call.statuses[-1] == "ready"

    def test_hanging_up_ends_what_is_still_playing(self, call: VirtualCall) -> None:
        self_ended = call.conversation
        call.agent_speaks("resp_1", "one two three four", ms=4000)
        call.advance(2.0)
        effects = self_ended.finish(call.now)
        transcripts = [e.message for e in effects if hasattr(e, "message")]
        assert [t.heard_text for t in transcripts if isinstance(t, AgentTranscript)] == ["one two"]


class TestWatchdogs:
    def test_no_response_becomes_agent_silent_and_the_call_goes_on(self, call: VirtualCall) -> None:
        call.caller_says("item_1", "Hello?")
        call.advance(14.9)
        assert call.statuses[-1] == "processing"
        call.advance(0.2)
        (error,) = [m for m in call.messages if isinstance(m, ErrorMessage)]
        assert (error.code, error.fatal) == ("agent_silent", False)
        assert call.statuses[-1] == "ready"
        assert not call.ended

    def test_three_silent_turns_in_a_row_end_the_call(self, call: VirtualCall) -> None:
        for number in range(3):
            call.caller_says(f"item_{number}", "Hello?")
            call.advance(16)
        assert call.ended == [End(ErrorCode.AGENT_SILENT)]

    def test_an_answer_in_between_starts_the_count_anew(self, call: VirtualCall) -> None:
        for number in range(4):
            call.caller_says(f"item_{number}", "Hello?")
            if number == 1:
                call.agent_speaks("resp_1", "Hi.", ms=500)
                call.agent_finishes("resp_1", "Hi.")
            call.advance(16)
        assert not call.ended

    def test_a_failed_response_is_told_at_once(self, call: VirtualCall) -> None:
        call.caller_says("item_1", "Hello?")
        call.service(
            service.ResponseCreated("resp_1"),
            service.ResponseDone("resp_1", "failed", calls_function=False),
        )
        assert [m.code for m in call.messages if isinstance(m, ErrorMessage)] == ["agent_silent"]

    def test_a_function_call_starts_the_wait_anew(self, call: VirtualCall) -> None:
        call.caller_says("item_1", "Hello?")
        call.advance(10)
        call.service(
            service.ResponseCreated("resp_1"),
            service.ResponseDone("resp_1", "completed", calls_function=True),
        )
        call.advance(10)
        assert call.statuses[-1] == "processing"
        call.advance(6)
        assert call.statuses[-1] == "ready"

    def test_a_response_without_end_is_ended_and_cancelled(self, call: VirtualCall) -> None:
        call.agent_speaks("resp_1", "Hello.", ms=1000)
        call.advance(30)
        assert call.upstream_types() == ["response.cancel"]
        assert call.agent_transcripts == [AgentTranscript("Hello.", "resp_1")]
        assert call.statuses[-1] == "ready"

    def test_hang_up_is_the_normal_end(self, call: VirtualCall) -> None:
        call.client(HangUp())
        assert call.ended == [End(None)]


class TestGatewayPolicy:
    """The gateway decides what interrupts: sounds hold the agent, speech cuts it off."""

    @pytest.fixture
    def call(self) -> VirtualCall:
        started = VirtualCall(interruption=InterruptionPolicy(by_gateway=True, min_speech_ms=1000))
        started.start()
        started.agent_speaks("resp_1", "one two three four", ms=8000)
        started.advance(2.0)
        return started

    def test_a_sound_holds_the_agent_at_once(self, call: VirtualCall) -> None:
        sent = call.heard_ms("resp_1")
        call.caller_starts("item_1")
        assert HoldPlayback("resp_1") in call.messages
        assert call.statuses[-1] == "listening"
        call.advance(0.9)
        assert call.heard_ms("resp_1") == sent
        assert call.cleared == []

    @pytest.mark.parametrize("text", ["Mm-hmm.", "okay", "Yeah, go on.", "Uh huh. I see!", ""])
    def test_an_acknowledgement_is_a_false_alarm(self, call: VirtualCall, text: str) -> None:
        call.caller_starts("item_1")
        call.advance(0.4)
        call.caller_stops("item_1", text)
        assert ResumePlayback("resp_1") in call.messages
        assert call.statuses[-2:] == ["processing", "agent_speaking"] or text == ""
        call.agent_finishes("resp_1", "one two three four")
        call.advance(20)
        assert call.heard_ms("resp_1") == 8000
        assert call.agent_transcripts == [AgentTranscript("one two three four", "resp_1")]
        assert "response.create" not in call.upstream_types()
        assert call.statuses[-1] == "ready"

    def test_words_that_are_more_cut_the_agent_off(self, call: VirtualCall) -> None:
        call.caller_starts("item_1")
        call.advance(0.4)
        call.caller_stops("item_1", "Wait.")
        assert call.cleared == ["resp_1"]
        assert call.upstream_types() == ["response.cancel"]
        call.service(service.ResponseDone("resp_1", "cancelled", calls_function=False))
        assert call.upstream_types()[-1] == "response.create"
        call.advance(1)
        assert call.agent_transcripts[0].interrupted

    def test_enough_speech_cuts_the_agent_off_before_any_transcript(self, call: VirtualCall) -> None:
        call.caller_starts("item_1")
        call.advance(0.99)
        assert call.cleared == []
        call.advance(0.02)
        assert call.cleared == ["resp_1"]
        assert "response.cancel" in call.upstream_types()

    def test_a_silence_that_is_not_reported_yet_does_not_count_as_speech(self) -> None:
        policy = InterruptionPolicy(by_gateway=True, min_speech_ms=1000, silence_duration_ms=500)
        call = VirtualCall(interruption=policy)
        call.start()
        call.agent_speaks("resp_1", "one two three four", ms=8000)
        call.caller_starts("item_1")
        call.advance(1.4)
        assert call.cleared == []
        call.advance(0.2)
        assert call.cleared == ["resp_1"]

    def test_speech_is_counted_in_caller_audio_and_not_by_the_clock(self, call: VirtualCall) -> None:
        call.caller_starts("item_1")
        call.conversation.caller_audio_bytes -= 500 * BYTES_PER_MS
        call.advance(1.2)
        assert call.cleared == []
        call.advance(0.4)
        assert call.cleared == ["resp_1"]

    def test_what_was_heard_does_not_grow_while_the_agent_is_held(self, call: VirtualCall) -> None:
        call.caller_starts("item_1")
        call.advance(0.9)
        call.caller_stops("item_1", "Wait.")
        call.advance(1)
        truncate = next(e for e in call.upstream if e["type"] == "conversation.item.truncate")
        assert truncate["audio_end_ms"] == 2000

    def test_a_hold_that_nothing_decides_ends(self, call: VirtualCall) -> None:
        call.caller_starts("item_1")
        call.service(service.SpeechStopped("item_1"))
        call.advance(11)
        assert ResumePlayback("resp_1") in call.messages

    def test_a_failed_transcript_is_a_false_alarm(self, call: VirtualCall) -> None:
        call.caller_starts("item_1")
        call.service(service.SpeechStopped("item_1"), service.CallerTranscriptFailed("item_1"))
        assert ResumePlayback("resp_1") in call.messages

    def test_each_real_turn_is_answered_on_our_request(self, call: VirtualCall) -> None:
        call.agent_finishes("resp_1", "one two three four")
        call.advance(20)
        call.caller_says("item_1", "okay")
        assert call.upstream_types() == ["response.create"]


WHICH = st.integers(0, 3)
"""Which of the responses that there were, counted from the newest."""

ITEMS = st.sampled_from(["item_1", "item_2", "item_3", "item_4"])


class AdversarialCall(RuleBasedStateMachine):
    """Both peers send anything at any time; the rules of the conversation hold none the less."""

    def __init__(self) -> None:
        super().__init__()
        self.by_gateway = False
        self.call = VirtualCall()
        self.responses: list[str] = []
        self.reported: set[str] = set()

    @initialize(lead_ms=st.sampled_from([0, 200, 1000]), by_gateway=st.booleans())
    def begin(self, lead_ms: int, by_gateway: bool) -> None:
        self.by_gateway = by_gateway
        self.call = VirtualCall(
            lead_ms=lead_ms,
            response_timeout_s=5.0,
            interruption=InterruptionPolicy(by_gateway, min_speech_ms=500),
            greeting=[{"type": "greeting"}],
        )
        self.call.start()

    def response(self, which: int) -> str:
        """One of the responses, or one that Voice Live never created."""
        return self.responses[-1 - which] if which < len(self.responses) else "resp_unknown"

    @rule(ms=st.integers(100, 5000))
    def agent_begins(self, ms: int) -> None:
        self.responses.append(f"resp_{len(self.responses)}")
        self.call.agent_speaks(self.responses[-1], "yes of course", ms)

    @rule(which=WHICH)
    def agent_finishes(self, which: int) -> None:
        self.call.agent_finishes(self.response(which), "yes of course")

    @rule()
    def created(self) -> None:
        self.responses.append(f"resp_{len(self.responses)}")
        self.call.service(service.ResponseCreated(self.responses[-1]))

    @rule(which=WHICH)
    def created_again(self, which: int) -> None:
        if self.responses:
            self.call.service(service.ResponseCreated(self.response(which % len(self.responses))))

    @rule(which=WHICH, ms=st.integers(1, 3000))
    def audio(self, which: int, ms: int) -> None:
        response = self.response(which)
        self.call.service(service.AudioDelta(response, f"msg_{response}", speech(response, ms)))

    @rule(which=WHICH, text=st.sampled_from(["", "yes ", "of course "]))
    def transcript(self, which: int, text: str) -> None:
        self.call.service(service.AgentTranscriptDelta(self.response(which), text))

    @rule(which=WHICH, offset=st.integers(0, 3000))
    def word(self, which: int, offset: int) -> None:
        self.call.service(service.WordTimestamp(self.response(which), "yes", offset, 200))

    @rule(which=WHICH)
    def text(self, which: int) -> None:
        self.call.service(service.AgentTextDelta(self.response(which), "written"))

    @rule(
        which=WHICH,
        status=st.sampled_from(["completed", "cancelled", "failed", "incomplete", "strange"]),
        calls_function=st.booleans(),
    )
    def done(self, which: int, status: str, calls_function: bool) -> None:
        self.call.service(service.ResponseDone(self.response(which), status, calls_function))

    @rule(item=ITEMS)
    def speech_started(self, item: str) -> None:
        audible = self._audible()
        before = len(self.call.cleared)
        self.call.caller_starts(item)
        assert set(self.call.cleared[before:]) == (set() if self.by_gateway else audible)

    @rule(item=ITEMS, seconds=st.sampled_from([0.1, 0.4, 1.0]), text=st.sampled_from(["", "okay", "Wait!"]))
    def caller_makes_a_sound(self, item: str, seconds: float, text: str) -> None:
        self.call.caller_starts(item)
        self.call.advance(seconds)
        self.call.caller_stops(f"{item}_{len(self.call.messages)}", text)

    @rule(item=ITEMS, played_ms=st.integers(0, 10_000))
    def caller_interrupts_and_the_client_reports(self, item: str, played_ms: int) -> None:
        self.call.caller_starts(item)
        for response in self.call.cleared[-1:]:
            self.reported.add(response)
            self.call.client(PlaybackReport(response, played_ms))

    @rule(item=ITEMS)
    def speech_stopped(self, item: str) -> None:
        self.call.service(service.SpeechStopped(item))

    @rule(item=ITEMS)
    def transcript_failed(self, item: str) -> None:
        self.call.service(service.CallerTranscriptFailed(item))

    @rule(item=ITEMS, text=st.sampled_from(["", "hello", "mm-hmm"]))
    def caller_transcript(self, item: str, text: str) -> None:
        self.call.service(service.CallerTranscript(item, text))

    @rule(
        code=st.sampled_from(
            ["response_cancel_not_active", "conversation_already_has_active_response", "server_error"]
        )
    )
    def service_error(self, code: str) -> None:
        self.call.service(service.ServiceError(code))

    @rule()
    def barge_in(self) -> None:
        self.call.client(BargeIn())

    @rule()
    def typed(self) -> None:
        self.call.client(TypedText("hello"))

    @rule(which=WHICH, played_ms=st.integers(0, 10_000))
    def playback(self, which: int, played_ms: int) -> None:
        self.reported.add(self.response(which))
        self.call.client(PlaybackReport(self.response(which), played_ms))

    @rule(seconds=st.sampled_from([0.0, 0.05, 0.3, 1.0, 7.0]))
    def time_passes(self, seconds: float) -> None:
        self.call.advance(seconds)

    @rule(seconds=st.sampled_from([0.0, 0.5, 8.0]))
    def client_is_lost_for(self, seconds: float) -> None:
        self.reported.update(self.responses)  # what was sent again cannot be counted by its length
        self.call.client_is_lost_for(seconds)

    @precondition(lambda self: not self.call.ended)
    @rule()
    def silence_ends_every_wait(self) -> None:
        """With no more events nothing stays `processing` or `agent_speaking` for ever."""
        self.call.advance(120)
        assert self.call.statuses[-1] in ("ready", "listening")

    def _audible(self) -> set[str]:
        """Responses that the client has been told of and that have not ended for it."""
        told = [m.response_id for m in self.call.messages if isinstance(m, Status) and m.response_id]
        over = {m.response_id for m in self.call.messages if isinstance(m, AgentTranscript | ClearPlayback)}
        return {response for response in told if response not in over}

    @invariant()
    def nothing_follows_clear_playback(self) -> None:
        cleared: set[bytes] = set()
        gone: set[str] = set()
        for sent in self.call.to_client:
            if isinstance(sent, bytes):
                assert sent[:2] not in cleared
            elif isinstance(sent, ClearPlayback):
                assert sent.response_id not in gone
                gone.add(sent.response_id)
                cleared.add(speech(sent.response_id, 1)[:2])
            elif isinstance(sent, AgentAudioEnd | HoldPlayback | ResumePlayback | Status):
                assert sent.response_id not in gone

    @invariant()
    def nothing_is_played_while_held(self) -> None:
        held: set[bytes] = set()
        for sent in self.call.to_client:
            if isinstance(sent, bytes):
                assert sent[:2] not in held
            elif isinstance(sent, HoldPlayback):
                held.add(speech(sent.response_id, 1)[:2])
            elif isinstance(sent, ResumePlayback):
                held.remove(speech(sent.response_id, 1)[:2])

    @invariant()
    def audio_belongs_to_the_response_announced_last(self) -> None:
        speaking: bytes | None = None
        for sent in self.call.to_client:
            if isinstance(sent, Status) and sent.response_id:
                speaking = speech(sent.response_id, 1)[:2]
            elif isinstance(sent, bytes):
                assert sent[:2] == speaking
                assert len(sent) % 2 == 0

    @invariant()
    def every_response_has_at_most_one_end(self) -> None:
        ends = [m.response_id for m in self.call.messages if isinstance(m, AgentTranscript | AgentText)]
        assert len(ends) == len(set(ends))

    @invariant()
    def a_response_is_over_when_it_has_been_played(self) -> None:
        """Unless the client says so earlier: no sooner than its audio takes, from its first byte on."""
        begins: dict[str, float] = {}
        for sent, at in zip(self.call.to_client, self.call.sent_at, strict=True):
            if isinstance(sent, Status) and sent.response_id:
                begins.setdefault(sent.response_id, at)
                continue
            if not isinstance(sent, AgentTranscript) or sent.interrupted:
                continue
            if sent.response_id not in self.reported:
                played_s = at - begins[sent.response_id]
                assert played_s >= self.call.heard_ms(sent.response_id) / 1000 - 0.001

    @invariant()
    def upstream_is_told_once_and_never_more_than_was_sent(self) -> None:
        for kind, key in (("conversation.item.truncate", "item_id"), ("response.cancel", "response_id")):
            told = [event[key] for event in self.call.upstream if event["type"] == kind]
            assert len(told) == len(set(told))
        for event in self.call.upstream:
            if event["type"] == "conversation.item.truncate":
                assert 0 <= event["audio_end_ms"] <= self.call.heard_ms(event["item_id"][4:])
        assert self.call.upstream_types().count("greeting") == 1

    @invariant()
    def statuses_never_repeat(self) -> None:
        last: str | None = None
        for message in self.call.messages:
            if isinstance(message, SessionStarted):
                last = None
            elif isinstance(message, Status):
                assert message.status != last or last == "agent_speaking"
                last = message.status

    def teardown(self) -> None:
        """Every response that was announced ends, once everything has had its time."""
        self.call.advance(600)
        announced = {m.response_id for m in self.call.messages if isinstance(m, Status) and m.response_id}
        assert announced <= {transcript.response_id for transcript in self.call.agent_transcripts}


AdversarialCall.TestCase.settings = settings(
    max_examples=200, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestEveryInterleaving = AdversarialCall.TestCase
