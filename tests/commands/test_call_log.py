"""What is told of a call, in virtual time."""

from app.commands.call_log import CallLog, Entry
from voicelive_client import (
    AgentAudio,
    AgentText,
    AgentTranscript,
    AgentTranscriptDelta,
    ClearPlayback,
    Closed,
    ErrorMessage,
    Event,
    Played,
    SessionEnding,
    SessionStarted,
    Status,
    UserTranscript,
)


class Told:
    """A log, and everything it told."""

    def __init__(self) -> None:
        self.log = CallLog(started_at=100.0)
        self.entries: list[Entry] = []

    def happens(self, event: Event | Played, at_s: float, fell_silent_at_s: float | None = None) -> None:
        silent_at = None if fell_silent_at_s is None else 100.0 + fell_silent_at_s
        self.entries += self.log.receive(event, 100.0 + at_s, silent_at)


def test_a_turn_and_its_answer() -> None:
    told = Told()
    told.happens(SessionStarted("s"), 0.1)
    told.happens(Status("listening"), 1.0)
    told.happens(Status("processing"), 3.6, fell_silent_at_s=3.0)
    assert told.log.awaits_answer
    told.happens(UserTranscript("How much?"), 3.7)
    told.happens(Status("agent_speaking", "r1"), 3.9)
    told.happens(AgentAudio(b"\0\0", "r1"), 3.9)
    told.happens(AgentAudio(b"\0\0", "r1"), 3.95)
    told.happens(AgentTranscriptDelta("Sure,"), 3.95)
    told.happens(AgentTranscript("Sure, 39 dollars.", "r1"), 6.0)
    assert told.entries == [
        Entry(0.1, "call", "connected"),
        Entry(3.7, "caller", "How much?"),
        Entry(3.9, "answered", "after 900 ms", latency_ms=900),
        Entry(6.0, "agent", "Sure, 39 dollars."),
    ]
    assert told.log.latencies_ms == [900]
    assert not told.log.awaits_answer


def test_a_greeting_is_no_answer() -> None:
    told = Told()
    told.happens(Status("agent_speaking", "r1"), 0.5)
    told.happens(AgentAudio(b"\0\0", "r1"), 0.5)
    assert told.log.agent_has_spoken
    assert told.entries == []
    assert told.log.latencies_ms == []


def test_a_turn_that_goes_on_before_it_is_answered_counts_from_its_last_end() -> None:
    told = Told()
    told.happens(Status("processing"), 2.5, fell_silent_at_s=2.0)
    told.happens(Status("listening"), 2.7)
    told.happens(Status("processing"), 5.5, fell_silent_at_s=5.0)
    told.happens(AgentAudio(b"\0\0", "r2"), 5.7)
    assert told.log.latencies_ms == [700]


def test_a_typed_turn_counts_from_when_it_was_sent() -> None:
    told = Told()
    told.entries += told.log.typed("Hello?", 102.0)
    told.happens(Status("processing"), 2.1)
    told.happens(AgentText("Hello!"), 2.25)
    assert told.entries == [
        Entry(2.0, "caller", "Hello?"),
        Entry(2.25, "answered", "after 250 ms", latency_ms=250),
        Entry(2.25, "agent", "Hello!"),
    ]


def test_an_interrupted_answer_shows_what_was_heard_of_it() -> None:
    told = Told()
    told.happens(ClearPlayback("r1"), 1.0)
    told.happens(AgentTranscript("Sure, 39 dollars.", "r1", interrupted=True, heard_text="Sure,"), 1.0)
    told.happens(AgentTranscript("As I said.", "r2", interrupted=True, heard_text=""), 2.0)
    told.happens(AgentTranscript("Well.", "r3", interrupted=True), 3.0)
    assert told.entries == [
        Entry(1.0, "agent", "Sure,", interrupted=True),
        Entry(2.0, "agent", "(not heard)", interrupted=True),
        Entry(3.0, "agent", "Well.", interrupted=True),
    ]


def test_an_error_that_the_call_survives_is_no_failure() -> None:
    told = Told()
    told.happens(ErrorMessage("The agent did not answer.", "agent_silent", fatal=False), 1.0)
    assert told.log.failure is None


def test_what_goes_wrong_is_told_and_a_fatal_error_is_the_reason() -> None:
    told = Told()
    told.happens(ErrorMessage("The agent did not answer.", "agent_silent", fatal=False), 1.0)
    told.happens(SessionEnding("drain", 9), 2.0)
    told.happens(SessionEnding("idle"), 2.5)
    told.happens(ErrorMessage("The connection was lost.", "upstream_lost", fatal=True), 3.0)
    told.happens(Closed(1014, "upstream_lost"), 3.0)
    assert [entry.text for entry in told.entries] == [
        "The agent did not answer. (agent_silent)",
        "will be ended in 9 s: drain",
        "will be ended soon: idle",
        "The connection was lost. (upstream_lost)",
        "closed (1014, upstream_lost)",
    ]
    assert told.log.failure == "The connection was lost."
    assert told.log.closed == Closed(1014, "upstream_lost")
