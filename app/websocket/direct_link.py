"""A call's end of its socket where our server serves it: frames go out as bytes, with nothing in between."""

import asyncio
import struct
from collections.abc import Iterable
from typing import Final, Protocol

from app.websocket.client_frames import BINARY_MESSAGE, TEXT_MESSAGE
from app.websocket.frame_link import LOST, FrameReceiver, LinkLostError

_SHORT_HEADER: Final = struct.Struct("!BB").pack
_MEDIUM_HEADER: Final = struct.Struct("!BBH").pack
_LONG_HEADER: Final = struct.Struct("!BBQ").pack


class FrameProtocol(Protocol):
    """What the link needs of the protocol that reads the socket."""

    def deliver_to(self, receiver: FrameReceiver) -> None:
        """From now on, and with what has come already."""

    def pause_reading(self) -> None:
        """Let the client wait."""

    def resume_reading(self) -> None:
        """Read on, first what waits."""

    def close(self, code: int) -> None:
        """Send a close frame, and drop a client that does not answer it."""


class DirectLink:
    """The FrameLink of one connection that our server serves."""

    def __init__(self, protocol: FrameProtocol, transport: asyncio.Transport) -> None:
        loop = asyncio.get_running_loop()
        self.writable = True
        self.is_open = True
        self.closed: asyncio.Future[int] = loop.create_future()
        self._served: asyncio.Future[int] = loop.create_future()
        self._error: Exception | None = None
        self._protocol = protocol
        self._transport = transport

    async def serve(self, receiver: FrameReceiver) -> int:
        """Deliver frames until the socket is closed."""
        self._protocol.deliver_to(receiver)
        code = await self._served
        error, self._error = self._error, None
        if error is None:
            return code
        try:
            raise error
        finally:
            del error  # it holds this frame, and all would wait for the garbage collector

    def send_bytes(self, data: bytes) -> None:
        """Send a binary message."""
        self._send(BINARY_MESSAGE, data)

    def send_text(self, data: bytes) -> None:
        """Send a text message."""
        self._send(TEXT_MESSAGE, data)

    def _send(self, first: int, data: bytes) -> None:
        if not self.is_open:
            return
        length = len(data)
        if length < 126:
            header = _SHORT_HEADER(first, length)
        elif length < 65536:
            header = _MEDIUM_HEADER(first, 126, length)
        else:
            header = _LONG_HEADER(first, 127, length)
        self._transport.write(header + data)

    def pause_reading(self) -> None:
        """Let the client wait."""
        self._protocol.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        self._protocol.resume_reading()

    def abandon(self, error: Exception | None = None) -> None:
        """End `serve`; without an error, drop the connection too."""
        if error is None:
            self._transport.abort()
            self.end(LOST)
        elif not self._served.done():
            self._error = error
            self._served.set_result(LOST)

    async def finish(self, texts: Iterable[bytes], close_code: int) -> None:
        """Say this and close. A client that does not answer in the caller's time is dropped."""
        if self.closed.done():
            raise LinkLostError
        for text in texts:
            self.send_text(text)
        self._protocol.close(close_code)
        try:
            await asyncio.wait([self.closed])
        except asyncio.CancelledError:
            self._transport.abort()
            raise
        if self.closed.result() == LOST:
            raise LinkLostError

    def end(self, code: int) -> None:
        """The connection is closed; the first code counts."""
        self.is_open = False
        if not self.closed.done():
            self.closed.set_result(code)
        if not self._served.done():
            self._served.set_result(code)
