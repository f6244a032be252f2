"""The supervision of workers in virtual time."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.fleet import (
    END_WAIT_S,
    FIRST_DELAY_S,
    LIVED_LONG_S,
    MAX_DELAY_S,
    START_WAIT_S,
    Finish,
    Fleet,
    Kill,
    Opened,
    Start,
    Step,
    Tell,
    Word,
)


def opened(size: int = 2) -> Fleet:
    fleet = Fleet(size, drain_timeout_s=60)
    fleet.begin(0)
    for number in range(1, size + 1):
        fleet.ready(number, 1)
    return fleet


def test_it_opens_when_the_last_worker_is_ready() -> None:
    fleet = Fleet(2, drain_timeout_s=60)
    assert fleet.begin(0) == [Start(1), Start(2)]
    assert fleet.ready(2, 1) == []
    assert fleet.ready(1, 2) == [Tell(1, Word.OPEN), Tell(2, Word.OPEN), Opened()]


@pytest.mark.parametrize(("status", "whole"), [(3, 3), (1, 1), (-9, 1), (0, 1)])
def test_a_worker_that_cannot_start_ends_the_whole_with_its_status(status: int, whole: int) -> None:
    fleet = Fleet(2, drain_timeout_s=60)
    fleet.begin(0)
    fleet.ready(1, 1)
    assert fleet.exited(2, status, 2) == [Tell(1, Word.END)]
    assert fleet.exited(1, 0, 3) == [Finish(whole)]


def test_one_that_dies_is_started_again_and_let_in_at_once() -> None:
    fleet = opened()
    assert fleet.exited(1, -9, 100) == []
    assert fleet.tick(100) == []
    assert fleet.next_wake_at() == 100 + FIRST_DELAY_S
    assert fleet.tick(100 + FIRST_DELAY_S) == [Start(1)]
    assert fleet.ready(1, 102) == [Tell(1, Word.OPEN)]


def test_one_that_dies_early_waits_longer_each_time_and_one_that_lived_long_does_not() -> None:
    fleet, now, delays = opened(), 2.0, []
    for _ in range(10):
        fleet.exited(1, 1, now)
        due_at = fleet.next_wake_at()
        assert due_at is not None
        delays.append(due_at - now)
        now = due_at
        fleet.tick(now)
    assert delays == sorted(delays)
    assert (delays[0], delays[-1]) == (FIRST_DELAY_S, MAX_DELAY_S)
    fleet.ready(1, now)
    fleet.exited(1, 1, now + LIVED_LONG_S)
    assert fleet.next_wake_at() == now + LIVED_LONG_S + FIRST_DELAY_S


def test_a_drain_reaches_all_and_ends_with_the_last() -> None:
    fleet = opened()
    assert fleet.drain(10) == [Tell(1, Word.DRAIN), Tell(2, Word.DRAIN)]
    assert fleet.exited(1, 0, 11) == []
    assert fleet.exited(2, 0, 50) == [Finish(0)]


def test_a_second_signal_is_the_fast_path() -> None:
    fleet = opened()
    fleet.drain(10)
    assert fleet.drain(11) == [Tell(1, Word.END), Tell(2, Word.END)]


def test_a_worker_that_died_is_not_started_while_draining() -> None:
    fleet = opened()
    fleet.exited(1, -9, 9)
    assert fleet.drain(9.1) == [Tell(2, Word.DRAIN)]
    assert fleet.tick(100) == []
    assert fleet.exited(2, 0, 101) == [Finish(0)]


def test_with_nobody_left_a_drain_ends_at_once() -> None:
    fleet = opened(1)
    fleet.exited(1, -9, 9)
    assert fleet.drain(9.1) == [Finish(0)]


@pytest.mark.parametrize(
    ("told", "wait_s"), [(Fleet.end, END_WAIT_S), (Fleet.begin, START_WAIT_S)], ids=["end", "start"]
)
def test_one_that_does_not_obey_is_killed(told: Callable[[Fleet, float], list[Step]], wait_s: float) -> None:
    fleet = Fleet(1, drain_timeout_s=60) if told is Fleet.begin else opened(1)
    told(fleet, 100)
    assert fleet.tick(99 + wait_s) == []
    assert fleet.tick(100 + wait_s) == [Kill(1)]


@given(
    st.lists(
        st.tuples(st.sampled_from(["die", "ready", "tick", "drain", "end"]), st.integers(1, 3)), max_size=60
    )
)
def test_whatever_happens_it_starts_nobody_twice_and_ends_after_a_drain(
    events: list[tuple[str, int]],
) -> None:
    fleet, now = Fleet(3, drain_timeout_s=60), 0.0
    alive: set[int] = set()
    finished = False

    def take(steps: list[Step]) -> None:
        nonlocal finished
        for step in steps:
            if isinstance(step, Start):
                assert step.number not in alive
                alive.add(step.number)
            elif isinstance(step, Tell):
                assert step.number in alive
            elif isinstance(step, Finish):
                assert not alive
                finished = True

    take(fleet.begin(now))
    for event, number in [*events, ("end", 1)]:
        if finished:
            break
        now += 1.0
        match event:
            case "die" if number in alive:
                alive.discard(number)
                take(fleet.exited(number, 1, now))
            case "ready" if number in alive:
                take(fleet.ready(number, now))
            case "tick":
                take(fleet.tick(now))
            case "drain":
                take(fleet.drain(now))
            case "end":
                take(fleet.end(now))
    for number in sorted(alive):
        alive.discard(number)
        take(fleet.exited(number, 0, now))
    assert finished
