"""What happens on a call, as entries for a person or a program, with the latency of each answer. Pure."""

from dataclasses import dataclass
from typing import Literal

from voicelive_client import (
    AgentAudio,
    AgentText,
    AgentTranscript,
    ClearPlayback,
    Closed,
    ErrorMessage,
    Event,
    Reconnecting,
    Resumed,
    SessionEnding,
    SessionStarted,
    Status,
    UserTranscript,
)

Kind = Literal["call", "caller", "agent", "answered", "error"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened, `at_s` seconds into the call.

    `text` is what was said; of an interrupted agent only what was heard. `latency_ms` comes with
    `answered`: from the caller's last sound to the agent's first audio, as the client knows both.
    """

    at_s: float
    kind: Kind
    text: str
    interrupted: bool = False
    latency_ms: int | None = None


class CallLog:
    """Follows one call. Times are seconds of one steady clock."""

    def __init__(self, started_at: float) -> None:
        self._started_at = started_at
        self._last_response: str | None = None
        self._turn_ended_at: float | None = None
        self.status: str | None = None
        self.started = False
        self.agent_has_spoken = False
        self.latencies_ms: list[int] = []
        self.failure: str | None = None
        self.closed: Closed | None = None

    @property
    def awaits_answer(self) -> bool:
        """Whether a turn of the caller has ended and the agent has not begun to answer it."""
        return self._turn_ended_at is not None

    def typed(self, text: str, now: float) -> list[Entry]:
        """The caller has typed a turn."""
        self._turn_ended_at = now
        return [self._entry(now, "caller", text)]

    def receive(self, event: Event, now: float, fell_silent_at: float | None) -> list[Entry]:
        """Takes notice of an event. `fell_silent_at`: when the caller's last pause began."""
        match event:
            case SessionStarted():
                self.started = True
                return [self._entry(now, "call", "connected")]
            case Status(status):
                self.status = status
                # Turn detection has decided; the caller fell silent before, and may be speaking again.
                if status == "processing":
                    self._turn_ended_at = self._turn_ended_at if fell_silent_at is None else fell_silent_at
            case AgentAudio(_, response_id) if response_id != self._last_response:
                self._last_response = response_id
                return self._answered(now)
            case AgentText(text):
                return [*self._answered(now), self._entry(now, "agent", text)]
            case ClearPlayback():
                self._last_response = None
            case UserTranscript(text):
                return [self._entry(now, "caller", text or "(no words)")]
            case AgentTranscript(text, interrupted=True, heard_text=heard):
                shown = text if heard is None else heard.strip() or "(not heard)"
                return [self._entry(now, "agent", shown, interrupted=True)]
            case AgentTranscript(text):
                return [self._entry(now, "agent", text)]
            case ErrorMessage(message, code, fatal):
                if fatal:
                    self.failure = message
                return [self._entry(now, "error", f"{message} ({code})" if code else message)]
            case SessionEnding(reason, seconds_left):
                left = "soon" if seconds_left is None else f"in {seconds_left:.0f} s"
                return [self._entry(now, "call", f"will be ended {left}: {reason}")]
            case Reconnecting():
                return [self._entry(now, "call", "connection lost, trying to come back")]
            case Resumed(_, away_s):
                return [self._entry(now, "call", f"back after {away_s:.1f} s")]
            case Closed(code, reason):
                self.closed = event
                return [self._entry(now, "call", f"closed ({code}{f', {reason}' if reason else ''})")]
            case _:
                pass
        return []

    def _answered(self, now: float) -> list[Entry]:
        self.agent_has_spoken = True
        if self._turn_ended_at is None:
            return []
        latency_ms = round((now - self._turn_ended_at) * 1000)
        self._turn_ended_at = None
        self.latencies_ms.append(latency_ms)
        return [self._entry(now, "answered", f"after {latency_ms} ms", latency_ms=latency_ms)]

    def _entry(
        self, now: float, kind: Kind, text: str, *, interrupted: bool = False, latency_ms: int | None = None
    ) -> Entry:
        return Entry(round(now - self._started_at, 3), kind, text, interrupted, latency_ms)
