"""One timer for all alarms."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from app.pacer import STEP_S, Pacer


class FakeLoop:
    """An event loop's clock and timers; time moves only when told to."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[FakeTimer] = []
        self.set = 0

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, ring: Callable[[], None]) -> "FakeTimer":
        self.set += 1
        timer = FakeTimer(self, at, ring)
        self.timers.append(timer)
        return timer

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        while self.timers and (timer := min(self.timers, key=lambda timer: timer.at)).at <= until:
            self.timers.remove(timer)
            self.now = max(self.now, timer.at)
            timer.ring()
        self.now = until


class FakeTimer:
    """It does not say when it is due, as uvloop's do not for what is due already."""

    def __init__(self, loop: FakeLoop, at: float, ring: Callable[[], None]) -> None:
        self.loop = loop
        self.at = at
        self.ring = ring

    def cancel(self) -> None:
        if self in self.loop.timers:
            self.loop.timers.remove(self)


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> FakeLoop:
    fake = FakeLoop()
    running: Any = fake
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: running)
    return fake


def test_every_alarm_rings_once_and_at_its_time(loop: FakeLoop) -> None:
    pacer, rung = Pacer(), list[tuple[str, float]]()
    for name, at in (("c", 103.0), ("a", 101.0), ("b", 102.0)):
        pacer.call_at(at, lambda name=name: rung.append((name, loop.now)))  # type: ignore[misc]
    loop.advance(10)
    assert rung == [("a", 101.0), ("b", 102.0), ("c", 103.0)]
    assert loop.timers == []


def test_there_is_one_timer_for_all_and_none_for_none(loop: FakeLoop) -> None:
    pacer = Pacer()
    assert loop.timers == []
    alarms = [pacer.call_at(101.0 + number, lambda: None) for number in range(200)]
    assert len(loop.timers) == loop.set == 1
    for alarm in alarms:
        alarm.cancel()
    loop.advance(1)
    assert loop.timers == []


def test_what_is_due_together_rings_together(loop: FakeLoop) -> None:
    pacer, rung = Pacer(), list[float]()
    for number in range(50):
        pacer.call_at(101.0 + number * STEP_S / 50, lambda: rung.append(loop.now))
    loop.advance(5)
    assert rung == [101.0] * 50
    assert loop.set == 1


def test_a_cancelled_alarm_never_rings_also_when_another_cancels_it_in_its_turn(loop: FakeLoop) -> None:
    pacer, rung = Pacer(), list[str]()
    second = pacer.call_at(101.0, lambda: rung.append("second"))
    pacer.call_at(100.5, second.cancel)
    third = pacer.call_at(102.0, lambda: rung.append("third"))
    fourth = pacer.call_at(102.0, lambda: rung.append("fourth"))
    pacer.call_at(101.9999, fourth.cancel)
    assert third.ring is not None
    loop.advance(5)
    assert rung == ["third"]


def test_an_alarm_that_is_set_while_one_rings_waits_for_the_next_turn(loop: FakeLoop) -> None:
    pacer, rung = Pacer(), list[float]()

    def again() -> None:
        rung.append(loop.now)
        if len(rung) < 3:
            pacer.call_at(0.0, again)

    pacer.call_at(101.0, again)
    loop.advance(1.5)
    assert rung == [101.0] * 3
    assert loop.set == 3


def test_with_the_loop_of_production() -> None:
    async def rings() -> list[str]:
        pacer, rung, loop = Pacer(), list[str](), asyncio.get_running_loop()
        done = asyncio.Event()
        for name, after_s in (("later", 0.05), ("soon", 0.01), ("overdue", -1.0), ("now", 0.0)):
            pacer.call_at(loop.time() + after_s, lambda name=name: rung.append(name))  # type: ignore[misc]
        pacer.call_at(loop.time() + 0.06, done.set)
        async with asyncio.timeout(10):
            await done.wait()
        return rung

    assert uvloop.run(rings()) == ["overdue", "now", "soon", "later"]
