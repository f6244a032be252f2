"""The pytest plugin, in runs of pytest of their own; the example project."""

import shutil
from pathlib import Path

import pytest

pytest_plugins = ("pytester",)

EXAMPLE = Path(__file__).parents[2] / "examples" / "voice_live_app"
PLUGIN = ("-p", "voicelive_emulator.pytest_plugin", "-p", "no:cacheprovider", "-p", "no:asyncio")
ON_TAPE = """
[pytest]
voice_live_emulator_options = --tape --max-sessions 3
filterwarnings = error
"""
TWO_TESTS = """
import asyncio
import http.client
import aiohttp

async def answer(emulator):
    url = f"{emulator.endpoint}/voice-live/realtime?model=gpt-4.1"
    async with aiohttp.ClientSession(headers={"api-key": emulator.api_key}) as http:
        async with http.ws_connect(url) as ws:
            await ws.send_json({"type": "response.create", "response": {"modalities": ["text"]}})
            async for message in ws:
                if message.json()["type"] == "response.text.done":
                    return message.json()["text"]

def test_first(voice_live_emulator, request):
    voice_live_emulator.will_answer("One.", "Two.")
    assert asyncio.run(answer(voice_live_emulator)) == "One."
    request.config.stash["endpoint"] = voice_live_emulator.endpoint

def test_second(voice_live_emulator, request):
    assert voice_live_emulator.endpoint == request.config.stash["endpoint"]
    assert "AI assistant" in asyncio.run(answer(voice_live_emulator))

def test_leaves_a_session(voice_live_emulator, request):
    connection = http.client.HTTPConnection(voice_live_emulator.endpoint.removeprefix("http://"))
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    key = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "api-key": voice_live_emulator.api_key}
    connection.request("GET", "/voice-live/realtime?model=gpt-4.1", headers=upgrade | key)
    assert connection.getresponse().status == 101
    assert [session["mode"] for session in voice_live_emulator.sessions()] == ["model"]
    request.config.stash["open"] = connection

def test_finds_none(voice_live_emulator, request):
    assert voice_live_emulator.sessions() == []
    request.config.stash["open"].close()
"""


def test_starts_once_and_every_test_is_alone(pytester: pytest.Pytester) -> None:
    pytester.makeini(ON_TAPE)
    pytester.makepyfile(TWO_TESTS)
    result = pytester.runpytest_subprocess(*PLUGIN)
    result.assert_outcomes(passed=4)


def test_says_why_it_does_not_start(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nvoice_live_emulator_options = --tape --agent openai\n")
    pytester.makepyfile("def test_never(voice_live_emulator): pass")
    result = pytester.runpytest_subprocess(*PLUGIN)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*EmulatorDidNotStart: *--agent openai needs --agent-url*"])


def test_does_nothing_where_nobody_asks(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nvoice_live_emulator_options = --no-such-option\nfilterwarnings = error\n")
    pytester.makepyfile("def test_alone(): pass")
    pytester.runpytest_subprocess(*PLUGIN).assert_outcomes(passed=1)


def test_the_example_project_passes(pytester: pytest.Pytester) -> None:
    for file in EXAMPLE.iterdir():
        if file.is_file():
            shutil.copy(file, pytester.path)
    pytester.runpytest_subprocess(*PLUGIN).assert_outcomes(passed=2)
