"""Second attempts and the circuit breaker, without a network."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import ErrorCode
from app.voicelive.circuit import (
    MIN_ATTEMPTS,
    MISCONFIGURED_AFTER,
    MISCONFIGURED_S,
    OPEN_S,
    WINDOW_S,
    Circuit,
)
from app.voicelive.opening import MAX_RETRY_AFTER_S, PAUSE_S, OpeningFailedError, attempt_twice, refused

LOST = ErrorCode.UPSTREAM_LOST


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def fails(code: ErrorCode = LOST) -> str:
    raise OpeningFailedError(code, "test")


async def works() -> str:
    return "session"


def is_open(circuit: Circuit) -> bool:
    return circuit.retry_after_s is not None


async def attempt(circuit: Circuit, code: ErrorCode | None) -> ErrorCode | None:
    """One attempt that fails with this code, or works; the code that came out."""
    try:
        await circuit.attempt(works if code is None else lambda: fails(code))
    except OpeningFailedError as failed:
        return failed.code
    return None


class TestSecondAttempt:
    @pytest.mark.parametrize(
        ("status", "retry_after_s", "has_new_token", "code", "again"),
        [
            (401, None, True, ErrorCode.UPSTREAM_AUTH, True),
            (401, None, False, ErrorCode.UPSTREAM_AUTH, False),
            (403, None, True, ErrorCode.UPSTREAM_AUTH, False),
            (404, None, False, ErrorCode.UPSTREAM_CONFIG, False),
            (429, 1.5, False, ErrorCode.UPSTREAM_BUSY, True),
            (429, 2.5, False, ErrorCode.UPSTREAM_BUSY, False),
            (429, None, False, ErrorCode.UPSTREAM_BUSY, False),
            (500, None, False, LOST, True),
            (503, 30, False, LOST, True),
            (302, None, False, LOST, True),
        ],
    )
    def test_only_where_it_is_safe(
        self, status: int, retry_after_s: float | None, has_new_token: bool, code: ErrorCode, again: bool
    ) -> None:
        failed = refused(status, "test", retry_after_s, has_new_token=has_new_token)
        assert failed.code is code
        assert (failed.again_in_s is not None) is again

    @given(status=st.integers(100, 999), retry_after_s=st.none() | st.floats(0, 1e9))
    def test_the_pause_is_short(self, status: int, retry_after_s: float | None) -> None:
        again_in_s = refused(status, "test", retry_after_s, has_new_token=True).again_in_s
        assert again_in_s is None or 0 <= again_in_s <= max(MAX_RETRY_AFTER_S, PAUSE_S[1])

    async def test_it_is_the_last_one(self) -> None:
        made = 0

        async def always() -> str:
            nonlocal made
            made += 1
            raise OpeningFailedError(LOST, f"attempt {made}", again_in_s=0.0)

        with pytest.raises(OpeningFailedError, match="attempt 2"):
            await attempt_twice(always, lambda: 10.0)
        assert made == 2

    async def test_there_must_be_time_for_it(self) -> None:
        made = 0

        async def always() -> str:
            nonlocal made
            made += 1
            raise OpeningFailedError(LOST, f"attempt {made}", again_in_s=0.5)

        with pytest.raises(OpeningFailedError, match="attempt 1"):
            await attempt_twice(always, lambda: 0.4)

    async def test_other_errors_are_not_for_it(self) -> None:
        with pytest.raises(ZeroDivisionError):
            await attempt_twice(self.divide, lambda: 10.0)

    async def divide(self) -> float:
        return 1 / 0


class TestCircuit:
    async def opened(self, clock: Clock) -> Circuit:
        circuit = Circuit(clock)
        for _ in range(MIN_ATTEMPTS):
            assert not is_open(circuit)
            assert await attempt(circuit, LOST) is LOST
            clock.now += 0.5
        assert is_open(circuit)
        return circuit

    async def test_five_failures_in_ten_seconds_open_it(self) -> None:
        circuit = await self.opened(Clock())
        with pytest.raises(OpeningFailedError) as refusal:
            await circuit.attempt(works)
        assert refusal.value.code is ErrorCode.UPSTREAM_BUSY
        assert refusal.value.retry_after_s is not None
        assert 0 < refusal.value.retry_after_s <= OPEN_S

    async def test_failures_that_are_far_apart_do_not(self) -> None:
        clock = Clock()
        circuit = Circuit(clock)
        for _ in range(20):
            assert await attempt(circuit, LOST) is LOST
            clock.now += WINDOW_S / (MIN_ATTEMPTS - 2)
        assert not is_open(circuit)

    @pytest.mark.parametrize(
        "code", [ErrorCode.UPSTREAM_AUTH, ErrorCode.UPSTREAM_CONFIG, ErrorCode.UPSTREAM_BUSY]
    )
    async def test_what_the_service_refuses_does_not(self, code: ErrorCode) -> None:
        circuit = Circuit(Clock())
        for _ in range(20):
            assert await attempt(circuit, code) is code
        assert not is_open(circuit)

    async def test_one_probe_decides(self) -> None:
        clock = Clock()
        circuit = await self.opened(clock)
        clock.now += OPEN_S
        assert not is_open(circuit)
        probing, answer = asyncio.Event(), asyncio.Event()

        async def slow() -> str:
            probing.set()
            await answer.wait()
            return "session"

        async with asyncio.TaskGroup() as tasks:
            probe = tasks.create_task(circuit.attempt(slow))
            await probing.wait()
            assert is_open(circuit)
            assert await attempt(circuit, None) is ErrorCode.UPSTREAM_BUSY
            answer.set()
        assert probe.result() == "session"
        assert not is_open(circuit)
        assert await attempt(circuit, None) is None

    async def test_a_probe_that_fails_opens_it_again(self) -> None:
        clock = Clock()
        circuit = await self.opened(clock)
        clock.now += OPEN_S
        assert await attempt(circuit, LOST) is LOST
        assert circuit.retry_after_s == OPEN_S

    async def test_a_probe_whose_caller_leaves_decides_nothing_and_blocks_nobody(self) -> None:
        clock = Clock()
        circuit = await self.opened(clock)
        clock.now += OPEN_S
        probing = asyncio.Event()

        async def for_ever() -> str:
            probing.set()
            await asyncio.Event().wait()
            return "never"

        async with asyncio.TaskGroup() as tasks:
            probe = tasks.create_task(circuit.attempt(for_ever))
            await probing.wait()
            probe.cancel()
        assert not is_open(circuit)
        assert await attempt(circuit, None) is None
        assert await attempt(circuit, None) is None

    async def test_our_own_faults_are_not_the_services(self) -> None:
        circuit = Circuit(Clock())

        async def bug() -> str:
            raise ZeroDivisionError

        for _ in range(20):
            with pytest.raises(ZeroDivisionError):
                await circuit.attempt(bug)
        assert not is_open(circuit)

    async def test_refused_three_times_in_a_row_it_is_misconfigured_for_a_while(self) -> None:
        clock = Clock()
        circuit = Circuit(clock)
        seen = []
        for _ in range(MISCONFIGURED_AFTER):
            seen.append(circuit.is_misconfigured)
            await attempt(circuit, ErrorCode.UPSTREAM_CONFIG)
        seen.append(circuit.is_misconfigured)
        clock.now += MISCONFIGURED_S
        seen.append(circuit.is_misconfigured)
        await attempt(circuit, ErrorCode.UPSTREAM_CONFIG)
        seen.append(circuit.is_misconfigured)
        await attempt(circuit, None)
        seen.append(circuit.is_misconfigured)
        assert seen == [False, False, False, True, False, True, False]
