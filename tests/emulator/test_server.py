"""Who gets a session, by real HTTP statuses before the upgrade; the process from start to stop."""

import asyncio
import contextlib
import json
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.emulator.doubles import Doubles
from tests.emulator.wire import TIMEOUT_S, Closed, WireClient, connected
from voicelive_emulator.server import Endpoints, serving
from voicelive_emulator.settings import Settings

REALTIME = "/voice-live/realtime"
AGENT = f"{REALTIME}?agent-name=sales&agent-project-name=shop&api-version=2026-07-15"
CLASSIC = f"{REALTIME}?agent-id=asst_1&agent-project-name=shop&api-version=2025-10-01"


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


async def answer_to(
    endpoints: Endpoints, path: str, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str]]:
    """Ask for a session; return the HTTP status, and the error of a refusal."""
    async with aiohttp.ClientSession(headers={**UPGRADE, **(headers or {})}) as http:
        async with http.get(f"http://127.0.0.1:{endpoints.port}{path}") as response:
            return response.status, {} if response.status == 101 else (await response.json())["error"]


async def status_of(endpoints: Endpoints, path: str, headers: dict[str, str] | None = None) -> int:
    """Ask for a session; return the HTTP status."""
    return (await answer_to(endpoints, path, headers))[0]


async def minted_token(endpoints: Endpoints) -> str:
    form = {
        "grant_type": "client_credentials",
        "client_id": "app",
        "client_secret": "secret",
        "scope": "https://ai.azure.com/.default",
    }
    url = f"http://127.0.0.1:{endpoints.port}/tenant/oauth2/v2.0/token"
    async with aiohttp.ClientSession() as http, http.post(url, data=form) as response:
        assert response.status == 200
        token = (await response.json())["access_token"]
        assert isinstance(token, str)
        return token


class TestModelMode:
    @pytest.mark.parametrize(
        ("query", "headers"),
        [
            ("?model=gpt-4.1", {"api-key": "k"}),
            ("?model=gpt-4.1&api-key=k", {}),
            ("?model=gpt-4.1", {"Authorization": "Bearer k"}),
            ("?model=gpt-4.1&Authorization=Bearer%20k", {}),
            ("?deployment=gpt-4.1&x-ms-client-sdk=any&unknown=1", {"api-key": "k"}),
        ],
    )
    async def test_takes_a_credential_in_every_place(
        self, emulator: Endpoints, query: str, headers: dict[str, str]
    ) -> None:
        assert await status_of(emulator, REALTIME + query, headers) == 101

    async def test_refuses_without_credential(self, emulator: Endpoints) -> None:
        status, error = await answer_to(emulator, f"{REALTIME}?model=gpt-4.1")
        assert status == 401
        assert error["code"]
        assert error["message"]

    async def test_refuses_without_model_or_agent(self, emulator: Endpoints) -> None:
        assert await status_of(emulator, REALTIME, {"api-key": "k"}) == 400

    async def test_accepts_any_prefix_of_the_path(self, emulator: Endpoints) -> None:
        assert await status_of(emulator, f"/a/b{REALTIME}?model=m", {"api-key": "k"}) == 101

    async def test_other_paths_do_not_exist(self, emulator: Endpoints) -> None:
        async with aiohttp.ClientSession() as http:
            async with http.get(f"http://127.0.0.1:{emulator.port}/voice-live/other") as response:
                assert response.status == 404

    async def test_a_named_key_is_the_only_one(self, doubles: Doubles) -> None:
        async with serving(Settings(port=0, api_key="right"), doubles.models()) as endpoints:
            path = f"{REALTIME}?model=m"
            assert await status_of(endpoints, path, {"api-key": "wrong"}) == 401
            assert await status_of(endpoints, path, {"Authorization": "Bearer wrong"}) == 401
            assert await status_of(endpoints, path, {"api-key": "right"}) == 101
            token = await minted_token(endpoints)
            assert await status_of(endpoints, path, {"Authorization": f"Bearer {token}"}) == 101


