"""`voice-live tickets`, and calls with a ticket: from a new key to a call."""

import asyncio
import os
import sys

import pytest

from app.commands.tickets import hash_of, new_key
from tests.admission.bank import API_KEY, SETTINGS
from tests.gateway import running_gateway
from tests.processes import PROJECT
from tests.scripted_voice_live import ScriptedVoiceLive, scripted_voice_live
from tests.test_main import quiet
from voicelive_client import CallRefusedError, SessionStarted, VoiceLiveCall

pytestmark = pytest.mark.asyncio


async def voice_live(*arguments: str, typed: str = "", **variables: str) -> tuple[int | None, str, str]:
    """Exit status, output and errors of `voice-live` with these arguments."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from app.cli import main; main()", *arguments),
        cwd=PROJECT,
        env=os.environ | variables,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate(typed.encode())
    return process.returncode, output.decode(), errors.decode()


async def test_a_new_key_comes_with_the_hash_that_the_settings_take() -> None:
    status, output, _ = await voice_live("tickets", "new-key")
    assert status == 0
    key = output.splitlines()[0].rpartition(" ")[2]
    assert len(key) == len(new_key()) == 43
    assert output.splitlines()[1] == f"TICKET_API_KEY_HASHES={hash_of(key)}"
    assert await voice_live("tickets", "hash", typed=f"{key}\n") == (0, output.splitlines()[1] + "\n", "")
    status, _, errors = await voice_live("tickets", "hash")
    assert status == 2
    assert "no key" in errors


async def test_a_ticket_by_hand_makes_a_call() -> None:
    async with (
        scripted_voice_live(quiet) as service,
        running_gateway(service.settings(**SETTINGS)) as gateway,
    ):
        url = gateway.address.replace("http", "ws") + "/ws/voice"
        get = ("tickets", "get", "--subject", "me", "--url", gateway.address)
        status, output, _ = await voice_live(*get, VOICE_LIVE_API_KEY=API_KEY)
        assert status == 0
        async with VoiceLiveCall(url, ticket=output.strip()) as call:
            assert isinstance(await call.receive(), SessionStarted)
        used = {"VOICE_LIVE_TICKET": output.strip()}
        status, _, errors = await voice_live("call", "--text", "Hello", "--url", url, **used)
        assert status == 1
        assert "HTTP 401" in errors
        assert output.strip() not in errors
        status, _, errors = await voice_live(*get, VOICE_LIVE_API_KEY="wrong")
        assert (status, "HTTP 401" in errors) == (1, True)
        status, _, errors = await voice_live(*get, VOICE_LIVE_API_KEY="")
        assert (status, "VOICE_LIVE_API_KEY" in errors) == (1, True)


async def test_the_client_is_told_why_it_may_not_call() -> None:
    async with running_gateway(ScriptedVoiceLive().settings(**SETTINGS)) as gateway:
        url = gateway.address.replace("http", "ws") + "/ws/voice"
        with pytest.raises(CallRefusedError) as refused:
            async with VoiceLiveCall(url):
                pass
        assert (refused.value.status, refused.value.code) == (401, "unauthorized")


async def test_without_tickets_or_without_a_gateway_it_says_so() -> None:
    async with running_gateway(ScriptedVoiceLive().settings()) as gateway:
        for url, words in [
            (gateway.address, "CLIENT_AUTH is open"),
            ("http://127.0.0.1:1", "Nobody answers"),
        ]:
            get = ("tickets", "get", "--subject", "me", "--url", url)
            status, _, errors = await voice_live(*get, VOICE_LIVE_API_KEY=API_KEY)
            assert status == 1
            assert words in errors
