"""The threads for model work: what is due first is done first, and nothing is lost."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError

import pytest

from voicelive_emulator.workers import DeadlinePool, Workers


@pytest.fixture
def pool() -> Iterator[DeadlinePool]:
    made = DeadlinePool(1, "test")
    yield made
    made.close()


def test_what_is_due_first_is_done_first(pool: DeadlinePool) -> None:
    busy, go_on = threading.Event(), threading.Event()
    done: list[str] = []

    def occupy() -> None:
        busy.set()
        go_on.wait(10)

    pool.submit(0.0, occupy)
    assert busy.wait(10)
    jobs = [
        pool.submit(due, done.append, name) for due, name in [(3.0, "late"), (1.0, "soon"), (1.0, "next")]
    ]
    go_on.set()
    for job in jobs:
        job.result(10)
    assert done == ["soon", "next", "late"]


def test_a_failure_goes_to_who_waits(pool: DeadlinePool) -> None:
    with pytest.raises(ZeroDivisionError):
        pool.submit(0.0, lambda: 1 // 0).result(10)
    assert pool.submit(0.0, lambda: "alive").result(10) == "alive"


def test_what_is_cancelled_or_left_at_the_end_never_runs() -> None:
    pool = DeadlinePool(1, "test")
    busy, go_on = threading.Event(), threading.Event()
    done: list[str] = []

    def occupy() -> None:
        busy.set()
        go_on.wait(10)

    occupied = pool.submit(0.0, occupy)
    assert busy.wait(10)
    cancelled = pool.submit(1.0, done.append, "cancelled")
    assert cancelled.cancel()
    left = pool.submit(2.0, done.append, "left")
    pool.close()
    go_on.set()
    occupied.result(10)
    with pytest.raises(CancelledError):
        left.result(10)
    pool.join(10)
    assert done == []


async def test_results_come_back_to_the_loop() -> None:
    workers = Workers()
    try:
        results = await asyncio.gather(workers.hear(str, 1), workers.run(0.0, str, 2))
    finally:
        await workers.close()
    assert tuple(results) == ("1", "2")
