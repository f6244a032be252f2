"""The server events of Voice Live that the gateway acts on, as values.

Names and fields follow the Voice Live API reference (api-version 2026-07-15) and recordings of the live
service. What we do not act on becomes `OtherEvent`; what contradicts the protocol raises. The two events of
which most of the traffic consists are not frozen, since to make a frozen value costs twice as much.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import pybase64


class MalformedEventError(Exception):
    """Voice Live sent something that is no event of the protocol. The text never repeats what it sent."""


@dataclass(frozen=True, slots=True)
class SessionCreated:
    """The session exists. `expires_at` is in Unix seconds where the service says it."""

    session_id: str
    expires_at: int | None


@dataclass(frozen=True, slots=True)
class SessionUpdated:
    """A `session.update` took effect; `session` is the whole effective configuration."""

    session_id: str
    session: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The caller began to speak. `item_id` is the id that the caller's item will have.

    `audio_start_ms` is on the session's audio clock and includes the prefix padding.
    """

    item_id: str
    audio_start_ms: int = 0


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """The caller fell silent."""

    item_id: str


@dataclass(frozen=True, slots=True)
class SpeechCommitted:
    """The caller's turn is over."""

    item_id: str


@dataclass(frozen=True, slots=True)
class CallerTranscriptDelta:
    """Part of what the caller said."""

    item_id: str
    text: str


@dataclass(frozen=True, slots=True)
class CallerTranscript:
    """All that the caller said in one turn; empty where the service heard no words."""

    item_id: str
    text: str


@dataclass(frozen=True, slots=True)
class CallerTranscriptFailed:
    """The service could not transcribe this turn."""

    item_id: str


@dataclass(frozen=True, slots=True)
class ResponseCreated:
    """The agent begins to answer."""

    response_id: str


@dataclass(slots=True)
class AudioDelta:
    """Agent speech: PCM16 LE, 24 kHz, mono."""

    response_id: str
    item_id: str
    pcm: bytes


@dataclass(slots=True)
class AgentTranscriptDelta:
    """Part of what the agent says."""

    response_id: str
    text: str


@dataclass(frozen=True, slots=True)
class AgentTranscriptDone:
    """All that the agent says in one part of its response."""

    response_id: str
    text: str


@dataclass(frozen=True, slots=True)
class AgentTextDelta:
    """Part of a text-only response."""

    response_id: str
    text: str


@dataclass(frozen=True, slots=True)
class WordTimestamp:
    """Where in the response's audio one word is spoken."""

    response_id: str
    text: str
    offset_ms: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class ResponseDone:
    """The agent's response is generated to its end.

    `status` is completed, cancelled, incomplete or failed. `calls_function` says that its output is function
    calls alone, so that a further response follows.
    """

    response_id: str
    status: str
    calls_function: bool


@dataclass(frozen=True, slots=True)
class ServiceError:
    """Voice Live reports an error; the session lives on. `code` is the service's own, or its error type."""

    code: str


@dataclass(frozen=True, slots=True)
class OtherEvent:
    """An event that the gateway does not act on."""

    type: str


ServerEvent = (
    SessionCreated
    | SessionUpdated
    | SpeechStarted
    | SpeechStopped
    | SpeechCommitted
    | CallerTranscriptDelta
    | CallerTranscript
    | CallerTranscriptFailed
    | ResponseCreated
    | AudioDelta
    | AgentTranscriptDelta
    | AgentTranscriptDone
    | AgentTextDelta
    | WordTimestamp
    | ResponseDone
    | ServiceError
    | OtherEvent
)


def parse_server_event(data: bytes | memoryview) -> ServerEvent:
    """Read one event. Raises MalformedEventError."""
    try:
        event = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise MalformedEventError("not JSON") from None
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise MalformedEventError("not an event")
    reader = _READERS.get(event["type"])
    try:
        return reader(event) if reader else OtherEvent(event["type"])
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        raise MalformedEventError(f"{event['type']} without its fields") from None


def _text(event: Mapping[str, Any], name: str) -> str:
    value = event[name]
    if not isinstance(value, str):
        raise TypeError(name)
    return value


def _session(event: Mapping[str, Any]) -> Mapping[str, Any]:
    session = event["session"]
    if not isinstance(session, dict):
        raise TypeError("session")
    return session


def _session_created(event: Mapping[str, Any]) -> SessionCreated:
    session = _session(event)
    expires_at = session.get("expires_at")
    return SessionCreated(_text(session, "id"), expires_at if isinstance(expires_at, int) else None)


def audio_delta(event: Mapping[str, Any], pcm: bytes) -> AudioDelta:
    """The audio delta with these ids. Raises KeyError, TypeError, ValueError."""
    if len(pcm) % 2:
        raise ValueError("half a sample")
    return AudioDelta(_text(event, "response_id"), _text(event, "item_id"), pcm)


def _word(event: Mapping[str, Any]) -> WordTimestamp:
    return WordTimestamp(
        _text(event, "response_id"),
        _text(event, "text"),
        int(event["audio_offset_ms"]),
        int(event["audio_duration_ms"]),
    )


def _response_done(event: Mapping[str, Any]) -> ResponseDone:
    response = event["response"]
    output = response.get("output") or []
    calls_function = bool(output) and all(item.get("type") == "function_call" for item in output)
    return ResponseDone(_text(response, "id"), _text(response, "status"), calls_function)


def _service_error(event: Mapping[str, Any]) -> ServiceError:
    error = event["error"]
    return ServiceError(str(error.get("code") or error.get("type") or "unknown"))


_READERS: Mapping[str, Callable[[Mapping[str, Any]], ServerEvent]] = {
    "session.created": _session_created,
    "session.updated": lambda e: SessionUpdated(_text(_session(e), "id"), _session(e)),
    "input_audio_buffer.speech_started": lambda e: SpeechStarted(
        _text(e, "item_id"), int(e.get("audio_start_ms") or 0)
    ),
    "input_audio_buffer.speech_stopped": lambda e: SpeechStopped(_text(e, "item_id")),
    "input_audio_buffer.committed": lambda e: SpeechCommitted(_text(e, "item_id")),
    "conversation.item.input_audio_transcription.delta": lambda e: CallerTranscriptDelta(
        _text(e, "item_id"), e.get("delta") or ""
    ),
    "conversation.item.input_audio_transcription.completed": lambda e: CallerTranscript(
        _text(e, "item_id"), _text(e, "transcript")
    ),
    "conversation.item.input_audio_transcription.failed": lambda e: CallerTranscriptFailed(
        _text(e, "item_id")
    ),
    "response.created": lambda e: ResponseCreated(_text(e["response"], "id")),
    "response.audio.delta": lambda e: audio_delta(e, pybase64.b64decode(_text(e, "delta"), validate=True)),
    "response.audio_transcript.delta": lambda e: AgentTranscriptDelta(
        _text(e, "response_id"), _text(e, "delta")
    ),
    "response.audio_transcript.done": lambda e: AgentTranscriptDone(
        _text(e, "response_id"), _text(e, "transcript")
    ),
    "response.text.delta": lambda e: AgentTextDelta(_text(e, "response_id"), _text(e, "delta")),
    "response.audio_timestamp.delta": _word,
    "response.done": _response_done,
    "error": _service_error,
}
