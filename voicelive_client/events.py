"""What a client of `/ws/voice` can be told: one type for each message, and what the client adds to them.

Lenient, as the contract asks of clients: extra fields are ignored, missing extras are None, and what is
not known becomes `Unknown`. No socket here.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Final, get_args, get_type_hints


@dataclass(frozen=True, slots=True)
class SessionStarted:
    """The agent can hear and answer; audio sent before this is not lost. A call tells this once."""

    session_id: str
    protocol: str | None = None
    max_duration_s: float | None = None
    resume_token: str | None = field(default=None, repr=False)
    resumed: bool | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """What the call is doing now; `response_id` with `agent_speaking`."""

    status: str
    response_id: str | None = None


@dataclass(frozen=True, slots=True)
class UserTranscript:
    """What one turn of the caller was recognised as."""

    text: str
    item_id: str | None = None


@dataclass(frozen=True, slots=True)
class UserTranscriptDelta:
    """More of the caller's words, while they are being recognised."""

    text: str
    item_id: str | None = None


@dataclass(frozen=True, slots=True)
class AgentTranscript:
    """One response after it was played or interrupted; `heard_text` is what was heard of it."""

    text: str
    response_id: str | None = None
    interrupted: bool | None = None
    heard_text: str | None = None
    heard_estimated: bool | None = None


@dataclass(frozen=True, slots=True)
class AgentTranscriptDelta:
    """More of the agent's words, in time with their audio; `index` counts those of one response from 0."""

    text: str
    response_id: str | None = None
    index: int | None = None


@dataclass(frozen=True, slots=True)
class AgentText:
    """A response without audio."""

    text: str
    response_id: str | None = None


@dataclass(frozen=True, slots=True)
class AgentAudio:
    """Agent speech: PCM16 little-endian, 24 kHz, mono; `response_id` is "" where the gateway names none."""

    pcm: bytes
    response_id: str


@dataclass(frozen=True, slots=True)
class AgentAudioEnd:
    """The last audio of a response has arrived; `total_ms` is its length."""

    response_id: str
    total_ms: float | None = None


@dataclass(frozen=True, slots=True)
class ClearPlayback:
    """The caller interrupted: drop everything of this response that has not been played."""

    response_id: str


@dataclass(frozen=True, slots=True)
class HoldPlayback:
    """The caller made a sound: pause, keep what is buffered."""

    response_id: str


@dataclass(frozen=True, slots=True)
class ResumePlayback:
    """Go on where `HoldPlayback` paused."""

    response_id: str


@dataclass(frozen=True, slots=True)
class ErrorMessage:
    """Something went wrong; a `fatal` one is the last message of the call."""

    message: str
    code: str | None = None
    fatal: bool | None = None
    retryable: bool | None = None
    retry_after_ms: float | None = None
    ref: str | None = None
    param: str | None = None


@dataclass(frozen=True, slots=True)
class SessionEnding:
    """The call will be closed in `seconds_left`."""

    reason: str
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """The last message of an orderly call."""

    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a ping."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A message of a type, or with a content, that this version does not know."""

    type: str
    data: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Played:
    """A response is over for the listener, who heard `played_ms` of it; `complete` when that was all."""

    response_id: str
    played_ms: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Reconnecting:
    """The connection broke, and the call is being taken up again. Nobody hears the caller meanwhile.

    Whoever plays the agent aloud drops what has not been played: the gateway sends it again.
    """


@dataclass(frozen=True, slots=True)
class Resumed:
    """The call goes on after `Reconnecting`; transcripts that were missed follow."""

    session_id: str
    away_s: float


@dataclass(frozen=True, slots=True)
class Closed:
    """How the call ended: a close code, 1006 where it broke without one. Always the last event."""

    code: int
    reason: str


Message = (
    SessionStarted
    | Status
    | UserTranscript
    | UserTranscriptDelta
    | AgentTranscript
    | AgentTranscriptDelta
    | AgentText
    | AgentAudioEnd
    | ClearPlayback
    | HoldPlayback
    | ResumePlayback
    | ErrorMessage
    | SessionEnding
    | SessionEnded
    | Pong
    | Unknown
)
Event = Message | AgentAudio | Played | Reconnecting | Resumed | Closed

_TYPES: Final[Mapping[str, type[Message]]] = {
    "session_started": SessionStarted,
    "status": Status,
    "user_transcript": UserTranscript,
    "user_transcript_delta": UserTranscriptDelta,
    "agent_transcript": AgentTranscript,
    "agent_transcript_delta": AgentTranscriptDelta,
    "agent_text": AgentText,
    "agent_audio_end": AgentAudioEnd,
    "clear_playback": ClearPlayback,
    "hold_playback": HoldPlayback,
    "resume_playback": ResumePlayback,
    "error": ErrorMessage,
    "session_ending": SessionEnding,
    "session_ended": SessionEnded,
    "pong": Pong,
}


def _accepted(event_type: type[Message]) -> dict[str, tuple[type, ...]]:
    """The JSON types that each field of an event takes; a whole number is a number with a fraction, too."""
    hints = get_type_hints(event_type)
    accepted: dict[str, tuple[type, ...]] = {}
    for each in fields(event_type):
        types = get_args(hints[each.name]) or (hints[each.name],)
        accepted[each.name] = (*types, int) if float in types else types
    return accepted


_KINDS: Final = {name: (event_type, _accepted(event_type)) for name, event_type in _TYPES.items()}


def parse_message(text: str) -> Message:
    """Reads one text message of the gateway; what cannot be read becomes `Unknown`."""
    try:
        data = json.loads(text)
    except ValueError:
        return Unknown("", {})
    if not isinstance(data, dict):
        return Unknown("", {})
    name = data.get("type")
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        return Unknown(name if isinstance(name, str) else "", data)
    event_type, accepted = kind
    values = {
        key: data[key] for key, types in accepted.items() if key in data and isinstance(data[key], types)
    }
    try:
        return event_type(**values)
    except TypeError:  # a field without a default is missing or of another type
        return Unknown(str(name), data)
