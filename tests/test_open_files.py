"""A process that could run out of files takes fewer calls, and answers everybody."""

import sys
from contextlib import AsyncExitStack

import aiohttp
import pytest

from app.open_files import calls_that_fit
from tests.admission.test_strangers import refused
from tests.gateway import RunningGateway
from tests.processes import gateway_process
from tests.scripted_voice_live import scripted_voice_live
from tests.test_main import quiet

FEW_FILES = 96
FIT = 22


@pytest.mark.parametrize(
    ("files", "wanted", "calls"),
    [(None, 100, 100), (1024, 100, 100), (1024, 1000, 393), (FEW_FILES, 100, FIT), (10, 100, 1)],
)
def test_what_fits(files: int | None, wanted: int, calls: int) -> None:
    assert calls_that_fit(files, wanted) == calls


async def test_with_few_files_callers_are_refused_probes_answered_and_all_is_well_afterwards() -> None:
    command = ("bash", "-c", f"ulimit -n {FEW_FILES}; exec {sys.executable} -m app.main")
    async with scripted_voice_live(quiet) as service:
        variables = {
            "AZURE_VOICELIVE_ENDPOINT": service.address,
            "AZURE_VOICELIVE_MODEL": "gpt-4.1",
            "AZURE_VOICELIVE_API_KEY": "key",
            "AZURE_VOICELIVE_VOICE_TYPE": "azure-standard",
            "AZURE_VOICELIVE_VOICE_NAME": "en-US-AvaNeural",
        }
        with gateway_process(variables, command) as process:
            async with aiohttp.ClientSession() as http:
                gateway = RunningGateway(process.address, http)
                for _ in range(2):
                    async with AsyncExitStack() as calls:
                        callers = [await calls.enter_async_context(gateway.caller()) for _ in range(FIT)]
                        for caller in callers:
                            await caller.until("session_started")
                        assert await refused(gateway) == (503, "capacity")
                        async with http.get(f"{gateway.address}/health") as answer:
                            assert answer.status == 200
                        for caller in callers:
                            await caller.send(type="end")
                            assert await caller.until_closed() == 1000
            process.stop()
    (told,) = [line for line in process.log if line["event"] == "admission.few_files"]
    assert told["max_calls"] == FIT
