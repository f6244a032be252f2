"""The limits that the product's own server is given, on its own port."""

import asyncio
import socket

import pytest

from app.main import make_server
from app.websocket.listener import listen
from tests.gateway import running_gateway
from tests.scripted_voice_live import ScriptedVoiceLive, scripted_voice_live
from tests.test_main import quiet, upgrade

HALF_OPEN_S = 20
MAX_MESSAGE_BYTES = 64 * 1024


async def test_deflate_is_offered_and_not_negotiated() -> None:
    async with scripted_voice_live(quiet) as service, running_gateway(service.settings()) as gateway:
        offer = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}
        async with gateway.http.get(f"{gateway.address}/ws/voice", headers=upgrade() | offer) as answer:
            assert answer.status == 101
            assert "Sec-WebSocket-Extensions" not in answer.headers


@pytest.mark.parametrize(("size", "code"), [(MAX_MESSAGE_BYTES, None), (MAX_MESSAGE_BYTES + 1, 1009)])
async def test_a_message_has_64_kib_at_most(size: int, code: int | None) -> None:
    async with scripted_voice_live(quiet) as service, running_gateway(service.settings()) as gateway:
        async with gateway.caller() as caller:
            await caller.until("session_started")
            await caller.socket.send_bytes(bytes(size))
            if code is None:
                await caller.send(type="ping")
                await caller.until("pong")
            else:
                assert await caller.until_closed() == code


async def test_who_is_half_open_is_found_within_twenty_seconds() -> None:
    config = make_server(ScriptedVoiceLive().settings()).config
    assert config.ws_ping_interval is not None
    assert config.ws_ping_timeout is not None
    assert config.ws_ping_interval + config.ws_ping_timeout <= HALF_OPEN_S


async def test_little_waits_in_the_kernel_for_a_slow_client() -> None:
    loop = asyncio.get_running_loop()
    with listen("127.0.0.1", 0) as listener, socket.socket() as client:
        listener.setblocking(False)
        client.setblocking(False)
        _, (accepted, _) = await asyncio.gather(
            loop.sock_connect(client, listener.getsockname()), loop.sock_accept(listener)
        )
        with accepted:
            # Linux doubles what is asked for.
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 2 * 32 * 1024


async def test_a_proxy_of_the_environment_sees_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = 0

    async def proxy(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen += 1
        writer.close()

    server = await asyncio.start_server(proxy, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "WS_PROXY", "WSS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, address)
        monkeypatch.setenv(name.lower(), address)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with server, scripted_voice_live(quiet) as service, running_gateway(service.settings()) as gateway:
        async with gateway.caller() as caller:
            await caller.until("session_started")
    assert seen == 0
