"""How a Voice Live socket comes about: the handshake equals the SDK's, and nothing of it leaks."""

import asyncio
import gc
import logging
import socket
import ssl
import warnings
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web
from azure.ai.voicelive.aio import ConnectionError as SdkConnectionError
from azure.ai.voicelive.aio import connect
from azure.core.credentials import AccessToken, AzureKeyCredential
from pydantic import SecretStr
from yarl import URL

from app.config import Settings, settings_from
from app.voicelive.connection import VoiceLiveConnection
from app.voicelive.credentials import SocketCredentials
from app.voicelive.handshake import ConnectFailedError, Connector, ConnectRefusedError
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
    with pytest.raises(ConnectRefusedError):
        await VoiceLiveConnection.open(Connector(), settings, credentials)


def query_and_headers(request: web.Request) -> tuple[str, dict[str, str], dict[str, str]]:
    query = {name: value for name, value in request.query.items() if name != "x-ms-client-sdk"}
    headers = {name: value for name, value in request.headers.items() if name not in IDENTIFIES_THE_CLIENT}
    return request.path, query, headers


async def stays(session: ScriptedSession) -> None:
    await session.until_closed()


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

        async with scripted_voice_live(refuse_with=refuse) as service:
            with pytest.raises(ConnectRefusedError) as refused:
                await VoiceLiveConnection.open(Connector(), service.settings(), KEY)
            assert (refused.value.status, refused.value.retry_after_s) == (status, 7)

    @pytest.mark.parametrize("status", [301, 302, 307, 308])
    async def test_a_redirect_is_never_followed(self, status: int) -> None:
        async with scripted_voice_live() as elsewhere:

            def redirect(_: web.Request) -> web.Response:
                return web.Response(status=status, headers={"Location": elsewhere.address})

            async with scripted_voice_live(refuse_with=redirect) as service:
                with pytest.raises(ConnectFailedError):
                    await VoiceLiveConnection.open(Connector(), service.settings(), KEY)
            assert elsewhere.handshakes == []

    async def test_nobody_there_is_a_failure(self) -> None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            service = ScriptedVoiceLive(port=closed.getsockname()[1])
            with pytest.raises(ConnectFailedError):
                await VoiceLiveConnection.open(Connector(), service.settings(), KEY)

    async def test_an_http_page_is_a_refusal(self) -> None:
        async with scripted_voice_live(refuse_with=lambda _: web.Response(text="hello")) as service:
            with pytest.raises(ConnectRefusedError):
                await VoiceLiveConnection.open(Connector(), service.settings(), KEY)

    async def test_a_cancelled_handshake_leaves_no_connection(self) -> None:
        async with scripted_voice_live() as service:
            service.hang = asyncio.Event()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await VoiceLiveConnection.open(Connector(), service.settings(), KEY)
            (handshake,) = service.requests
            assert await asyncio.wait([handshake], timeout=10) == ({handshake}, set())

    async def test_proxies_of_the_environment_are_not_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with scripted_voice_live(refuse_with=lambda _: web.Response(status=404)) as service:
            monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
            monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
            await our_handshake(service, service.settings(), KEY)
            assert len(service.handshakes) == 1

    async def test_no_secret_is_in_any_log_or_exception(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        secrets = SocketCredentials(api_key=SecretStr("key-canary"), agent_token=SecretStr("token-canary"))
        async with scripted_voice_live(refuse_with=lambda _: web.Response(status=401)) as service:
            settings = settings_from(ORIGINAL | {"azure_voicelive_endpoint": service.address})
            with pytest.raises(ConnectRefusedError) as refused:
                await VoiceLiveConnection.open(Connector(), settings, secrets)
        error: BaseException | None = refused.value
        assert error is not None
        assert error.__cause__ is None
        assert error.__suppress_context__
        assert "canary" not in f"{error!r} {error} {secrets!r}"
        ours = [
            r.getMessage() for r in caplog.records if not r.name.startswith(("aiohttp.access", "hypothesis"))
        ]
        assert not any("canary" in message for message in ours)

    async def test_a_peer_that_hangs_up_instead_of_answering_is_a_failure(self) -> None:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        async with server:
            service = ScriptedVoiceLive(port=server.sockets[0].getsockname()[1])
            with pytest.raises(ConnectFailedError):
                await VoiceLiveConnection.open(Connector(), service.settings(), KEY)

    async def test_a_name_that_nobody_knows_is_a_failure(self) -> None:
        settings = settings_from(
            MODEL
            | {
                "azure_voicelive_endpoint": "https://nowhere.invalid",
                "upstream_allowed_hosts": "nowhere.invalid",
            }
        )
        with pytest.raises(ConnectFailedError):
            await VoiceLiveConnection.open(Connector(), settings, KEY)

    async def test_a_key_cannot_add_headers(self) -> None:
        async with scripted_voice_live() as service:
            hostile = SocketCredentials(api_key=SecretStr("key\r\nX-Other: 1"))
            with pytest.raises(ConnectFailedError):
                await VoiceLiveConnection.open(Connector(), service.settings(), hostile)
            assert service.handshakes == []

    async def test_names_are_resolved_once_for_calls_that_follow_each_other(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loop = asyncio.get_running_loop()
        asked: list[str] = []

        async def resolve(host: str, port: int, **_: Any) -> list[Any]:
            asked.append(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

        async with scripted_voice_live(stays) as service:
            monkeypatch.setattr(loop, "getaddrinfo", resolve)
            settings = service.settings(azure_voicelive_endpoint=f"http://localhost:{service.port}")
            connector = Connector()
            for _ in range(3):
                await (await VoiceLiveConnection.open(connector, settings, KEY)).close()
        assert asked == ["localhost"]

    async def test_an_address_that_does_not_answer_is_passed_over(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with scripted_voice_live(stays) as service:
            with socket.socket() as closed:
                closed.bind(("127.0.0.1", 0))
                dead = closed.getsockname()

            async def resolve(*_: Any, **__: Any) -> list[Any]:
                alive = ("127.0.0.1", service.port)
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in (dead, alive)]

            monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
            connection = await VoiceLiveConnection.open(Connector(), service.settings(), KEY)
            await connection.close()

    def test_the_url_keeps_the_endpoints_path(self) -> None:
        assert URL("https://a/base/").joinpath("voice-live", "realtime").path == "/base/voice-live/realtime"


class TestTls:
    """Certificates are always verified, against the system's authorities or those of SSL_CERT_FILE."""

    @pytest.fixture
    def authority(self) -> trustme.CA:
        return trustme.CA()

    @pytest.fixture
    def trusted(self, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = tmp_path / "authority.pem"
        authority.cert_pem.write_to_path(str(file))
        monkeypatch.setenv("SSL_CERT_FILE", str(file))

    def server_side(self, authority: trustme.CA, name: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(context)
        return context

    def settings(self, service: ScriptedVoiceLive, host: str = "127.0.0.1") -> Settings:
        return service.settings(azure_voicelive_endpoint=f"https://{host}:{service.port}")

    @pytest.mark.usefixtures("trusted")
    async def test_a_session_over_tls_with_messages_of_any_size(self, authority: trustme.CA) -> None:
        sizes = [1, 8_000, 9_000, 70_000, 700_000]

        async def echo(session: ScriptedSession) -> None:
            for _ in sizes:
                await session.send({"type": "echo." + await session.receive_audio()})
            await session.until_closed()

        tls = self.server_side(authority, "127.0.0.1")
        async with scripted_voice_live(echo, tls=tls) as service:
            connection = await VoiceLiveConnection.open(Connector(), self.settings(service), KEY)
            for size in sizes:
                connection.send_audio(bytes(size))
            for size in sizes:
                event = await connection.receive()
                assert len(event.type) == len("echo.") + -(-size // 3) * 4  # type: ignore[union-attr]
            await connection.close()

    @pytest.mark.parametrize("trusts", [True, False])
    async def test_an_unknown_authority_or_another_name_is_refused(
        self, trusts: bool, authority: trustme.CA, request: pytest.FixtureRequest
    ) -> None:
        if trusts:
            request.getfixturevalue("trusted")
        tls = self.server_side(authority, "voice.example" if trusts else "127.0.0.1")
        async with scripted_voice_live(tls=tls) as service:
            with pytest.raises(ConnectFailedError):
                await VoiceLiveConnection.open(Connector(), self.settings(service), KEY)
            assert service.handshakes == []

    @pytest.mark.usefixtures("trusted")
    async def test_a_handshake_cancelled_at_any_moment_leaves_no_connection(
        self, authority: trustme.CA
    ) -> None:
        async with scripted_voice_live(tls=self.server_side(authority, "127.0.0.1")) as service:
            service.hang = asyncio.Event()
            connector, settings = Connector(), self.settings(service)
            for wait_ms in (0, 1, 2, 3, 5, 10, 50):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(wait_ms / 1000):
                        await VoiceLiveConnection.open(connector, settings, KEY)
            if service.requests:
                assert not (await asyncio.wait(service.requests, timeout=10))[1]
        with warnings.catch_warnings(record=True) as unclosed:
            warnings.simplefilter("always")
            gc.collect()
        assert not [str(w.message) for w in unclosed if issubclass(w.category, ResourceWarning)]
