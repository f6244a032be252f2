"""Several worker processes as one gateway: which one starts, is told, or ends when. Pure.

The gateway opens when every worker is ready. A worker that dies is started again, ever later while it dies
early; one that cannot even start the first time ends the whole, because something is wrong with all.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

FIRST_DELAY_S: Final = 0.5
MAX_DELAY_S: Final = 30.0
LIVED_LONG_S: Final = 60.0
"""Who lived so long begins with FIRST_DELAY_S again."""

END_WAIT_S: Final = 15.0
"""A worker that was told to end and has not ended by then is killed."""

DRAIN_GRACE_S: Final = 60.0
"""The same of a drain, after its time is up."""

START_WAIT_S: Final = 120.0
"""So is one that is not ready by then."""


class Word(Enum):
    """What a worker is told."""

    OPEN = b"open"
    DRAIN = b"drain"
    END = b"end"


@dataclass(frozen=True, slots=True)
class Start:
    """Start this worker."""

    number: int


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell this worker."""

    number: int
    word: Word


@dataclass(frozen=True, slots=True)
class Kill:
    """End this worker by force."""

    number: int


@dataclass(frozen=True, slots=True)
class Opened:
    """Every worker is ready: the gateway takes calls."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The gateway is over."""

    status: int


Step = Start | Tell | Kill | Opened | Finish


@dataclass(slots=True)
class _Worker:
    number: int
    alive: bool = False
    ready_at: float | None = None
    early_deaths: int = 0
    start_at: float | None = None
    kill_at: float | None = None


@dataclass
class Fleet:
    """The workers 1 to `size`. Times are monotonic seconds."""

    size: int
    drain_timeout_s: float
    _workers: dict[int, _Worker] = field(init=False)
    _opened: bool = field(default=False, init=False)
    _ending: Word | None = field(default=None, init=False)
    _status: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._workers = {number: _Worker(number) for number in range(1, self.size + 1)}

    def begin(self, now: float) -> list[Step]:
        """Start them all."""
        return [self._start(worker, now) for worker in self._workers.values()]

    def ready(self, number: int, now: float) -> list[Step]:
        """This worker can take calls."""
        worker = self._workers[number]
        worker.ready_at = now
        if self._ending is not None:
            return []
        worker.kill_at = None
        if self._opened:
            return [Tell(number, Word.OPEN)]
        if any(each.ready_at is None for each in self._workers.values()):
            return []
        self._opened = True
        return [*(Tell(each, Word.OPEN) for each in self._workers), Opened()]

    def exited(self, number: int, status: int, now: float) -> list[Step]:
        """This worker is gone."""
        worker = self._workers[number]
        lived_long = worker.ready_at is not None and now - worker.ready_at >= LIVED_LONG_S
        worker.alive, worker.ready_at, worker.kill_at = False, None, None
        if self._ending is not None:
            self._status = self._status or int(status != 0)
            return self._finish()
        if not self._opened:
            self._status = status if status > 0 else 1
            return [*self._tell_all(Word.END, now), *self._finish()]
        worker.early_deaths = 0 if lived_long else worker.early_deaths + 1
        worker.start_at = now + min(FIRST_DELAY_S * 2 ** max(0, worker.early_deaths - 1), MAX_DELAY_S)
        return []

    def drain(self, now: float) -> list[Step]:
        """Take no new calls, and end when the live ones have ended. Asked again: `end`."""
        return self.end(now) if self._ending is not None else self._tell_all(Word.DRAIN, now)

    def end(self, now: float) -> list[Step]:
        """Close every call now. Asked again: do not even wait for their goodbyes."""
        return self._tell_all(Word.END, now)

    def tick(self, now: float) -> list[Step]:
        """What is due now."""
        steps: list[Step] = []
        for worker in self._workers.values():
            if worker.start_at is not None and now >= worker.start_at:
                steps.append(self._start(worker, now))
            if worker.kill_at is not None and now >= worker.kill_at:
                worker.kill_at = None
                steps.append(Kill(worker.number))
        return steps

    def next_wake_at(self) -> float | None:
        """When `tick` has something to do."""
        due = [at for each in self._workers.values() for at in (each.start_at, each.kill_at)]
        return min((at for at in due if at is not None), default=None)

    def _start(self, worker: _Worker, now: float) -> Start:
        worker.alive, worker.start_at = True, None
        worker.kill_at = now + START_WAIT_S
        return Start(worker.number)

    def _tell_all(self, word: Word, now: float) -> list[Step]:
        self._ending = word
        told: list[Step] = []
        for worker in self._workers.values():
            worker.start_at = None
            if worker.alive:
                wait_s = self.drain_timeout_s + DRAIN_GRACE_S if word is Word.DRAIN else END_WAIT_S
                worker.kill_at = now + wait_s
                told.append(Tell(worker.number, word))
        return told or self._finish()

    def _finish(self) -> list[Step]:
        return [] if any(worker.alive for worker in self._workers.values()) else [Finish(self._status)]
