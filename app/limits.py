"""The limits of one call in time: its maximum length, and how long nobody may speak. Pure."""

from typing import Final

from app.messages import ErrorCode, SessionEnding
from app.turns import Effect, End, Send

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
