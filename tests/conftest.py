"""Fixtures that every test may use, and the rule that no test leaves a task behind."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import hypothesis
import pytest
from hypothesis import settings

from tests import gateway as gateway_module
from tests.modes import gateway_for, model
from tests.played_gateway import start_gateway
from tests.processes import EmulatorProcess, GatewayProcess, emulator_process

__all__ = ["start_gateway"]

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")


# How long one example takes says something about the machine only.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")


@pytest.fixture(autouse=True)
async def no_task_is_left_behind() -> AsyncIterator[None]:
    """Whatever a test starts on its event loop has ended when it returns."""
    yield
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"tasks left behind: {left}"


@pytest.fixture(params=["direct", "asgi"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway of a test takes frames directly from the socket, and then over plain ASGI."""
    monkeypatch.setattr(gateway_module, "DIRECT_FRAMES", request.param == "direct")


@pytest.fixture(scope="session")
def emulator() -> Iterator[EmulatorProcess]:
    """One emulator for all tests that only talk with it."""
    with emulator_process() as running:
        yield running


@pytest.fixture(scope="session")
def gateway(emulator: EmulatorProcess) -> Iterator[GatewayProcess]:
    """One gateway in model mode for all tests that only call it."""
    with gateway_for(emulator, model(emulator)) as running:
        yield running
