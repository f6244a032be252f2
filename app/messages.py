"""The messages of `/ws/voice`, version 1: what a client may send, and what the gateway answers.

Typed and validated, and nothing else: no socket, no call state.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final, Literal, get_args

import orjson
import pybase64

from app.errors import CATALOGUE, ErrorCode

PROTOCOL: Final = "voice-live.v1"
"""The WebSocket subprotocol that the gateway selects when a client offers it."""

SAMPLE_RATE_HZ: Final = 24_000
BYTES_PER_MS: Final = SAMPLE_RATE_HZ * 2 // 1000
"""Caller and agent speech are PCM16 little-endian, 24 kHz, mono: 48 bytes a millisecond."""

MAX_MESSAGE_BYTES: Final = 64 * 1024
MAX_TEXT_CHARACTERS: Final = 2_000


class BadMessageError(Exception):
    """A client message that cannot be understood. `param` names the offending field, if one does."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


# ---------------------------------------------------------------------------------------- from the client


@dataclass(frozen=True, slots=True)
class CallerAudio:
    """Caller speech sent as text: PCM16 LE, 24 kHz, mono."""

    pcm: bytes


@dataclass(frozen=True, slots=True)
class Ping:
    """The client asks whether the gateway is there."""


@dataclass(frozen=True, slots=True)
class BargeIn:
    """The caller interrupts by hand."""


@dataclass(frozen=True, slots=True)
class PlaybackReport:
    """The caller has truly heard the first `played_ms` of this response."""

    response_id: str
    played_ms: int


@dataclass(frozen=True, slots=True)
class TypedText:
    """The caller types instead of speaking."""

    text: str


@dataclass(frozen=True, slots=True)
class HangUp:
    """The caller ends the call."""


ClientMessage = CallerAudio | Ping | BargeIn | PlaybackReport | TypedText | HangUp


def parse_client_message(text: str | bytes | memoryview) -> ClientMessage:
    """Read one text frame of a client.

    Raises BadMessageError with a sentence for the developer of the client. The sentence never repeats what
    the client sent.
    """
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise BadMessageError("A text message must be one JSON object.") from None
    if not isinstance(data, dict):
        raise BadMessageError("A text message must be one JSON object.")
    match data.get("type"):
        case "audio":
            return CallerAudio(_decode_audio(data))
        case "ping":
            return Ping()
        case "barge_in":
            return BargeIn()
        case "playback":
            played_ms = data.get("played_ms")
            if isinstance(played_ms, bool) or not isinstance(played_ms, int | float) or played_ms < 0:
                raise BadMessageError("`played_ms` must be a number of milliseconds, 0 or more.", "played_ms")
            return PlaybackReport(_string(data, "response_id", 256), int(played_ms))
        case "text":
            typed = _string(data, "text", MAX_TEXT_CHARACTERS)
            if not typed.strip():
                raise BadMessageError("`text` must not be empty.", "text")
            return TypedText(typed)
        case "end":
            return HangUp()
        case _:
            raise BadMessageError("`type` must be one of audio, ping, barge_in, playback, text, end.", "type")


def _string(data: Mapping[str, object], name: str, max_characters: int) -> str:
    value = data.get(name)
    if not isinstance(value, str) or not value:
        raise BadMessageError(f"`{name}` must be a string.", name)
    if len(value) > max_characters:
        raise BadMessageError(f"`{name}` must have at most {max_characters} characters.", name)
    return value


def _decode_audio(data: Mapping[str, object]) -> bytes:
    try:
        return pybase64.b64decode(_string(data, "audio", MAX_MESSAGE_BYTES), validate=True)
    except ValueError:
        raise BadMessageError("`audio` must be base64 of PCM16 samples.", "audio") from None


# ------------------------------------------------------------------------------------------ to the client

StatusName = Literal["listening", "processing", "agent_speaking", "ready"]


@dataclass(frozen=True, slots=True)
class SessionStarted:
    """The upstream session is configured."""

    session_id: str
    max_duration_s: int
    resume_token: str | None = None
    resumed: bool | None = None
    protocol: str = PROTOCOL
    type: str = "session_started"


