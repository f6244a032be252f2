"""How much of the agent's speech a listener has heard, without a loudspeaker.

Pure: speech is counted as it arrives and plays out in real time, one response after the other, as
through a loudspeaker with an endless buffer. Times are seconds of any steady clock.
"""

from collections import deque
from dataclasses import dataclass

from voicelive_client.events import (
    AgentAudio,
    AgentAudioEnd,
    ClearPlayback,
    Event,
    HoldPlayback,
    Played,
    Reconnecting,
    ResumePlayback,
)

BYTES_PER_SECOND = 48_000
"""Speech is PCM16, 24 kHz, mono, both ways."""

_SAMPLE_S = 2 / BYTES_PER_SECOND


@dataclass(slots=True)
class _Response:
    response_id: str
    waiting_s: float = 0.0
    played_s: float = 0.0
    ended: bool = False


class PlayoutClock:
    """The listener's end of one call."""

    def __init__(self) -> None:
        self._queue: deque[_Response] = deque()
        self._heard_ms: dict[str, int] = {}
        self._now = 0.0
        self._held = False

    def receive(self, event: Event, now: float) -> list[Played]:
        """Takes notice of an event; returns the responses that are over by `now`, in order."""
        over = self.tick(now)
        match event:
            case AgentAudio(pcm, response_id) if response_id not in self._heard_ms:
                self._response(response_id).waiting_s += len(pcm) / BYTES_PER_SECOND
            case AgentAudioEnd(response_id) if response_id not in self._heard_ms:
                self._response(response_id).ended = True
            case ClearPlayback(response_id):
                over.append(self._clear(response_id))
            case HoldPlayback():
                self._held = True
            case ResumePlayback():
                self._held = False
            case Reconnecting():
                self._lose()
            case _:
                pass
        return over + self.tick(now)

    def tick(self, now: float) -> list[Played]:
        """Plays up to `now`; returns the responses that have finished meanwhile."""
        left_s = 0.0 if self._held else now - self._now
        self._now = now
        over: list[Played] = []
        while self._queue:
            response = self._queue[0]
            # What is shorter than a sample is a rounding error of the clock.
            played_s = response.waiting_s if response.waiting_s < left_s + _SAMPLE_S else left_s
            left_s = max(0.0, left_s - played_s)
            response.waiting_s -= played_s
            response.played_s += played_s
            if response.waiting_s > 0 or not (response.ended or len(self._queue) > 1):
                break
            over.append(self._finish(self._queue.popleft(), complete=True))
        return over

    def next_due(self) -> float | None:
        """When `tick` will have something to tell, as far as is known; None when that is open."""
        if not self._queue or self._held or not (self._queue[0].ended or len(self._queue) > 1):
            return None
        return self._now + self._queue[0].waiting_s

    def heard_ms(self, response_id: str) -> int:
        """How much of a response has been heard so far."""
        for response in self._queue:
            if response.response_id == response_id:
                return round(response.played_s * 1000)
        return self._heard_ms.get(response_id, 0)

    @property
    def playing(self) -> bool:
        """Whether the listener still has something to hear."""
        return any(response.waiting_s > 0 for response in self._queue)

    def _response(self, response_id: str) -> _Response:
        for response in self._queue:
            if response.response_id == response_id:
                return response
        response = _Response(response_id)
        self._queue.append(response)
        return response

    def _clear(self, response_id: str) -> Played:
        self._held = False
        for response in self._queue:
            if response.response_id == response_id:
                self._queue.remove(response)
                return self._finish(response, complete=False)
        return Played(response_id, self._heard_ms.get(response_id, 0), complete=False)

    def _lose(self) -> None:
        """What has not been played comes again, with its end."""
        self._held = False
        for response in self._queue:
            response.waiting_s = 0.0
            response.ended = False

    def _finish(self, response: _Response, *, complete: bool) -> Played:
        self._heard_ms[response.response_id] = played_ms = round(response.played_s * 1000)
        return Played(response.response_id, played_ms, complete)
