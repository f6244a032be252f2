"""The drain in virtual time: who is closed when, and when the process gives up."""

from hypothesis import given
from hypothesis import strategies as st

from app.lifecycle import CLOSES_PER_S, GOODBYE_S, CloseCalls, Exit, Lifecycle, Phase, WarnCalls

TICK_S = 0.1


class Process:
    """A lifecycle and its calls: some hang up by themselves, the closed ones when they have said goodbye."""

    def __init__(self, drain_timeout_s: float = 60, calls: int = 0) -> None:
        self.lifecycle = Lifecycle(drain_timeout_s)
        self.lifecycle.become_ready()
        self.lifecycle.live_calls = calls
        self.now = 1000.0
        self.warned: list[float] = []
        self.closed_at: list[float] = []
        self.exit: Exit | None = None
        self.stubborn = False

    def run(self, seconds: float) -> "Process":
        until = self.now + seconds
        while self.now < until and self.exit is None:
            for step in self.lifecycle.tick(self.now):
                match step:
                    case WarnCalls(ends_at):
                        self.warned.append(ends_at)
                    case CloseCalls(at_most):
                        left = self.lifecycle.live_calls
                        number = left if at_most is None else min(at_most, left)
                        self.closed_at += [self.now] * number
                        if not self.stubborn:
                            self.lifecycle.live_calls -= number
                    case Exit():
                        self.exit = step
            self.now += TICK_S
        return self


def test_without_a_call_it_exits_at_once() -> None:
    process = Process(calls=0)
    process.lifecycle.drain(process.now)
    assert process.run(0.1).exit == Exit(forced=False)


def test_calls_go_on_until_they_end_by_themselves() -> None:
    process = Process(60, calls=2)
    process.lifecycle.drain(process.now)
    process.run(50)
    assert process.lifecycle.phase is Phase.DRAINING
    assert process.warned == [1060]
    assert (process.closed_at, process.exit) == ([], None)
    process.lifecycle.live_calls = 0
    assert process.run(0.2).exit == Exit(forced=False)


def test_at_the_deadline_calls_are_closed_in_batches() -> None:
    process = Process(60, calls=200)
    process.lifecycle.drain(process.now)
    process.run(70)
    assert process.exit == Exit(forced=False)
    assert min(process.closed_at) >= 1060
    assert max(process.closed_at) <= 1060 + 200 / CLOSES_PER_S + 5 * TICK_S


@given(
    calls=st.integers(1, 200),
    drain_timeout_s=st.integers(0, 100),
    tick_s=st.floats(0.01, 1.0),
)
def test_no_second_sees_more_than_the_batch(calls: int, drain_timeout_s: int, tick_s: float) -> None:
    lifecycle = Lifecycle(drain_timeout_s)
    lifecycle.become_ready()
    lifecycle.live_calls = calls
    lifecycle.drain(0)
    now, closed_at = 0.0, []
    while lifecycle.live_calls:
        for step in lifecycle.tick(now):
            assert not isinstance(step, Exit)
            if isinstance(step, CloseCalls):
                assert now >= drain_timeout_s
                number = min(step.at_most or 0, lifecycle.live_calls)
                lifecycle.live_calls -= number
                closed_at += [now] * number
        now += tick_s
    assert len(closed_at) == calls
    for first in closed_at:
        within = sum(1 for at in closed_at if first <= at < first + 1)
        assert within <= CLOSES_PER_S * (1 + tick_s) + 1
    assert lifecycle.tick(now) == [Exit(forced=False)]


def test_calls_that_do_not_end_are_abandoned() -> None:
    process = Process(60, calls=50)
    process.stubborn = True
    process.lifecycle.drain(process.now)
    process.run(100)
    assert process.exit == Exit(forced=True)
    assert process.now <= 1060 + 50 / CLOSES_PER_S + GOODBYE_S + 5 * TICK_S


def test_a_second_signal_closes_all_at_once() -> None:
    process = Process(1800, calls=200)
    process.lifecycle.drain(process.now)
    process.run(10)
    process.lifecycle.drain(process.now)
    process.run(1)
    assert process.exit == Exit(forced=False)
    assert len(set(process.closed_at)) == 1


def test_ending_at_once_waits_for_goodbyes_but_not_for_ever() -> None:
    process = Process(1800, calls=3)
    process.stubborn = True
    process.lifecycle.end_now(process.now)
    process.run(GOODBYE_S - 0.5)
    assert process.exit is None
    process.run(1)
    assert process.exit == Exit(forced=True)


def test_a_third_signal_does_not_wait() -> None:
    process = Process(1800, calls=3)
    process.stubborn = True
    process.lifecycle.drain(process.now)
    process.lifecycle.end_now(process.now)
    process.lifecycle.end_now(process.now)
    assert process.run(0.1).exit == Exit(forced=True)


def test_a_drain_during_start_up_is_not_forgotten() -> None:
    lifecycle = Lifecycle(60)
    lifecycle.drain(0)
    lifecycle.become_ready()
    assert lifecycle.phase is Phase.DRAINING
    assert lifecycle.tick(0) == [Exit(forced=False)]
