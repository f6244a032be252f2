"""One timer of the event loop for everything that waits for a time, whichever call it is of.

A call with held audio wakes up ten times a second. Alarms that are due together ring together, one timer is
set for the earliest, and there is none while no alarm is.
"""

import asyncio
import heapq
from collections.abc import Callable
from typing import Final

STEP_S: Final = 0.001
"""Event loops keep time in milliseconds: what is due within one rings now."""


class Alarm:
    """Something that is to ring once, at `at` or up to STEP_S before."""

    __slots__ = ("at", "ring")

    def __init__(self, at: float, ring: Callable[[], None]) -> None:
        self.at = at
        self.ring: Callable[[], None] | None = ring
        """None when it has rung or was cancelled."""

    def cancel(self) -> None:
        """It does not ring any more."""
        self.ring = None


class Pacer:
    """The alarms of a process. Times are those of the event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._alarms: list[tuple[float, int, Alarm]] = []
        self._count = 0
        self._ringing = False
        self._timer: asyncio.Handle | None = None
        self._timer_at = 0.0

    def call_at(self, at: float, ring: Callable[[], None]) -> Alarm:
        """Call `ring`, which must not raise, at this time, from the event loop."""
        alarm = Alarm(at, ring)
        self._count += 1
        heapq.heappush(self._alarms, (at, self._count, alarm))
        if not self._ringing and (self._timer is None or at < self._timer_at):
            self._set_timer()
        return alarm

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._alarms and self._alarms[0][2].ring is None:
            heapq.heappop(self._alarms)
        if self._alarms:
            self._timer_at = self._alarms[0][0]
            self._timer = self._loop.call_at(self._timer_at, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._ringing = True
        until = self._loop.time() + STEP_S
        due: list[Alarm] = []
        while self._alarms and self._alarms[0][0] <= until:
            due.append(heapq.heappop(self._alarms)[2])
        # Whoever sets a new alarm that is due already waits for the next turn of the loop.
        for alarm in due:
            if alarm.ring is not None:
                ring, alarm.ring = alarm.ring, None
                ring()
        self._ringing = False
        self._set_timer()
