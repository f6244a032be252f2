"""Our upstream socket: the handshake equals the SDK's, and every trap of the stack below stays closed."""

import asyncio
import json
import logging
import socket
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from azure.ai.voicelive.aio import ConnectionError as SdkConnectionError
from azure.ai.voicelive.aio import connect
from azure.core.credentials import AccessToken, AzureKeyCredential
from pydantic import SecretStr
from yarl import URL

from app.config import Settings, settings_from
from app.voicelive.connection import (
    CLOSE_TIMEOUT_S,
    ConnectFailedError,
    ConnectRefusedError,
    VoiceLiveClosedError,
    VoiceLiveConnection,
    open_http,
)
from app.voicelive.credentials import SocketCredentials
from app.voicelive.events import AudioDelta, MalformedEventError, OtherEvent
from tests.scripted_voice_live import ScriptedSession, ScriptedVoiceLive, scripted_voice_live
from tests.test_config import AGENT, MODEL, ORIGINAL

KEY = SocketCredentials(api_key=SecretStr("key-canary"))
IDENTIFIES_THE_CLIENT = {"User-Agent", "Sec-WebSocket-Key"}


class FixedToken:
    """A token credential of the SDK's interface."""

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        return AccessToken("token-canary", 2**31)

    async def close(self) -> None:
        """Nothing to close."""

    async def __aenter__(self) -> "FixedToken":
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing to close."""


async def our_handshake(
    service: ScriptedVoiceLive, settings: Settings, credentials: SocketCredentials
) -> None:
    async with open_http() as http:
        with pytest.raises(ConnectRefusedError):
            await VoiceLiveConnection.open(http, settings, credentials)


def query_and_headers(request: web.Request) -> tuple[str, dict[str, str], dict[str, str]]:
    query = {name: value for name, value in request.query.items() if name != "x-ms-client-sdk"}
    headers = {name: value for name, value in request.headers.items() if name not in IDENTIFIES_THE_CLIENT}
    return request.path, query, headers


class TestHandshake:
    """URL, query and headers equal those of the SDK's `connect()`; only what names the client differs."""

    @pytest.mark.parametrize("path", ["", "/base"])
    @pytest.mark.parametrize("mode", ["classic", "agent", "model", "model with token"])
    async def test_equals_the_sdks(self, mode: str, path: str) -> None:
        async with scripted_voice_live(refuse_with=lambda _: web.Response(status=404)) as service:
            endpoint = service.address + path
            credential: Any = AzureKeyCredential("key-canary")
            arguments: dict[str, Any] = {}
            match mode:
                case "classic":
                    values, ours = ORIGINAL, SocketCredentials(KEY.api_key, None, SecretStr("token-canary"))
                    arguments["api_version"] = "2025-10-01"
                    arguments["query"] = {
                        "agent-id": "asst_1",
                        "agent-project-name": "sales",
                        "agent-access-token": "token-canary",
                    }
                case "agent":
                    values, ours = AGENT, SocketCredentials(bearer=SecretStr("token-canary"))
                    values = values | {"azure_voicelive_agent_version": "3"}
                    credential = FixedToken()
                    arguments = {"agent_name": "telesales", "project_name": "sales", "agent_version": "3"}
                case "model":
                    values, ours = MODEL, KEY
                    arguments["model"] = "gpt-4.1"
                case _:
                    values, ours = MODEL, SocketCredentials(bearer=SecretStr("token-canary"))
                    credential = FixedToken()
                    arguments["model"] = "gpt-4.1"
            settings = settings_from(values | {"azure_voicelive_endpoint": endpoint})
            await our_handshake(service, settings, ours)
            with pytest.raises(SdkConnectionError):
                async with connect(endpoint=endpoint, credential=credential, **arguments):
                    pass
            mine, sdks = map(query_and_headers, service.handshakes)
            assert mine == sdks

    @pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
    async def test_a_refusal_tells_its_status(self, status: int) -> None:
        def refuse(_: web.Request) -> web.Response:
            return web.Response(status=status, headers={"Retry-After": "7"})

        async with scripted_voice_live(refuse_with=refuse) as service, open_http() as http:
            with pytest.raises(ConnectRefusedError) as refused:
                await VoiceLiveConnection.open(http, service.settings(), KEY)
            assert (refused.value.status, refused.value.retry_after_s) == (status, 7)

    @pytest.mark.parametrize("status", [301, 302, 307, 308])
    async def test_a_redirect_is_never_followed(self, status: int) -> None:
        async with scripted_voice_live() as elsewhere, open_http() as http:

            def redirect(_: web.Request) -> web.Response:
                return web.Response(status=status, headers={"Location": elsewhere.address})

            async with scripted_voice_live(refuse_with=redirect) as service:
                with pytest.raises(ConnectFailedError):
                    await VoiceLiveConnection.open(http, service.settings(), KEY)
            assert elsewhere.handshakes == []

    async def test_nobody_there_is_a_failure(self) -> None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            service = ScriptedVoiceLive(port=closed.getsockname()[1])
            async with open_http() as http:
                with pytest.raises(ConnectFailedError):
                    await VoiceLiveConnection.open(http, service.settings(), KEY)

    async def test_an_http_page_is_a_refusal(self) -> None:
        async with (
            scripted_voice_live(refuse_with=lambda _: web.Response(text="hello")) as service,
            open_http() as http,
        ):
            with pytest.raises(ConnectRefusedError):
                await VoiceLiveConnection.open(http, service.settings(), KEY)

    async def test_a_cancelled_handshake_leaves_no_connection(self) -> None:
        async with scripted_voice_live() as service, open_http() as http:
            service.hang = asyncio.Event()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await VoiceLiveConnection.open(http, service.settings(), KEY)
            assert isinstance(http.connector, aiohttp.TCPConnector)
            assert not http.connector._acquired

    async def test_proxies_of_the_environment_are_not_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with scripted_voice_live(refuse_with=lambda _: web.Response(status=404)) as service:
            monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
            monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
            await our_handshake(service, service.settings(), KEY)
            assert len(service.handshakes) == 1

    async def test_no_secret_is_in_any_log_or_exception(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        secrets = SocketCredentials(api_key=SecretStr("key-canary"), agent_token=SecretStr("token-canary"))
        async with (
            scripted_voice_live(refuse_with=lambda _: web.Response(status=401)) as service,
            open_http() as http,
        ):
            settings = settings_from(ORIGINAL | {"azure_voicelive_endpoint": service.address})
            with pytest.raises(ConnectRefusedError) as refused:
                await VoiceLiveConnection.open(http, settings, secrets)
        error: BaseException | None = refused.value
        assert error is not None
        assert error.__cause__ is None
        assert error.__suppress_context__
        assert "canary" not in f"{error!r} {error} {secrets!r}"
        ours = [
            r.getMessage() for r in caplog.records if not r.name.startswith(("aiohttp.access", "hypothesis"))
        ]
        assert not any("canary" in message for message in ours)


async def connected(service: ScriptedVoiceLive, http: aiohttp.ClientSession) -> VoiceLiveConnection:
    return await VoiceLiveConnection.open(http, service.settings(), KEY)


class TestSession:
    @pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 4000])
    async def test_close_codes_are_told_apart(self, code: int) -> None:
        async def close(session: ScriptedSession) -> None:
            await session.socket.close(code=code, message=b"secret reason")

        async with scripted_voice_live(close) as service, open_http() as http:
            connection = await connected(service, http)
            with pytest.raises(VoiceLiveClosedError) as closed:
                await connection.receive()
            assert closed.value.code == code
            assert "secret" not in str(closed.value)

    async def test_a_lost_connection_is_1006_and_not_a_clean_end(self) -> None:
        async with scripted_voice_live(ScriptedSession.abort) as service, open_http() as http:
            connection = await connected(service, http)
            with pytest.raises(VoiceLiveClosedError) as closed:
                await connection.receive()
            assert closed.value.code == 1006

    async def test_malformed_messages_raise_and_the_session_goes_on(self) -> None:
        async def nonsense(session: ScriptedSession) -> None:
            for text in ("", "{", "[]", '"text"', '{"type":1}', '{"type":"response.done"}', "null"):
                await session.socket.send_str(text)
            await session.socket.send_str(
                '{"type":"response.audio.delta","response_id":"r","item_id":"i","delta":"!!!!"}'
            )
            await session.socket.send_bytes(b'{"type":"future.event","x":1}')
            await session.until_closed()

        async with scripted_voice_live(nonsense) as service, open_http() as http:
            connection = await connected(service, http)
            for _ in range(8):
                with pytest.raises(MalformedEventError) as malformed:
                    await connection.receive()
                assert "!!!!" not in str(malformed.value)
            assert await connection.receive() == OtherEvent("future.event")
            await connection.close()

    async def test_audio_travels_both_ways(self) -> None:
        received: list[str] = []

        async def echo(session: ScriptedSession) -> None:
            received.append(await session.receive_audio())
            await session.send(
                {
                    "event_id": "event_1",
                    "type": "response.audio.delta",
                    "response_id": "resp_1",
                    "item_id": "msg_1",
                    "output_index": 0,
                    "content_index": 0,
                    "delta": received[0],
                }
            )
            await session.until_closed()

        pcm = bytes(range(256)) * 4
        async with scripted_voice_live(echo) as service, open_http() as http:
            connection = await connected(service, http)
            await connection.send_audio(pcm)
            assert await connection.receive() == AudioDelta("resp_1", "msg_1", pcm)
            await connection.close()

    async def test_an_event_larger_than_the_limit_closes_with_1009(self) -> None:
        async def oversize(session: ScriptedSession) -> None:
            await session.socket.send_str(json.dumps({"type": "x", "pad": "x" * 5_000_000}))
            await session.until_closed()

        async with scripted_voice_live(oversize) as service, open_http() as http:
            connection = await connected(service, http)
            with pytest.raises(VoiceLiveClosedError) as closed:
                await connection.receive()
            assert closed.value.code == 1009

    async def test_a_peer_that_never_answers_the_close_does_not_hold_us(self) -> None:
        """The SDK waits ten seconds here; an open session costs money."""
        deaf = asyncio.Event()

        async def never_reads(_: ScriptedSession) -> None:
            await deaf.wait()

        async with scripted_voice_live(never_reads) as service, open_http() as http:
            connection = await connected(service, http)
            started = asyncio.get_running_loop().time()
            await connection.close()
            assert asyncio.get_running_loop().time() - started < CLOSE_TIMEOUT_S * 5
            deaf.set()

    async def test_sending_after_the_end_raises_the_end(self) -> None:
        async def close(session: ScriptedSession) -> None:
            await session.socket.close(code=1011)

        async with scripted_voice_live(close) as service, open_http() as http:
            connection = await connected(service, http)
            with pytest.raises(VoiceLiveClosedError):
                await connection.receive()
            with pytest.raises(VoiceLiveClosedError):
                await connection.send_audio(b"\0\0")

    def test_the_url_keeps_the_endpoints_path(self) -> None:
        assert URL("https://a/base/").joinpath("voice-live", "realtime").path == "/base/voice-live/realtime"