class TestAgentMode:
    async def test_takes_only_a_minted_token(self, emulator: Endpoints) -> None:
        token = await minted_token(emulator)
        assert await status_of(emulator, AGENT, {"Authorization": f"Bearer {token}"}) == 101
        assert await status_of(emulator, AGENT, {"Authorization": "Bearer made-up"}) == 401
        assert await status_of(emulator, AGENT) == 401

    async def test_refuses_a_key(self, emulator: Endpoints) -> None:
        assert await status_of(emulator, AGENT, {"api-key": "k"}) == 401

    async def test_needs_a_project(self, emulator: Endpoints) -> None:
        token = await minted_token(emulator)
        headers = {"Authorization": f"Bearer {token}"}
        assert await status_of(emulator, f"{REALTIME}?agent-name=sales", headers) == 400

    async def test_shows_the_agent(self, emulator: Endpoints) -> None:
        headers = {"Authorization": f"Bearer {await minted_token(emulator)}"}
        async with connected(emulator.port, AGENT, headers) as client:
            agent = (await client.expect("session.created"))["session"]["agent"]
        assert agent["type"] == "agent"
        assert agent["name"] == "sales"


class TestClassicAgent:
    async def test_takes_a_key_and_a_minted_agent_token(self, emulator: Endpoints) -> None:
        token = await minted_token(emulator)
        path = f"{CLASSIC}&agent-access-token={token}"
        assert await status_of(emulator, path, {"api-key": "k"}) == 101
        assert await status_of(emulator, path, {"Authorization": f"Bearer {token}"}) == 101
        assert await status_of(emulator, path) == 401

    async def test_refuses_an_agent_token_of_somebody_else(self, emulator: Endpoints) -> None:
        assert await status_of(emulator, CLASSIC, {"api-key": "k"}) == 401
        path = f"{CLASSIC}&agent-access-token=made-up"
        assert await status_of(emulator, path, {"api-key": "k"}) == 401

    async def test_refuses_an_expired_agent_token(self, doubles: Doubles) -> None:
        async with serving(Settings(port=0, token_lifetime_s=0), doubles.models()) as endpoints:
            path = f"{CLASSIC}&agent-access-token={await minted_token(endpoints)}"
            assert await status_of(endpoints, path, {"api-key": "k"}) == 401


