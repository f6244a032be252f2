"""The threads in which models run: few, for all sessions, and what is needed first is done first.

Audio is made faster than it is heard, so most of it can wait: work is taken in the order in which its
result is due. The next sentence of a long answer does not hold up the first word of another one.
"""

import asyncio
import itertools
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_SPEECH_THREADS: Final = 2
_JOIN_TIMEOUT_S: Final = 3.0
_STOP: Final = float("-inf")


@dataclass(order=True, slots=True)
class _Job:
    due: float
    number: int
    future: "Future[Any]" = field(compare=False)
    work: Callable[[], Any] = field(compare=False)


class DeadlinePool:
    """Threads that take the job which is due first. Jobs of the same time are done in order.

    A session has a handful of jobs at most, so the queue is as bounded as the number of sessions.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._jobs: queue.PriorityQueue[_Job] = queue.PriorityQueue()
        self._numbers = itertools.count()
        self._threads = [
            threading.Thread(target=self._run, name=f"{name}-{index}", daemon=True)
            for index in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, due: float, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> "Future[R]":
        """Run `function` in a thread. A future that is cancelled in time never runs."""
        future: Future[R] = Future()
        self._jobs.put(_Job(due, next(self._numbers), future, lambda: function(*args, **kwargs)))
        return future

    def close(self) -> None:
        """Stop the threads after what they are doing; what has not begun is cancelled."""
        for _ in self._threads:
            self.submit(_STOP, lambda: None)

    def join(self, timeout_s: float) -> None:
        """Wait until the threads have ended, each for this long at most."""
        for thread in self._threads:
            thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            job = self._jobs.get()
            if job.due == _STOP:
                self._drop_rest()
                return
            if not job.future.set_running_or_notify_cancel():
                continue
            try:
                result = job.work()
            except BaseException as error:  # noqa: BLE001 (whatever it is, it belongs to who waits)
                job.future.set_exception(error)
            else:
                job.future.set_result(result)

    def _drop_rest(self) -> None:
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return
            if job.due == _STOP:
                self._jobs.put(job)
                return
            job.future.cancel()


class Workers:
    """The threads for all model work of a process.

    Voice activity has one of its own, so that an interruption is heard while sentences are being made.
    """

    def __init__(self) -> None:
        self._hearing = DeadlinePool(1, "hearing")
        self._speech = DeadlinePool(_SPEECH_THREADS, "speech")

    def hear(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> "asyncio.Future[R]":
        """Run a short step of voice activity detection."""
        return asyncio.wrap_future(self._hearing.submit(0.0, function, *args, **kwargs))

    def run(
        self, due: float, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> "asyncio.Future[R]":
        """Run recognition, synthesis or a judgement on a turn, whose result is due at a time of the loop."""
        return asyncio.wrap_future(self._speech.submit(due, function, *args, **kwargs))

    async def close(self) -> None:
        """End the threads; waits for what they are doing, for some seconds at most."""
        for pool in (self._hearing, self._speech):
            pool.close()
        for pool in (self._hearing, self._speech):
            await asyncio.to_thread(pool.join, _JOIN_TIMEOUT_S)
