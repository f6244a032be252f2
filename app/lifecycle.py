"""The life of the process: starting, ready, draining; and the calls that are live in it. Pure.

A drain leaves live calls alone until they end or its time is up; then it closes them in batches, so that
not all of them call again in the same moment.
"""

import enum
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

CLOSES_PER_S: Final = 50.0
"""At most so many calls are closed in a second when a drain's time is up."""

GOODBYE_S: Final = 4.0
"""How long the last closed call may take to read its goodbye before the process ends without it."""


class Phase(enum.Enum):
    """Where the process is in its life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class WarnCalls:
    """Tell every call that it will be closed at `ends_at`."""

    ends_at: float


@dataclass(frozen=True, slots=True)
class CloseCalls:
    """Close this many of the calls that are left; None: all."""

    at_most: int | None


@dataclass(frozen=True, slots=True)
class Exit:
    """The process is done. `forced`: some calls are not over."""

    forced: bool


Step = WarnCalls | CloseCalls | Exit


class Lifecycle:
    """The phase, the number of live calls, and what a drain has to do when. Times are monotonic seconds."""

    def __init__(self, drain_timeout_s: float = 0.0, closes_per_s: float = CLOSES_PER_S) -> None:
        self.live_calls = 0
        self._phase = Phase.STARTING
        self._held_back = False
        self._started = False
        self._drain_timeout_s = drain_timeout_s
        self._closes_per_s = closes_per_s
        self._ends_at = 0.0
        self._warned = False
        self._hurried = False
        self._abandoned = False
        self._closing_since: float | None = None
        self._closed = 0
        self._gives_up_at = 0.0

    @property
    def phase(self) -> Phase:
        """Where the process is in its life."""
        return self._phase

    @contextmanager
    def call(self) -> Iterator[None]:
        """Count one live call."""
        self.live_calls += 1
        try:
            yield
        finally:
            self.live_calls -= 1

    def become_ready(self) -> None:
        """Start-up is complete. A drain that was asked for meanwhile goes on."""
        self._started = True
        if self._phase is Phase.STARTING and not self._held_back:
            self._phase = Phase.READY

    def hold_back(self) -> None:
        """Not ready before `let_in`, whatever start-up says."""
        self._held_back = True

    def let_in(self) -> None:
        """Ready as soon as start-up is complete."""
        self._held_back = False
        if self._started:
            self.become_ready()

    def drain(self, now: float) -> None:
        """Take no new calls, and end when the live ones have ended. Asked again: `end_now`."""
        if self._phase is Phase.DRAINING:
            self.end_now(now)
            return
        self._phase = Phase.DRAINING
        self._ends_at = now + self._drain_timeout_s

    def end_now(self, now: float) -> None:
        """Close every call now. Asked again: do not even wait for their goodbyes."""
        self._phase = Phase.DRAINING
        self._abandoned = self._hurried
        self._hurried = True
        self._ends_at = min(self._ends_at, now)

    def tick(self, now: float) -> list[Step]:
        """What is due now; to be asked at least ten times a second."""
        if self._phase is not Phase.DRAINING:
            return []
        if not self.live_calls:
            return [Exit(forced=False)]
        if self._abandoned:
            return [Exit(forced=True)]
        if self._hurried:
            return self._close(now, everything=True)
        if now >= self._ends_at:
            return self._close(now, everything=False)
        if self._warned:
            return []
        self._warned = True
        return [WarnCalls(self._ends_at)]

    def _close(self, now: float, *, everything: bool) -> list[Step]:
        if self._closing_since is None:
            self._closing_since = now
            spread_s = self.live_calls / self._closes_per_s
            self._gives_up_at = now + spread_s + GOODBYE_S
        if everything:
            self._gives_up_at = min(self._gives_up_at, now + GOODBYE_S)
        if now >= self._gives_up_at:
            return [Exit(forced=True)]
        if everything:
            return [CloseCalls(None)]
        due = int((now - self._closing_since) * self._closes_per_s) + 1 - self._closed
        if due <= 0:
            return []
        self._closed += due
        return [CloseCalls(due)]