class TestServer:
    async def test_health(self, emulator: Endpoints) -> None:
        async with aiohttp.ClientSession() as http:
            async with http.get(f"http://127.0.0.1:{emulator.port}/health") as response:
                assert await response.json() == {"status": "healthy"}

    async def test_refuses_more_sessions_than_allowed(self, doubles: Doubles) -> None:
        async with serving(Settings(port=0, max_sessions=1), doubles.models()) as endpoints:
            path = f"{REALTIME}?model=m"
            async with connected(endpoints.port) as client:
                await client.expect("session.created")
                assert await status_of(endpoints, path, {"api-key": "k"}) == 429
                await client.say("Still there?")
                await client.expect("conversation.item.created")

    async def test_serves_plain_and_tls_together(self, doubles: Doubles, tmp_path: Path) -> None:
        certificate = tmp_path / "authority.pem"
        settings = Settings(port=0, tls_port=0, certificate_file=certificate)
        async with serving(settings, doubles.models()) as endpoints:
            assert endpoints.certificate_file == certificate
            trusted = ssl.create_default_context(cafile=str(certificate))
            for host in ("localhost", "127.0.0.1"):
                url = f"https://{host}:{endpoints.tls_port}{REALTIME}?model=m"
                async with aiohttp.ClientSession(headers={"api-key": "k"}) as http:
                    async with http.ws_connect(url, ssl=trusted, autoclose=False) as ws:
                        await WireClient(ws).expect("session.created")
            assert await status_of(endpoints, f"{REALTIME}?model=m", {"api-key": "k"}) == 101

    async def test_selects_no_subprotocol_and_no_compression(self, emulator: Endpoints) -> None:
        async with aiohttp.ClientSession(headers={"api-key": "k"}) as http:
            url = f"http://127.0.0.1:{emulator.port}{REALTIME}?model=m"
            async with http.ws_connect(url, protocols=["realtime"], compress=15) as ws:
                assert ws.protocol is None
                assert not ws.compress

    async def test_accepts_the_largest_append(self, emulator: Endpoints) -> None:
        async with connected(emulator.port) as client:
            await client.expect("session.created")
            await client.send("session.update", session={"turn_detection": None})
            await client.expect("session.updated")
            await client.append(bytes(15 * 1024 * 1024))
            await client.send("input_audio_buffer.clear")
            await client.expect("input_audio_buffer.cleared")

    async def test_a_message_that_is_too_big_ends_the_session_only(self, emulator: Endpoints) -> None:
        async with connected(emulator.port) as client:
            await client.expect("session.created")
            with contextlib.suppress(ConnectionError):
                await client.ws.send_bytes(bytes(22 * 1024 * 1024))
            with pytest.raises(Closed) as closed:
                await client.receive()
            # The close frame may be lost when the connection ends before all was read.
            assert closed.value.code in (1009, 1006)
        async with connected(emulator.port) as client:
            await client.expect("session.created")

    async def test_answers_pings_and_close_frames(self, emulator: Endpoints) -> None:
        async with connected(emulator.port) as client:
            await client.expect("session.created")
            await client.ws.ping(b"are you there")
            await client.say("Hello.")
            await client.expect("conversation.item.created")
            assert await asyncio.wait_for(client.ws.close(code=1000), TIMEOUT_S)
            assert client.ws.close_code == 1000

    async def test_tells_sessions_that_it_stops(self, doubles: Doubles) -> None:
        async with serving(Settings(port=0), doubles.models()) as endpoints:
            stack = connected(endpoints.port)
            client = await stack.__aenter__()
            await client.expect("session.created")
        with pytest.raises(Closed) as closed:
            await client.receive()
        assert closed.value.code == 1001
        await stack.__aexit__(None, None, None)


@asynccontextmanager
async def process(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `python -m voicelive_emulator`; it has ended when the block ends."""
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "voicelive_emulator",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.communicate()


class TestProcess:
    @pytest.mark.parametrize("stopper", [signal.SIGTERM, signal.SIGINT])
    async def test_says_where_it_listens_and_stops_when_told(
        self, stopper: signal.Signals, tmp_path: Path
    ) -> None:
        certificate = tmp_path / "authority.pem"
        arguments = ("--port", "0", "--tls-port", "0", "--certificate-file", str(certificate))
        async with process(*arguments, "--api-key", "open sesame") as emulator:
            assert emulator.stdout is not None
            ready = json.loads(await asyncio.wait_for(emulator.stdout.readline(), 60))
            assert set(ready) == {"event", "port", "tls_port", "certificate_file"}
            assert ready["event"] == "ready"
            assert ready["certificate_file"] == str(certificate)
            async with connected(ready["port"], headers={"api-key": "open sesame"}) as client:
                await client.expect("session.created")
                await client.say("My number is 5550100.")
                await client.send("response.create")
                await client.until("response.audio.delta")
                emulator.send_signal(stopper)
                with pytest.raises(Closed) as closed:
                    await client.until("never")
                assert closed.value.code == 1001
            rest, logs = await asyncio.wait_for(emulator.communicate(), 30)
            assert emulator.returncode == 0
        assert rest == b""
        for line in logs.splitlines():
            assert json.loads(line)["event"]
        assert b"sesame" not in logs
        assert b"5550100" not in logs

    async def test_says_in_one_line_that_the_port_is_taken(self, emulator: Endpoints) -> None:
        async with process("--port", str(emulator.port)) as second:
            output, errors = await asyncio.wait_for(second.communicate(), 60)
        assert second.returncode == 1
        assert output == b""
        assert len(errors.decode().strip().splitlines()) == 1
