"""What a session is doing, for `GET /sessions`: numbers and states, never what is said."""

from collections import Counter
from typing import Any, Final

_STATES: Final = {
    "input_audio_buffer.speech_started": "caller_speaking",
    "input_audio_buffer.committed": "recognizing",
    "conversation.item.input_audio_transcription.completed": "listening",
    "conversation.item.input_audio_transcription.failed": "listening",
    "response.created": "answering",
    "response.done": "listening",
}
_COUNTED: Final = {
    "input_audio_buffer.committed": "turns",
    "response.done": "responses",
    "response.audio.delta": "audio_deltas",
    "error": "errors",
}


class Activity:
    """One session as it can be looked at from outside."""

    def __init__(self, session_id: str, mode: str, model: str | None, opened_at: float) -> None:
        """`opened_at` is the time at which it was opened, in seconds of the same clock as `shown`."""
        self._about = {"id": session_id, "mode": mode, "model": model}
        self._opened_at = opened_at
        self._state = "listening"
        self._counts: Counter[str] = Counter()

    def received(self, event_type: object) -> None:
        """The client sent an event."""
        self._counts["client_events"] += 1
        if event_type == "input_audio_buffer.append":
            self._counts["appends"] += 1

    def sent(self, event_type: str) -> None:
        """The session sends an event."""
        self._counts["server_events"] += 1
        self._state = _STATES.get(event_type, self._state)
        if (name := _COUNTED.get(event_type)) is not None:
            self._counts[name] += 1

    def shown(self, now: float) -> dict[str, Any]:
        """Return what `GET /sessions` shows."""
        counted = ("client_events", "appends", "server_events", *_COUNTED.values())
        return {
            **self._about,
            "age_s": round(now - self._opened_at, 1),
            "state": self._state,
            "counts": {name: self._counts[name] for name in counted},
        }
