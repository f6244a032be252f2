"""Several workers on one port, as processes: they share the calls, outlive each other, and drain together."""

import asyncio
import contextlib
import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from app.config import SettingsError, settings_from
from tests.gateway import RunningGateway
from tests.processes import PROJECT, PYTHON_APP_MAIN, GatewayProcess
from tests.scripted_voice_live import scripted_voice_live
from tests.test_config import MODEL
from tests.test_drain import (
    FAST_S,
    assert_told_and_closed,
    exit_status,
    process_of,
    quiet,
    readiness,
    variables,
)

WORKERS = 2
STARTUP_FAILURE = 3
"""uvicorn's exit status where the application cannot start."""

RESTART_WAIT_S = 60


def workers_of(process: GatewayProcess) -> list[psutil.Process]:
    """The processes that do the work, not multiprocessing's own helper."""
    children = psutil.Process(process.process.pid).children()
    return [child for child in children if "resource_tracker" not in " ".join(child.cmdline())]


def calls_of(worker: psutil.Process) -> int:
    """How many of its connections are open, Voice Live's and the callers'."""
    return sum(1 for each in worker.net_connections("tcp") if each.status == "ESTABLISHED")


async def call_briefly(gateway: RunningGateway) -> None:
    async with gateway.caller() as caller:
        await caller.until("session_started")
        await caller.send(type="end")
        assert await caller.until_closed() == 1000


def test_a_resume_window_needs_one_worker() -> None:
    with pytest.raises(SettingsError, match="WORKERS: is more than 1 with RESUME_WINDOW_S"):
        settings_from(MODEL | {"workers": 2, "resume_window_s": 15})


async def test_calls_are_shared_and_drained_together() -> None:
    async with scripted_voice_live(quiet) as service:
        async with (
            process_of(service.settings(), workers=WORKERS, drain_timeout_s=4) as (process, gateway),
            contextlib.AsyncExitStack() as stack,
        ):
            assert process.log[-1]["workers"] == WORKERS
            workers = workers_of(process)
            assert len(workers) == WORKERS
            callers = [await stack.enter_async_context(gateway.caller()) for _ in range(40)]
            for caller in callers:
                await caller.until("session_started")
            assert all(calls_of(worker) > 0 for worker in workers)

            process.process.send_signal(signal.SIGTERM)
            for caller in callers:
                await caller.until("session_ending", reason="drain")
            assert await readiness(gateway) == 503
            for caller in callers:
                assert_told_and_closed(caller, await caller.until_closed())
            assert await exit_status(process) == 0
            assert not any(worker.is_running() for worker in workers)


async def test_a_signal_to_the_whole_group_counts_once() -> None:
    """As a service manager sends it: a worker that took it as well would hang up at once."""
    async with scripted_voice_live(quiet) as service:
        async with process_of(service.settings(), workers=WORKERS) as (process, gateway):
            async with gateway.caller() as caller:
                await caller.until("session_started")
                for each in [*workers_of(process), psutil.Process(process.process.pid)]:
                    each.send_signal(signal.SIGTERM)
                await caller.until("session_ending", reason="drain")
                await caller.send(type="ping")
                await caller.until("pong")
                await caller.send(type="end")
                assert await caller.until_closed() == 1000
            assert await exit_status(process) == 0


async def test_a_worker_that_is_killed_costs_its_own_calls_and_is_started_again() -> None:
    async with scripted_voice_live(quiet) as service:
        async with process_of(service.settings(), workers=WORKERS) as (process, gateway):
            victim, survivor = workers_of(process)
            async with contextlib.AsyncExitStack() as stack:
                callers = [await stack.enter_async_context(gateway.caller()) for _ in range(20)]
                for caller in callers:
                    await caller.until("session_started")
                victim.send_signal(signal.SIGKILL)
                for caller in callers:
                    with contextlib.suppress(ConnectionError):
                        await caller.send(type="ping")
                outcomes = []
                for caller in callers:
                    try:
                        await caller.until("pong")
                        outcomes.append("lives")
                    except (AssertionError, ConnectionError):
                        outcomes.append("lost")
                assert set(outcomes) == {"lives", "lost"}
                await call_briefly(gateway)
                async with asyncio.timeout(RESTART_WAIT_S):
                    while len(workers_of(process)) < WORKERS:  # noqa: ASYNC110 (only the system knows)
                        await asyncio.sleep(0.1)
                assert survivor.is_running()
                await call_briefly(gateway)
            process.process.send_signal(signal.SIGTERM)
            assert await exit_status(process) == 0


async def test_workers_whose_supervisor_is_killed_do_not_stay_behind() -> None:
    async with scripted_voice_live(quiet) as service:
        async with process_of(service.settings(), workers=WORKERS) as (process, gateway):
            workers = workers_of(process)
            async with gateway.caller() as caller:
                await caller.until("session_started")
                os.kill(process.process.pid, signal.SIGKILL)
                assert_told_and_closed(caller, await caller.until_closed())
            gone, alive = await asyncio.to_thread(psutil.wait_procs, workers, FAST_S)
            assert (len(gone), alive) == (WORKERS, [])


async def test_workers_that_cannot_start_end_the_whole_with_their_status(tmp_path: Path) -> None:
    broken = tmp_path / "admission.sqlite"
    broken.write_text("this is no database " * 1000)
    async with scripted_voice_live(quiet) as service:
        settings = service.settings()
    environment = variables(settings, workers=WORKERS, admission_store_file=broken)
    ended = await asyncio.to_thread(
        subprocess.run,
        [*PYTHON_APP_MAIN],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), "APP_HOST": "127.0.0.1", "APP_PORT": "0"}
        | environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == STARTUP_FAILURE
    assert "worker.died" in ended.stdout
