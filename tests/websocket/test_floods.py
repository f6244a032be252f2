"""One client floods the gateway's process: it is told and dropped, and its neighbour hears nothing of it."""

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
import psutil

from tests.gateway import RawCaller, RunningGateway
from tests.processes import PROJECT, GatewayProcess, gateway_process
from tests.scripted_voice_live import ScriptedSession, ScriptedVoiceLive, scripted_voice_live
from tests.test_service import audio_delta, response_created, response_done
from tests.virtual_call import speech
from tests.websocket.flooder import FLOODS

SPEECH_MS = 12_000
FRAME_MS = 100
MAX_GAP_S = 3.0
"""For a machine with other work. A flood that is not stopped stretches a gap to its own length."""

MAX_GROWTH_BYTES = 16 * 1024 * 1024


@contextmanager
def gateway(service: ScriptedVoiceLive) -> Iterator[GatewayProcess]:
    settings = service.settings()
    variables = {
        "AZURE_VOICELIVE_ENDPOINT": settings.endpoint,
        "AZURE_VOICELIVE_MODEL": "gpt-4.1",
        "AZURE_VOICELIVE_API_KEY": "key",
        "AZURE_VOICELIVE_VOICE_TYPE": "azure-standard",
        "AZURE_VOICELIVE_VOICE_NAME": "en-US-AvaNeural",
        "ENABLE_PROACTIVE_GREETING": "false",
        "PLAYOUT_LEAD_MS": str(FRAME_MS),
    }
    with gateway_process(variables) as running:
        yield running


async def tells_on_request(session: ScriptedSession) -> None:
    await session.configure()
    await session.receive_audio()
    await session.send(response_created("resp_1"), audio_delta("resp_1", speech("resp_1", SPEECH_MS)))
    await session.send(response_done("resp_1"))
    await session.until_closed()


async def gaps(caller: RawCaller) -> list[float]:
    """The seconds between the frames of one story."""
    times = []
    while sum(len(f) for f in caller.frames if isinstance(f, bytes)) < SPEECH_MS * 48:
        if isinstance(await caller.next(), bytes):
            times.append(time.monotonic())
    return [later - sooner for sooner, later in itertools.pairwise(times)]


async def flooded(port: int, kind: str) -> dict[str, object]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.websocket.flooder", str(port), kind),
        cwd=PROJECT,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    told: dict[str, object] = json.loads(output)
    return told


async def test_floods_are_stopped_and_disturb_nobody() -> None:
    ends: dict[str, dict[str, object]] = {}
    async with scripted_voice_live(tells_on_request) as service:
        with gateway(service) as running:
            process = psutil.Process(running.process.pid)
            async with (
                aiohttp.ClientSession() as http,
                RunningGateway(running.address, http).caller() as caller,
            ):
                await caller.until("session_started")
                await caller.socket.send_bytes(bytes(960))
                await caller.until("status", status="agent_speaking")
                before = process.memory_info().rss
                async with asyncio.TaskGroup() as tasks:
                    listening = tasks.create_task(gaps(caller))
                    for kind in FLOODS:
                        ends[kind] = await flooded(running.port, kind)
                growth = process.memory_info().rss - before
    assert caller.audio == speech("resp_1", SPEECH_MS)
    assert max(listening.result()) < MAX_GAP_S
    assert growth < MAX_GROWTH_BYTES
    for kind, end in ends.items():
        assert end["ended_after"] is not None, f"{kind} were endured to the end"
        assert end["told"] or kind.startswith("early"), f"{kind} were dropped without a word"
