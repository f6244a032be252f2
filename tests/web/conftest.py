"""A browser for all tests of the page, a gateway and a visitor for each.

One event loop serves them all: a browser takes seconds to start.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.speech_data import two_cities
from tests.web.chromium import chromium
from tests.web.scripted_gateway import ScriptedGateway, scripted_gateway
from tests.web.visitor import REFUSED, ScriptedVisitor, visiting


@pytest.fixture(scope="session")
def speech_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the microphone hears: 44 s of a person reading."""
    return two_cities().write_wav(tmp_path_factory.mktemp("microphone") / "speech.wav")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(speech_file: Path) -> AsyncIterator[Browser]:
    """Chromium, whose visitor allows the microphone."""
    async with chromium(speech_file) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def gateway() -> AsyncIterator[ScriptedGateway]:
    """A gateway that the test plays."""
    async with scripted_gateway() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(browser: Browser, gateway: ScriptedGateway) -> AsyncIterator[ScriptedVisitor]:
    """Somebody who has just opened the page. The page must not have logged an error when they leave."""
    async with visiting(browser, gateway) as somebody:
        yield somebody


@pytest_asyncio.fixture(loop_scope="session")
async def stranded(browser: Browser, gateway: ScriptedGateway) -> AsyncIterator[ScriptedVisitor]:
    """A visitor whose calls meet a network that refuses them."""
    async with visiting(browser, gateway, may_log=REFUSED) as somebody:
        yield somebody
