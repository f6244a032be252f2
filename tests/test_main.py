"""The endpoints around the call: health, readiness, page, documentation, admission."""

import asyncio
import socket
import subprocess
import sys

import aiohttp
import pytest

from app.errors import CATALOGUE
from app.lifecycle import Phase
from app.main import make_server
from tests.gateway import RunningGateway, running_gateway
from tests.processes import PROJECT, gateway_process
from tests.scripted_voice_live import ScriptedSession, ScriptedVoiceLive, scripted_voice_live


async def quiet(session: ScriptedSession) -> None:
    await session.configure()
    await session.until_closed()


async def body(gateway: RunningGateway, path: str) -> tuple[int, object]:
    async with gateway.http.get(gateway.address + path) as response:
        return response.status, await response.json()


async def test_health_and_readiness() -> None:
    async with running_gateway(ScriptedVoiceLive().settings()) as gateway:
        assert await body(gateway, "/health") == (200, {"status": "healthy"})
        assert await body(gateway, "/ready") == (200, {"status": "ready"})


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.DRAINING])
async def test_before_and_after_being_ready_no_call_is_taken(phase: Phase) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    server = make_server(ScriptedVoiceLive().settings())
    lifecycle = server.config.app.state.lifecycle  # type: ignore[union-attr]
    async with aiohttp.ClientSession() as http, asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve(sockets=[listener]))
        gateway = RunningGateway(f"http://127.0.0.1:{listener.getsockname()[1]}", http)
        assert (await body(gateway, "/ready"))[0] == 200
        with lifecycle.call():
            lifecycle._phase = phase
            assert await body(gateway, "/ready") == (503, {"status": phase.value})
            assert (await body(gateway, "/health"))[0] == 200
            async with http.get(f"{gateway.address}/ws/voice", headers=upgrade()) as refused:
                assert refused.status == 503
                assert refused.headers["Retry-After"] == "1"
                assert (await refused.json())["error"]["code"] == "server_draining"
        server.should_exit = True


async def test_one_call_too_many_is_refused_before_the_upgrade() -> None:
    async with scripted_voice_live(quiet) as service:
        async with running_gateway(service.settings(max_calls=1)) as gateway:
            async with gateway.caller() as caller:
                await caller.until("session_started")
                async with gateway.http.get(f"{gateway.address}/ws/voice", headers=upgrade()) as refused:
                    assert refused.status == 503
                    assert await refused.json() == {
                        "error": {
                            "code": "capacity",
                            "message": "All lines are busy. Please try again shortly.",
                        }
                    }
                await caller.send(type="end")
                await caller.until_closed()
            async with gateway.caller() as caller:
                await caller.until("session_started")
        assert len(service.handshakes) == 2


async def test_a_client_without_our_subprotocol_is_served() -> None:
    async with scripted_voice_live(quiet) as service, running_gateway(service.settings()) as gateway:
        async with gateway.caller(protocols=["something.else"]) as caller:
            await caller.until("session_started")
            assert caller.socket.protocol is None


async def test_the_page_allows_no_foreign_or_inline_code() -> None:
    async with running_gateway(ScriptedVoiceLive().settings()) as gateway:
        async with gateway.http.get(gateway.address) as page:
            policy = page.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert page.content_type == "text/html"
        async with gateway.http.get(f"{gateway.address}/static/main.js") as module:
            assert module.headers["Content-Security-Policy"] == policy
            assert module.headers["X-Content-Type-Options"] == "nosniff"
        async with gateway.http.get(f"{gateway.address}/static/../config.py") as outside:
            assert outside.status == 404


async def test_docs_are_there() -> None:
    async with running_gateway(ScriptedVoiceLive().settings()) as gateway:
        async with gateway.http.get(f"{gateway.address}/docs") as docs:
            assert docs.status == 200


def test_a_port_in_use_ends_with_a_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        variables = {
            "AZURE_VOICELIVE_ENDPOINT": "http://127.0.0.1:1",
            "AZURE_VOICELIVE_MODEL": "m",
            "AZURE_VOICELIVE_API_KEY": "k",
            "AZURE_VOICELIVE_VOICE_TYPE": "openai",
            "AZURE_VOICELIVE_VOICE_NAME": "alloy",
            "APP_HOST": "127.0.0.1",
            "APP_PORT": str(taken.getsockname()[1]),
            "PYTHONPATH": str(PROJECT),
        }
        ended = subprocess.run(
            [sys.executable, "-m", "app.main"],
            env=variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ended.returncode == 1
    assert "Address already in use" in ended.stdout
    assert "APP_PORT" in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr


def test_a_token_endpoint_that_is_down_does_not_keep_the_gateway_from_being_ready() -> None:
    variables = {
        "AZURE_VOICELIVE_ENDPOINT": "http://127.0.0.1:1",
        "AZURE_VOICELIVE_PROJECT_NAME": "p",
        "AZURE_VOICELIVE_AGENT_NAME": "a",
        "AZURE_TENANT_ID": "t",
        "AZURE_CLIENT_ID": "c",
        "AZURE_CLIENT_SECRET": "s",
        "AZURE_AUTHORITY_HOST": "https://localhost:1",
        "AZURE_VOICELIVE_VOICE_TYPE": "openai",
        "AZURE_VOICELIVE_VOICE_NAME": "alloy",
    }
    with gateway_process(variables) as gateway:
        assert gateway.stop() == 0


def test_every_error_code_has_a_sentence_and_a_close_code() -> None:
    for entry in CATALOGUE.values():
        assert entry.message.endswith(".")
        assert entry.close_code in {1011, 1012, 1013, 1014} or 4400 <= entry.close_code < 4600


def upgrade() -> dict[str, str]:
    return {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
