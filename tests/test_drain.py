"""The gateway as a process that is told to stop: live calls go on, new ones are refused, all are told."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiohttp
import pytest

from app.config import Settings
from tests import drain_run
from tests.gateway import RawCaller, RunningGateway
from tests.polling import until
from tests.processes import PYTHON_APP_MAIN, VOICE_LIVE_SERVE, GatewayProcess, gateway_process
from tests.scripted_voice_live import ScriptedSession, scripted_voice_live

EXIT_WAIT_S = 90
FAST_S = 30.0
"""Thirty times what it takes on an idle machine."""


async def quiet(session: ScriptedSession) -> None:
    await session.configure()
    await session.until_closed()


def variables(settings: Settings, **more: object) -> dict[str, str]:
    """These settings as a process gets them."""
    return {
        "AZURE_VOICELIVE_ENDPOINT": settings.endpoint,
        "AZURE_VOICELIVE_MODEL": "gpt-4.1",
        "AZURE_VOICELIVE_API_KEY": "key-canary",
        "AZURE_VOICELIVE_VOICE_TYPE": "azure-standard",
        "AZURE_VOICELIVE_VOICE_NAME": "en-US-AvaNeural",
    } | {name.upper(): str(value) for name, value in more.items()}


@asynccontextmanager
async def process_of(
    settings: Settings, command: Sequence[str] = PYTHON_APP_MAIN, **more: object
) -> AsyncIterator[tuple[GatewayProcess, RunningGateway]]:
    with gateway_process(variables(settings, **more), command) as process:
        async with aiohttp.ClientSession() as http:
            yield process, RunningGateway(process.address, http)


async def exit_status(process: GatewayProcess) -> int:
    return await asyncio.to_thread(process.process.wait, EXIT_WAIT_S)


async def readiness(gateway: RunningGateway) -> int:
    async with gateway.http.get(f"{gateway.address}/ready") as response:
        return response.status


def assert_told_and_closed(caller: RawCaller, close_code: int | None) -> None:
    assert close_code == 1012
    terminal = [m for m in caller.messages if m["type"] == "session_ended" or m.get("fatal")]
    assert terminal == [caller.messages[-1]]
    assert terminal[0]["code"] == "server_draining"
    assert terminal[0]["retryable"] is True


async def test_speaking_calls_are_not_disturbed_and_then_closed_in_order() -> None:
    calls, drain_s = 12, 4
    seen = await drain_run.run(calls, drain_s)
    assert (seen.refused_status, seen.retry_after) == (503, "1")
    assert (seen.ready_status, seen.health_status) == (503, 200)
    assert seen.refused_after_s < drain_s
    assert len(seen.warned_s) == calls
    assert max(seen.warned_s) < drain_s
    assert min(seen.closed_s) > drain_s - 0.1
    for call in seen.calls:
        assert call.close_code == 1012
        assert [message.get("code") for message in call.terminal] == ["server_draining"]
        assert call.seconds_left is not None
        assert 0 < call.seconds_left <= drain_s
    assert seen.exit_status == 0
    assert seen.exit_s < drain_s + FAST_S
    assert seen.gap_during_s < seen.gap_before_s * 5 + 2.0


@pytest.mark.parametrize(
    ("command", "how"),
    [(PYTHON_APP_MAIN, signal.SIGINT), (VOICE_LIVE_SERVE, signal.SIGTERM)],
    ids=["app.main", "serve"],
)
async def test_without_a_call_it_exits_at_once(command: Sequence[str], how: signal.Signals) -> None:
    async with scripted_voice_live(quiet) as service:
        async with process_of(service.settings(), command) as (process, _):
            signalled_at = time.monotonic()
            process.process.send_signal(how)
            assert await exit_status(process) == 0
            assert time.monotonic() - signalled_at < FAST_S


async def test_it_exits_when_the_last_call_has_ended() -> None:
    async with scripted_voice_live(quiet) as service:
        async with process_of(service.settings()) as (process, gateway), gateway.caller() as caller:
            await caller.until("session_started")
            process.process.send_signal(signal.SIGTERM)
            ending = await caller.until("session_ending", reason="drain")
            assert 1790 <= ending["seconds_left"] <= 1800
            assert await readiness(gateway) == 503
            await caller.send(type="end")
            assert await caller.until_closed() == 1000
            assert caller.messages[-1] == {"type": "session_ended", "reason": "ended"}
            assert await exit_status(process) == 0


@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGTERM, signal.SIGTERM]])
async def test_the_fast_path_closes_every_call_at_once(signals: list[signal.Signals]) -> None:
    left = 0

    async def counts(session: ScriptedSession) -> None:
        nonlocal left
        await quiet(session)
        left += 1

    async with scripted_voice_live(counts) as service:
        async with process_of(service.settings()) as (process, gateway), contextlib.AsyncExitStack() as stack:
            callers = [await stack.enter_async_context(gateway.caller()) for _ in range(10)]
            for caller in callers:
                await caller.until("session_started")
            signalled_at = time.monotonic()
            process.process.send_signal(signals[0])
            for another in signals[1:]:
                await callers[0].until("session_ending", reason="drain")
                process.process.send_signal(another)
            for caller in callers:
                assert_told_and_closed(caller, await caller.until_closed())
            assert await exit_status(process) == 0
            assert time.monotonic() - signalled_at < FAST_S
        assert left == 10


async def test_calls_that_are_connecting_are_served_or_refused() -> None:
    """Fifty call when the signal comes; whoever was accepted has a call until the deadline."""
    answers: asyncio.Queue[str] = asyncio.Queue()

    async def attempt(gateway: RunningGateway) -> str:
        try:
            async with gateway.caller() as caller:
                answers.put_nowait("accepted")
                code = await caller.until_closed()
                assert_told_and_closed(caller, code)
                assert caller.of_type("session_started")
                return "served"
        except aiohttp.WSServerHandshakeError as refused:
            answers.put_nowait("refused")
            return f"refused with {refused.status}"

    async with scripted_voice_live(quiet) as service:
        async with process_of(service.settings(), drain_timeout_s=3) as (process, gateway):
            async with gateway.caller() as first, asyncio.TaskGroup() as tasks:
                await first.until("session_started")
                attempts = [tasks.create_task(attempt(gateway)) for _ in range(50)]
                assert await answers.get() == "accepted"
                process.process.send_signal(signal.SIGTERM)
                while await answers.get() == "accepted":
                    attempts.append(tasks.create_task(attempt(gateway)))
                assert_told_and_closed(first, await first.until_closed())
            outcomes = {task.result() for task in attempts}
            assert outcomes <= {"served", "refused with 503"}
            assert "refused with 503" in outcomes
            assert await exit_status(process) == 0


async def test_a_call_whose_session_is_still_being_opened_goes_on() -> None:
    async with scripted_voice_live(quiet) as service:
        service.hang = asyncio.Event()
        async with process_of(service.settings()) as (process, gateway), gateway.caller() as caller:
            async with asyncio.timeout(20):
                await service.called.wait()
            process.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(20):
                while await readiness(gateway) != 503:
                    pass
            service.hang.set()
            await caller.until("session_started")
            await caller.until("session_ending", reason="drain")
            await caller.send(type="end")
            assert await caller.until_closed() == 1000
            assert await exit_status(process) == 0


async def test_a_lost_call_may_come_back_while_draining() -> None:
    async with scripted_voice_live(quiet) as service:
        async with process_of(service.settings(), resume_window_s=20) as (process, gateway):
            async with gateway.caller() as caller:
                token = (await caller.until("session_started"))["resume_token"]
                process.process.send_signal(signal.SIGTERM)
                await caller.until("session_ending", reason="drain")
                caller.break_connection()
            async with gateway.caller(protocols=["voice-live.v1", f"resume.{token}"]) as caller:
                assert (await caller.until("session_started"))["resumed"] is True
                await caller.until("session_ending", reason="drain")
                await caller.send(type="end")
                assert await caller.until_closed() == 1000
            assert await exit_status(process) == 0


async def test_a_gateway_that_is_killed_leaves_no_session_that_costs_money() -> None:
    async with scripted_voice_live(quiet) as service:
        async with process_of(service.settings()) as (process, gateway), contextlib.AsyncExitStack() as stack:
            callers = [await stack.enter_async_context(gateway.caller()) for _ in range(5)]
            for caller in callers:
                await caller.until("session_started")
            assert service.sessions == 5
            process.process.send_signal(signal.SIGKILL)
            assert {await caller.until_closed() for caller in callers} == {1006}
            await until(lambda: service.sessions == 0)
            assert await exit_status(process) == -signal.SIGKILL
