"""The calls of this process: they live in its task group, and a client that was lost finds its call again."""

import asyncio
import secrets
from collections.abc import Coroutine
from typing import Any, Final, Generic, Protocol, TypeVar

WATCH_PERIOD_S: Final = 0.5
WATCHED_AT_ONCE: Final = 20
"""So many calls are looked at before the event loop gets its turn."""


class Watched(Protocol):
    """What can be watched."""

    def watch(self, now: float) -> None:
        """Look for what has taken too long. Never waits and never raises."""


Call = TypeVar("Call", bound=Watched)


class Calls(Generic[Call]):
    """Owns the tasks of all calls, and the tokens with which one can be resumed."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        self._running: dict[asyncio.Task[None], Call] = {}
        self._resumable: dict[str, Call] = {}

    @property
    def live(self) -> list[Call]:
        """The calls that are running now, the oldest first."""
        return list(self._running.values())

    def start(self, call: Call, running: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run a call in the process's task group; `running` is what it does."""
        task = self._tasks.create_task(running)
        self._running[task] = call
        task.add_done_callback(self._running.pop)
        return task

    async def watch(self) -> None:
        """Look at every call once in a while, one task for all of them. Runs until it is cancelled."""
        while True:
            await asyncio.sleep(WATCH_PERIOD_S)
            await self._look_at_each()

    async def _look_at_each(self) -> None:
        """A coroutine of its own, so that between two looks nothing keeps a call that has ended."""
        clock = asyncio.get_running_loop().time
        for number, call in enumerate(self.live, start=1):
            call.watch(clock())
            if number % WATCHED_AT_ONCE == 0:
                await asyncio.sleep(0)

    def cancel(self) -> None:
        """The process ends now: cut every call that is left."""
        for task in self._running:
            task.cancel()

    def offer(self, call: Call) -> str:
        """A new token, for one return to this call."""
        token = secrets.token_urlsafe(32)
        self._resumable[token] = call
        return token

    def claim(self, token: str) -> Call | None:
        """The call that this token was offered for, once; None for a token that is unknown or used."""
        return self._resumable.pop(token, None)

    def withdraw(self, token: str) -> None:
        """The call is over: its token opens nothing any more."""
        self._resumable.pop(token, None)
