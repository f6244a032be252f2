"""Messages of the gateway, as the client reads them."""

import json

import pytest

from voicelive_client.events import (
    AgentAudioEnd,
    AgentText,
    AgentTranscript,
    AgentTranscriptDelta,
    ClearPlayback,
    ErrorMessage,
    HoldPlayback,
    Message,
    Pong,
    ResumePlayback,
    SessionEnded,
    SessionEnding,
    SessionStarted,
    Status,
    Unknown,
    UserTranscript,
    UserTranscriptDelta,
    parse_message,
)


@pytest.mark.parametrize(
    ("message", "event"),
    [
        ({"type": "session_started", "session_id": "s"}, SessionStarted("s")),
        (
            {"type": "session_started", "session_id": "s", "protocol": "voice-live.v1", "max_duration_s": 60},
            SessionStarted("s", protocol="voice-live.v1", max_duration_s=60),
        ),
        ({"type": "status", "status": "ready"}, Status("ready")),
        (
            {"type": "status", "status": "agent_speaking", "response_id": "r"},
            Status("agent_speaking", "r"),
        ),
        ({"type": "user_transcript", "text": "Hi", "item_id": "i"}, UserTranscript("Hi", "i")),
        ({"type": "user_transcript_delta", "text": "H"}, UserTranscriptDelta("H")),
        ({"type": "agent_transcript", "text": "Yes."}, AgentTranscript("Yes.")),
        (
            {
                "type": "agent_transcript",
                "text": "Yes, of course.",
                "response_id": "r",
                "interrupted": True,
                "heard_text": "Yes,",
                "heard_estimated": True,
            },
            AgentTranscript(
                "Yes, of course.", "r", interrupted=True, heard_text="Yes,", heard_estimated=True
            ),
        ),
        ({"type": "agent_transcript_delta", "text": "Y"}, AgentTranscriptDelta("Y")),
        (
            {"type": "agent_transcript_delta", "text": "Y", "response_id": "r1", "index": 2},
            AgentTranscriptDelta("Y", "r1", 2),
        ),
        ({"type": "agent_text", "text": "Yes."}, AgentText("Yes.")),
        ({"type": "agent_audio_end", "response_id": "r", "total_ms": 20}, AgentAudioEnd("r", 20)),
        ({"type": "agent_audio_end", "response_id": "r", "total_ms": 20.5}, AgentAudioEnd("r", 20.5)),
        ({"type": "clear_playback", "response_id": "r"}, ClearPlayback("r")),
        ({"type": "hold_playback", "response_id": "r"}, HoldPlayback("r")),
        ({"type": "resume_playback", "response_id": "r"}, ResumePlayback("r")),
        ({"type": "error", "message": "No."}, ErrorMessage("No.")),
        (
            {
                "type": "error",
                "message": "No.",
                "code": "capacity",
                "fatal": True,
                "retryable": True,
                "retry_after_ms": 500,
                "ref": "x",
                "param": "type",
            },
            ErrorMessage("No.", "capacity", True, True, 500, "x", "type"),
        ),
        ({"type": "session_ending", "reason": "drain", "seconds_left": 9}, SessionEnding("drain", 9)),
        ({"type": "session_ended", "reason": "client"}, SessionEnded("client")),
        ({"type": "pong"}, Pong()),
    ],
)
def test_every_message_of_the_contract_has_its_type(message: dict[str, object], event: Message) -> None:
    assert parse_message(json.dumps(message)) == event
    assert parse_message(json.dumps({**message, "new_in_version_2": [1]})) == event


def test_a_message_of_a_later_version_is_handed_on() -> None:
    assert parse_message('{"type":"dance","steps":2}') == Unknown("dance", {"type": "dance", "steps": 2})


def test_a_message_without_its_core_field_is_unknown_and_extras_of_a_wrong_type_are_dropped() -> None:
    assert parse_message('{"type":"status"}') == Unknown("status", {"type": "status"})
    assert parse_message('{"type":"status","status":1}') == Unknown("status", {"type": "status", "status": 1})
    assert parse_message('{"type":"user_transcript","text":"Hi","item_id":7}') == UserTranscript("Hi")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '"x"', "{}", '{"type":null}', '{"type":["pong"]}'])
def test_nonsense_is_unknown(text: str) -> None:
    assert isinstance(parse_message(text), Unknown)
