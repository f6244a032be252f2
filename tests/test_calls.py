"""The calls of a process, and the one task that watches them."""

import asyncio
import gc
import weakref

import pytest

from app.calls import Calls


class Call:
    """Goes on until it was looked at."""

    def __init__(self) -> None:
        self.seen = asyncio.Event()

    async def run(self) -> None:
        await self.seen.wait()

    def watch(self, now: float) -> None:
        self.seen.set()


async def test_a_call_that_has_ended_is_kept_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.calls.WATCH_PERIOD_S", 0.001)
    async with asyncio.TaskGroup() as tasks:
        calls = Calls[Call](tasks)
        watching = tasks.create_task(calls.watch())
        call = Call()
        ended = weakref.ref(call)
        await calls.start(call, call.run())
        del call
        # The watch sleeps now: it has nothing to do any more.
        await asyncio.sleep(0)
        gc.collect()
        assert ended() is None
        monkeypatch.setattr("app.calls.WATCH_PERIOD_S", 60)
        watching.cancel()