@dataclass(frozen=True, slots=True)
class UserTranscript:
    """Final transcript of one caller turn."""

    text: str
    item_id: str
    type: str = "user_transcript"


@dataclass(frozen=True, slots=True)
class UserTranscriptDelta:
    """Live caption of the caller."""

    text: str
    item_id: str
    type: str = "user_transcript_delta"


@dataclass(frozen=True, slots=True)
class AgentTranscript:
    """Transcript of one response, sent once, when it has ended for the caller."""

    text: str
    response_id: str
    interrupted: bool | None = None
    heard_text: str | None = None
    heard_estimated: bool | None = None
    type: str = "agent_transcript"


@dataclass(slots=True)
class AgentTranscriptDelta:
    """Live caption of the agent, released with its audio; `index` counts those of one response from 0.

    The most frequent message; to make a frozen one costs twice as much.
    """

    text: str
    response_id: str
    index: int
    type: str = "agent_transcript_delta"


@dataclass(frozen=True, slots=True)
class AgentText:
    """A response without audio."""

    text: str
    response_id: str
    type: str = "agent_text"


@dataclass(frozen=True, slots=True)
class Status:
    """What the call is doing now."""

    status: StatusName
    response_id: str | None = None
    type: str = "status"


@dataclass(frozen=True, slots=True)
class AgentAudioEnd:
    """The last byte of this response has been sent. `total_ms` is its length."""

    response_id: str
    total_ms: int
    type: str = "agent_audio_end"


@dataclass(frozen=True, slots=True)
class ClearPlayback:
    """Stop and drop every sample of this response now."""

    response_id: str
    type: str = "clear_playback"


@dataclass(frozen=True, slots=True)
class HoldPlayback:
    """The caller made a sound: fade out, and keep what is buffered."""

    response_id: str
    type: str = "hold_playback"


@dataclass(frozen=True, slots=True)
class ResumePlayback:
    """It was a false alarm: go on."""

    response_id: str
    type: str = "resume_playback"


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a ping."""

    type: str = "pong"


@dataclass(frozen=True, slots=True)
class ErrorMessage:
    """Something went wrong. Made by `error_message` from the catalogue."""

    message: str
    code: str
    fatal: bool
    retryable: bool
    retry_after_ms: int | None = None
    ref: str | None = None
    param: str | None = None
    type: str = "error"


@dataclass(frozen=True, slots=True)
class SessionEnding:
    """The call will be closed in `seconds_left`."""

    reason: str
    seconds_left: int
    type: str = "session_ending"


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """The last text message of an orderly close."""

    reason: str
    type: str = "session_ended"


ServerMessage = (
    SessionStarted
    | UserTranscript
    | UserTranscriptDelta
    | AgentTranscript
    | AgentTranscriptDelta
    | AgentText
    | Status
    | AgentAudioEnd
    | ClearPlayback
    | HoldPlayback
    | ResumePlayback
    | Pong
    | ErrorMessage
    | SessionEnding
    | SessionEnded
)


_FIELD_NAMES: Final = {
    message: tuple(field.name for field in fields(message) if field.name != "type")
    for message in get_args(ServerMessage)
}


def encode_server_message(message: ServerMessage) -> bytes:
    """One JSON object in UTF-8, `type` first; fields that are None are left out."""
    data: dict[str, object] = {"type": message.type}
    for name in _FIELD_NAMES[type(message)]:
        value = getattr(message, name)
        if value is not None:
            data[name] = value
    return orjson.dumps(data)


def error_message(
    code: ErrorCode,
    *,
    fatal: bool,
    ref: str | None = None,
    param: str | None = None,
    message: str | None = None,
    retry_after_ms: int | None = None,
) -> ErrorMessage:
    """The `error` message for `code`. `message` replaces the catalogue's sentence only with one of ours."""
    entry = CATALOGUE[code]
    return ErrorMessage(
        message=message or entry.message,
        code=code.value,
        fatal=fatal,
        retryable=entry.retryable,
        retry_after_ms=retry_after_ms or entry.retry_after_ms,
        ref=ref,
        param=param,
    )
