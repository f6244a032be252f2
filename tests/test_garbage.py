"""What a call held is freed when it is over, and does not wait for the garbage collector."""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator

import pytest

from app.service import VoiceLiveSessionManager
from app.upstream import Upstream
from app.websocket.call_protocol import CallProtocol
from app.websocket.direct_link import DirectLink
from app.websocket.http_protocol import HttpProtocol
from tests.gateway import RawCaller, running_gateway
from tests.reliability.soak_load import FAULTS, agent, ends_well
from tests.scripted_voice_live import scripted_voice_live

HELD_BY_A_CALL = (VoiceLiveSessionManager, Upstream, CallProtocol, DirectLink, HttpProtocol)

FREED_WITHIN_S = 10


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def left() -> list[str]:
    return [type(thing).__name__ for thing in gc.get_objects() if isinstance(thing, HELD_BY_A_CALL)]


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("end", [ends_well, *FAULTS])
async def test_a_call_that_is_over_is_freed_at_once(end: Callable[[RawCaller], Awaitable[None]]) -> None:
    async with scripted_voice_live(agent) as service, running_gateway(service.settings()) as gateway:
        async with gateway.caller() as caller:
            await caller.until("session_started")
            await end(caller)
        async with asyncio.timeout(FREED_WITHIN_S):
            while left():  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(0.01)
