"""Emulators to test against: in this process with doubles, and with the real models."""

from collections.abc import AsyncIterator
from random import Random

import pytest

from tests.emulator.doubles import Doubles
from voicelive_emulator.server import Endpoints, serving
from voicelive_emulator.settings import Settings
from voicelive_emulator.speech_models import SpeechModels, load_speech_models


@pytest.fixture
def doubles() -> Doubles:
    """The models of `emulator`, to be told what to do."""
    return Doubles()


@pytest.fixture
async def emulator(doubles: Doubles) -> AsyncIterator[Endpoints]:
    """An emulator whose models are doubles."""
    async with serving(Settings(port=0), doubles.models(), Random(7)) as endpoints:
        yield endpoints


@pytest.fixture(scope="session")
def real_models() -> SpeechModels:
    """The real models, loaded once."""
    return load_speech_models()


@pytest.fixture
async def real_emulator(real_models: SpeechModels) -> AsyncIterator[Endpoints]:
    """An emulator that really hears and speaks."""
    async with serving(Settings(port=0), real_models) as endpoints:
        yield endpoints


@pytest.fixture(scope="session")
def spoken_question(real_models: SpeechModels) -> bytes:
    """A question about the price, as PCM16 at 24 kHz."""
    return b"".join(piece.pcm for piece in real_models.synthesizer.stream("What is the price of the plan?"))


@pytest.fixture
async def paced_emulator(doubles: Doubles) -> AsyncIterator[Endpoints]:
    """An emulator whose answers take as long as they last, for clients that cannot hold the models."""
    async with serving(Settings(port=0, pace=1.0), doubles.models(), Random(7)) as endpoints:
        yield endpoints
