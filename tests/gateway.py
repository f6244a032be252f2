"""A running gateway and a raw client of it, for tests that look at every frame."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from app.config import Settings
from app.main import make_server
from app.websocket.listener import listen

WAIT_S = 30

DIRECT_FRAMES = True
"""Which way calls take; the fixture `both_ways` of conftest.py sets it."""


@dataclass
class RawCaller:
    """One WebSocket client that keeps every frame it receives, in order."""

    socket: aiohttp.ClientWebSocketResponse[bool]
    frames: list[bytes | dict[str, Any]] = field(default_factory=list)

    async def next(self) -> bytes | dict[str, Any] | None:
        """The next frame; None when the socket is closed."""
        async with asyncio.timeout(WAIT_S):
            try:
                message = await self.socket.receive()
            except aiohttp.ClientConnectionResetError:
                # The gateway asked whether we are there, and has closed before we could say so.
                message = await self.socket.receive()
        match message.type:
            case aiohttp.WSMsgType.BINARY:
                self.frames.append(message.data)
                return self.frames[-1]
            case aiohttp.WSMsgType.TEXT:
                self.frames.append(json.loads(message.data))
                return self.frames[-1]
            case _:
                return None

    async def until(self, message_type: str, **fields: object) -> dict[str, Any]:
        """The next message of this type with these fields; what comes before is kept in `frames`."""
        while (frame := await self.next()) is not None:
            if not isinstance(frame, dict) or frame["type"] != message_type:
                continue
            if all(frame.get(name) == value for name, value in fields.items()):
                return frame
        raise AssertionError(f"closed with {self.socket.close_code} before {message_type}: {self.messages}")

    async def until_closed(self) -> int | None:
        """The close code."""
        while await self.next() is not None:
            pass
        return self.socket.close_code

    def break_connection(self) -> None:
        """The network fails: no close frame."""
        connection = self.socket._response.connection
        assert connection is not None
        assert connection.transport is not None
        connection.transport.abort()

    async def send(self, **message: object) -> None:
        await self.socket.send_json(message)

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [frame for frame in self.frames if isinstance(frame, dict)]

    def of_type(self, message_type: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] == message_type]

    @property
    def audio(self) -> bytes:
        return b"".join(frame for frame in self.frames if isinstance(frame, bytes))


@dataclass
class RunningGateway:
    """The gateway under test, on a real port."""

    address: str
    http: aiohttp.ClientSession

    @asynccontextmanager
    async def caller(self, **options: Any) -> AsyncIterator[RawCaller]:
        """One call."""
        async with self.http.ws_connect(f"{self.address}/ws/voice", max_msg_size=0, **options) as socket:
            yield RawCaller(socket)


@asynccontextmanager
async def running_gateway(settings: Settings) -> AsyncIterator[RunningGateway]:
    """Run the gateway in this event loop, on real sockets; over TLS if the settings have a certificate."""
    scheme = "http"
    tls: ssl.SSLContext | bool = True
    if settings.app_tls_cert_file:
        scheme = "https"
        tls = ssl.create_default_context(cafile=settings.app_tls_cert_file)
    listener = listen("127.0.0.1", 0)
    server = make_server(settings, direct_frames=DIRECT_FRAMES)
    connector = aiohttp.TCPConnector(ssl=tls)
    async with aiohttp.ClientSession(connector=connector) as http, asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve(sockets=[listener]))
        try:
            yield RunningGateway(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}", http)
        finally:
            server.should_exit = True
