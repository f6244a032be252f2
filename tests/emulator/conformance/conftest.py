"""The endpoints that the conformance tests judge.

The emulator always; Azure as well when CONFORMANCE_ENDPOINT and CONFORMANCE_API_KEY are set
(CONFORMANCE_MODEL and CONFORMANCE_NATIVE_MODEL name other models than the usual ones). `-m azure` runs
those alone.
"""

import os
from collections.abc import AsyncIterator

import pytest

from tests.emulator.conformance.statements import EMULATOR_ONLY
from tests.emulator.conformance.target import Target
from voicelive_emulator.server import serving
from voicelive_emulator.settings import Settings
from voicelive_emulator.speech_models import SpeechModels

MODEL, NATIVE_MODEL = "gpt-4.1", "gpt-realtime"
AZURE = (
    pytest.mark.azure,
    pytest.mark.skipif(
        not {"CONFORMANCE_ENDPOINT", "CONFORMANCE_API_KEY"} <= set(os.environ),
        reason="needs CONFORMANCE_ENDPOINT and CONFORMANCE_API_KEY",
    ),
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "target" in metafunc.fixturenames:
        emulator_only = metafunc.function.__name__.split("_")[1] in EMULATOR_ONLY
        targets = ["emulator"] if emulator_only else ["emulator", pytest.param("azure", marks=AZURE)]
        metafunc.parametrize("target", targets, indirect=True)


@pytest.fixture
async def target(
    request: pytest.FixtureRequest, real_models: SpeechModels, spoken_question: bytes
) -> AsyncIterator[Target]:
    if request.param == "azure":
        yield Target(
            name="azure",
            endpoint=os.environ["CONFORMANCE_ENDPOINT"].rstrip("/"),
            api_key=os.environ["CONFORMANCE_API_KEY"],
            model=os.environ.get("CONFORMANCE_MODEL", MODEL),
            native_model=os.environ.get("CONFORMANCE_NATIVE_MODEL", NATIVE_MODEL),
            speech=spoken_question,
        )
        return
    async with serving(Settings(port=0), real_models) as endpoints:
        endpoint = f"http://127.0.0.1:{endpoints.port}"
        yield Target("emulator", endpoint, "key", MODEL, NATIVE_MODEL, spoken_question)
