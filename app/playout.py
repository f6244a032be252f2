"""Agent audio on its way to one caller: in order, paced, bounded, cleared at once. Pure.

Voice Live generates faster than real time. What the caller has not been sent can be taken back, so no more
than `lead_ms` beyond real time is released; the rest waits here. Messages that travel in order with the audio
wait in the same queue. Times are seconds of any one monotonic clock, positions milliseconds of audio.
"""

import enum
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from app.messages import BYTES_PER_MS, MAX_MESSAGE_BYTES, ServerMessage

MAX_HELD_BYTES: Final = 32 * 1024 * 1024
"""About eleven minutes of speech."""

MAX_FRAME_BYTES: Final = 100 * BYTES_PER_MS
"""Audio that is paced is released in frames of at most 100 ms, so that the lead is kept closely."""

CLOCK_STEP_S: Final = 1e-6
"""Less than this is no waiting, so that rounding cannot make a wake-up come too early for ever."""


NEVER: Final = float("inf")
"""The time of what does not come by waiting."""


class PlayoutOverflowError(Exception):
    """Voice Live generated more than MAX_HELD_BYTES that nobody has heard yet."""


Outgoing = bytes | ServerMessage
"""Agent speech to send, PCM16 LE, 24 kHz, mono; or a message between the audio around it."""

Held = tuple[str, Outgoing]
"""Of which response, and what."""


class HoldReason(enum.Enum):
    """Why playout stands still."""

    CALLER_SOUND = "the caller made a sound"
    CLIENT_LOST = "no client is attached"


@dataclass(slots=True)
class _Track:
    """What has become of one response's audio."""

    received_bytes: int = 0
    released_bytes: int = 0
    ends_at: float = 0.0


_NO_TRACK: Final = _Track()


