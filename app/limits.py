"""The limits of one call: its length, how long nobody may speak, how many bad messages. Pure."""

from collections import deque
from typing import Final

from app.messages import ErrorCode, SessionEnding
from app.turns import Effect, End, Send

MAX_BAD_MESSAGES: Final = 20
BAD_MESSAGE_WINDOW_S: Final = 60.0
NOTICE_S: Final = 60
"""A call that will be closed is told so this long before, or at half of its limit if that is shorter."""


class CallLimits:
    """Watches one call. Times are seconds of one monotonic clock."""

    def __init__(self, max_duration_s: float, idle_timeout_s: float, started_at: float) -> None:
        self._idle_timeout_s = idle_timeout_s
        self._ends_at = started_at + max_duration_s
        self._duration_notice_at = self._ends_at - min(NOTICE_S, max_duration_s / 2)
        self._idle_notice_s = idle_timeout_s - min(NOTICE_S, idle_timeout_s / 2)
        self._duration_told = False
        self._idle_told_of: float | None = None

    def tick(self, last_activity_at: float, now: float) -> list[Effect]:
        """What is due now. `last_activity_at`: when somebody last spoke; `now` while somebody does."""
        if now >= self._ends_at:
            return [End(ErrorCode.SESSION_EXPIRED)]
        if now >= last_activity_at + self._idle_timeout_s:
            return [End(ErrorCode.IDLE_TIMEOUT)]
        effects: list[Effect] = []
        if now >= self._duration_notice_at and not self._duration_told:
            self._duration_told = True
            effects.append(Send(SessionEnding("max_duration", round(self._ends_at - now))))
        if now >= last_activity_at + self._idle_notice_s and self._idle_told_of != last_activity_at:
            self._idle_told_of = last_activity_at
            effects.append(Send(SessionEnding("idle", round(last_activity_at + self._idle_timeout_s - now))))
        return effects


class BadMessages:
    """Counts the messages of a client that could not be understood."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=MAX_BAD_MESSAGES)

    def is_one_too_many(self, now: float) -> bool:
        """Count one more; whether it comes after MAX_BAD_MESSAGES within BAD_MESSAGE_WINDOW_S."""
        full = len(self._times) == MAX_BAD_MESSAGES
        too_many = full and now - self._times[0] < BAD_MESSAGE_WINDOW_S
        self._times.append(now)
        return too_many
