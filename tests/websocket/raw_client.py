"""A WebSocket client that sends whatever bytes a test likes, and a server for an application of the test."""

import asyncio
import os
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import uvicorn
from websockets.frames import apply_mask  # type: ignore[attr-defined]

from app.websocket.call_protocol import CallProtocol
from app.websocket.http_protocol import HttpProtocol, OpenConnections
from app.websocket.listener import listen

BINARY, TEXT, CONTINUATION, CLOSE, PING, PONG = 2, 1, 0, 8, 9, 10
WAIT_S = 20

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """One frame of a client."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    mask_bit = 0x80 if masked else 0
    if len(payload) < 126:
        head = struct.pack("!BB", first, mask_bit | len(payload))
    elif len(payload) < 65536:
        head = struct.pack("!BBH", first, mask_bit | 126, len(payload))
    else:
        head = struct.pack("!BBQ", first, mask_bit | 127, len(payload))
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + apply_mask(payload, mask)


def close_frame(code: int) -> bytes:
    return frame(CLOSE, code.to_bytes(2, "big"))


@dataclass
class RawClient:
    """One connection; what the server says is read frame by frame."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def shake_hands(self, request: bytes = REQUEST) -> bytes:
        """Send the request; the head of the answer."""
        self.writer.write(request)
        async with asyncio.timeout(WAIT_S):
            return await self.reader.readuntil(b"\r\n\r\n")

    def send(self, *frames: bytes) -> None:
        self.writer.write(b"".join(frames))

    async def frame(self) -> tuple[int, bytes]:
        """The next frame: unmasked, in one piece. Raises IncompleteReadError."""
        async with asyncio.timeout(WAIT_S):
            first, length = await self.reader.readexactly(2)
            assert first & 0xF0 == 0x80
            if length == 126:
                length = int.from_bytes(await self.reader.readexactly(2), "big")
            elif length == 127:
                length = int.from_bytes(await self.reader.readexactly(8), "big")
            return first & 0x0F, await self.reader.readexactly(length)

    async def close_code(self) -> int | None:
        """Read on to the close frame; its code, None when the connection ends without one."""
        try:
            while True:
                opcode, payload = await self.frame()
                if opcode == CLOSE:
                    return int.from_bytes(payload[:2], "big") if payload else 1005
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def until_gone(self) -> None:
        """Read on until the server has closed the connection."""
        async with asyncio.timeout(WAIT_S):
            try:
                while await self.reader.read(65536):
                    pass
            except ConnectionError:
                pass


@asynccontextmanager
async def raw_client(port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawClient]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    try:
        yield RawClient(reader, writer)
    finally:
        writer.transport.abort()


@dataclass
class Heard:
    """A FrameReceiver that keeps what it is given."""

    messages: list[tuple[bytes, bool]] = field(default_factory=list)
    ends_of_reads: int = 0
    floods: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def on_binary(self, payload: bytes | memoryview, last_in_read: bool, /) -> None:
        if payload:
            self.messages.append((bytes(payload), False))
        self.ends_of_reads += last_in_read
        self.changed.set()

    def on_text(self, payload: bytes | memoryview) -> None:
        self.messages.append((bytes(payload), True))

    def on_writable(self) -> None:
        pass

    def on_flood(self) -> None:
        self.floods += 1
        self.changed.set()

    def on_silent(self) -> bool:
        return False

    @property
    def audio(self) -> bytes:
        """All binary messages, joined: those that came together may be delivered together."""
        return b"".join(payload for payload, is_text in self.messages if not is_text)

    async def until(self, count: int) -> None:
        await self._until(lambda: len(self.messages) >= count)

    async def until_audio(self, size: int) -> None:
        """So many bytes of binary messages have come."""
        await self._until(lambda: len(self.audio) >= size)

    async def _until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not reached():
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def running_app(
    app: Any,
    *,
    direct: bool = True,
    ping_s: float | None = None,
    max_connections_per_address: int = 0,
    proxies: Sequence[Any] = (),
) -> AsyncIterator[int]:
    """Serve an ASGI application on our protocols; the port."""
    listener = listen("127.0.0.1", 0)
    connections = OpenConnections(max_connections_per_address, proxies)
    config = uvicorn.Config(
        app,
        log_config=None,
        lifespan="off",
        http=cast(type[asyncio.Protocol], partial(HttpProtocol, connections=connections)),
        ws=cast(type[asyncio.Protocol], partial(CallProtocol, offers_frames=direct)),
        ws_max_size=64 * 1024,
        ws_per_message_deflate=False,
        ws_ping_interval=ping_s,
        ws_ping_timeout=ping_s,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    with listener:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.serve(sockets=[listener]))
            try:
                yield int(listener.getsockname()[1])
            finally:
                server.should_exit = True