class Playout:
    """The queue of one call."""

    def __init__(self, lead_ms: int, *, takes_back: bool = False) -> None:
        """`lead_ms` 0 releases everything at once. `takes_back` keeps what is in flight for `take_back`."""
        self._lead_s = lead_ms / 1000
        self._max_frame_bytes = MAX_FRAME_BYTES if lead_ms else MAX_MESSAGE_BYTES
        self._queue: deque[Held] = deque()
        self._held_bytes = 0
        self._tracks: dict[str, _Track] = {}
        self._ends_at = 0.0
        self._holds: set[HoldReason] = set()
        self._held_since: float | None = None
        self._takes_back = takes_back
        self._in_flight: deque[tuple[float, Held]] = deque()

    def add_audio(self, response_id: str, pcm: bytes) -> None:
        """Take audio of a response. Raises PlayoutOverflowError when nothing more can be held."""
        size = len(pcm)
        self._held_bytes += size
        if self._held_bytes > MAX_HELD_BYTES:
            raise PlayoutOverflowError
        track = self._tracks.get(response_id)
        if track is None:
            track = self._tracks[response_id] = _Track()
        track.received_bytes += size
        most = self._max_frame_bytes
        if size > most:
            for start in range(0, size, most):
                self._queue.append((response_id, pcm[start : start + most]))
        elif size:
            self._queue.append((response_id, pcm))

    def add_message(self, response_id: str, message: ServerMessage) -> None:
        """Take a message that must come after the audio taken so far."""
        self._queue.append((response_id, message))

    def release(self, now: float) -> Outgoing | None:
        """The next thing that may go to the client now, or None while it is held or far enough ahead."""
        if not self._queue or self._held_since is not None:
            return None
        head = self._queue[0]
        response_id, outgoing = head
        if isinstance(outgoing, bytes):
            if self._lead_s and self._ends_at - now > self._lead_s + CLOCK_STEP_S:
                return None
            self._count_released(response_id, len(outgoing), now)
        if self._takes_back:
            while self._in_flight and self._in_flight[0][0] <= now:
                self._in_flight.popleft()
            self._in_flight.append((self._ends_at, head))
        self._queue.popleft()
        return outgoing

    def next_release_at(self) -> float:
        """When `release` will have something; NEVER while there is nothing or playout is held."""
        if not self._queue or self._held_since is not None:
            return NEVER
        paced = isinstance(self._queue[0][1], bytes) and self._lead_s
        return self._ends_at - self._lead_s if paced else 0.0

    def hold(self, reason: HoldReason, now: float) -> None:
        """Stop: nothing is released, and the play clock stands still, since the client stops too."""
        self._holds.add(reason)
        if self._held_since is None:
            self._held_since = now

    def resume(self, reason: HoldReason, now: float) -> None:
        """Go on where it was held, unless there is another reason to hold it."""
        self._holds.discard(reason)
        if self._holds or self._held_since is None:
            return
        held_s = now - self._held_since
        for track in self._tracks.values():
            if track.ends_at > self._held_since:
                track.ends_at += held_s
        if self._ends_at > self._held_since:
            self._ends_at += held_s
        self._in_flight = deque(
            (ends_at + held_s if ends_at > self._held_since else ends_at, held)
            for ends_at, held in self._in_flight
        )
        self._held_since = None

    def clear(self, now: float) -> None:
        """Drop all that waits, held or not; the client drops what it has not played."""
        self._queue.clear()
        self._in_flight.clear()
        self._held_bytes = 0
        self._ends_at = now
        if self._held_since is not None:
            self._held_since = now

    def take_back(self, now: float) -> None:
        """The client is lost with what it had not played yet: that waits again, in its order."""
        clock = now if self._held_since is None else self._held_since
        while self._in_flight and self._in_flight[-1][0] > clock:
            _, held = self._in_flight.pop()
            response_id, outgoing = held
            track = self._tracks.get(response_id)
            if track is None:
                continue
            if isinstance(outgoing, bytes):
                self._held_bytes += len(outgoing)
                track.released_bytes -= len(outgoing)
                track.ends_at = clock
            self._queue.appendleft(held)
        self._ends_at = min(self._ends_at, clock)

    def forget(self, response_ids: Iterable[str]) -> None:
        """Drop the account of responses that have ended."""
        for response_id in response_ids:
            self._tracks.pop(response_id, None)

    def head(self) -> str | None:
        """The response whose audio or message waits first."""
        return self._queue[0][0] if self._queue else None

    def received_ms(self, response_id: str) -> int:
        """How much audio of this response Voice Live has generated so far."""
        return self._account(response_id).received_bytes // BYTES_PER_MS

    def released_ms(self, response_id: str) -> int:
        """How much of it has been sent to the client."""
        return self._account(response_id).released_bytes // BYTES_PER_MS

    def played_ms(self, response_id: str, now: float) -> int:
        """How much of it is played by the play clock: time since its release, never more than was sent."""
        track = self._account(response_id)
        clock = now if self._held_since is None else self._held_since
        unplayed_ms = max(0.0, track.ends_at - clock) * 1000
        return max(0, round(track.released_bytes / BYTES_PER_MS - unplayed_ms))

    def plays_until(self, response_id: str) -> float:
        """When the client will have played what has been released of it; never, while held."""
        if self._held_since is not None:
            return NEVER
        track = self._tracks.get(response_id)
        return track.ends_at if track is not None else 0.0

    def is_released(self, response_id: str) -> bool:
        """Whether nothing of it is held any more."""
        return not any(held_id == response_id for held_id, _ in self._queue)

    def _account(self, response_id: str) -> _Track:
        return self._tracks.get(response_id, _NO_TRACK)

    def _count_released(self, response_id: str, size: int, now: float) -> None:
        self._held_bytes -= size
        starts_at = max(now, self._ends_at)
        self._ends_at = starts_at + size / (BYTES_PER_MS * 1000)
        track = self._tracks[response_id]
        track.released_bytes += size
        track.ends_at = self._ends_at
