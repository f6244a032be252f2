"""The limits of one call: its length, how long nobody may speak, how many messages. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from app.errors import ErrorCode
from app.latest import Latest
from app.messages import SessionEnding
from app.turns import Effect, End, Send, SendUpstream
from app.voicelive.session import ClientEvent

MAX_BAD_MESSAGES: Final = 20
QUOTA_WINDOW_S: Final = 60.0
GOODBYE_S: Final = 15.0
"""The goodbye is given this long to be said."""

NOTICE_S: Final = 60
"""A call that will be closed is told so this long before, or at half of its limit if that is shorter. Of
a drain it is told at once, too."""


@dataclass(frozen=True, slots=True)
class SilencePolicy:
    """What happens while nobody speaks.

    After `reprompt_after_s` (0: never) the agent asks once whether the caller is there; after
    `idle_timeout_s` it says goodbye, if it has one to say, and the call ends.
    """

    idle_timeout_s: float
    reprompt_after_s: float = 0
    reprompt: Sequence[ClientEvent] = ()
    goodbye: Sequence[ClientEvent] = ()


class CallLimits:
    """Watches one call. Times are seconds of one monotonic clock."""

    def __init__(self, max_duration_s: float, silence: SilencePolicy, started_at: float) -> None:
        self._silence = silence
        self._ends_at = started_at + max_duration_s
        self._duration_notice_at = self._ends_at - min(NOTICE_S, max_duration_s / 2)
        self._idle_notice_s = silence.idle_timeout_s - min(NOTICE_S, silence.idle_timeout_s / 2)
        self._duration_told = False
        self._drain_ends_at = self._drain_notice_at = math.inf
        self._idle_told_of: float | None = None
        self._reprompted_of: float | None = None
        self._goodbye_at: float | None = None

    def drain(self, ends_at: float) -> None:
        """The process drains: the call will be closed at `ends_at`. The next `tick` says so."""
        self._drain_ends_at = ends_at
        self._drain_notice_at = -math.inf

    def client_returned(self) -> None:
        """What was told to the connection that broke is to be told again."""
        self._duration_told = False
        self._idle_told_of = None
        if self._drain_ends_at != math.inf:
            self._drain_notice_at = -math.inf

    def tick(self, last_activity_at: float, last_caller_at: float, now: float) -> list[Effect]:
        """What is due now.

        `last_activity_at`: when anybody last spoke or typed, `now` while somebody does; `last_caller_at`: the
        same of the caller alone.
        """
        if now >= self._ends_at:
            return [End(ErrorCode.SESSION_EXPIRED)]
        effects: list[Effect] = []
        if now >= self._drain_notice_at:
            left_s = self._drain_ends_at - now
            self._drain_notice_at = self._drain_ends_at - NOTICE_S if left_s > NOTICE_S else math.inf
            effects.append(Send(SessionEnding("drain", round(left_s))))
        if now >= self._duration_notice_at and not self._duration_told:
            self._duration_told = True
            effects.append(Send(SessionEnding("max_duration", round(self._ends_at - now))))
        return [*effects, *self._silent(last_activity_at, last_caller_at, now)]

    def _silent(self, last_activity_at: float, last_caller_at: float, now: float) -> list[Effect]:
        silent_s = now - last_activity_at
        if self._goodbye_at is not None and last_caller_at <= self._goodbye_at:
            said = self._goodbye_at < last_activity_at < now
            return [End(ErrorCode.IDLE_TIMEOUT)] if said or now >= self._goodbye_at + GOODBYE_S else []
        self._goodbye_at = None
        if silent_s >= self._silence.idle_timeout_s:
            if not self._silence.goodbye:
                return [End(ErrorCode.IDLE_TIMEOUT)]
            self._goodbye_at = now
            return [SendUpstream(event) for event in self._silence.goodbye]
        effects: list[Effect] = []
        reprompt_after_s = self._silence.reprompt_after_s
        if 0 < reprompt_after_s <= silent_s and self._reprompted_of != last_caller_at:
            self._reprompted_of = last_caller_at
            effects += [SendUpstream(event) for event in self._silence.reprompt]
        if silent_s >= self._idle_notice_s and self._idle_told_of != last_activity_at:
            self._idle_told_of = last_activity_at
            effects.append(Send(SessionEnding("idle", round(self._silence.idle_timeout_s - silent_s))))
        return effects


class Quota:
    """So many of one thing in a window of time."""

    def __init__(self, limit: int, window_s: float = QUOTA_WINDOW_S) -> None:
        self._window_s = window_s
        self._times: Latest[float] = Latest(limit)

    def is_exceeded(self, now: float) -> bool:
        """Count one more; whether it is one too many."""
        exceeded = self.free_in_s(now) > 0
        self._times.append(now)
        return exceeded

    def free_in_s(self, now: float) -> float:
        """How long until one more is within the quota; 0: now."""
        if len(self._times) < self._times.limit:
            return 0.0
        return max(0.0, self._times[0] + self._window_s - now)
