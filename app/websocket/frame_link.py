"""The one small interface through which a call meets its caller's socket, and its form for any ASGI server.

Frames arrive by callback, and are sent without waiting as long as the client keeps up.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Final, Protocol

from starlette.websockets import WebSocket, WebSocketDisconnect

Payload = bytes | memoryview

LOST: Final = 1006
"""The code of a connection that broke without a close frame."""

NO_CODE: Final = 1005
"""The code of a close frame that says none."""

FLOODED: Final = 4429
"""The code of a disconnect over ASGI after which our server still sends: the client sends too much."""

EXTENSION: Final = "voice_live.frames"
"""Our ASGI extension: its value in the scope holds the FrameLink of this WebSocket as `link`."""


class FrameReceiver(Protocol):
    """What a link calls. None of these waits; what one raises ends the link."""

    def on_binary(self, payload: Payload, last_in_read: bool, /) -> None:
        """A binary message of the client, or several that came together, joined.

        A memoryview is valid during this call only.

        `last_in_read` is false while more that came with it follows at once. After other messages an empty
        binary one may stand for "that was the last".
        """

    def on_text(self, payload: Payload) -> None:
        """A text message of the client, in UTF-8; never the last of a read."""

    def on_writable(self) -> None:
        """The client has caught up: the link is `writable` again."""

    def on_flood(self) -> None:
        """The client sends too many messages. None of what it sent beyond that is delivered."""

    def on_silent(self) -> bool:
        """The client does not answer a ping. False: its connection is to count as lost."""


class FrameLink(Protocol):
    """One WebSocket of a caller, accepted and not yet closed. Single use."""

    @property
    def writable(self) -> bool:
        """Whether the client keeps up. Who sends nevertheless makes the buffer grow."""

    async def serve(self, receiver: FrameReceiver) -> int:
        """Deliver frames until the socket is closed; the client's close code, LOST without a close frame.

        Raises what `receiver` raised.
        """

    def send_bytes(self, data: bytes) -> None:
        """Send a binary message. Never waits; to a client that is gone, it does nothing."""

    def send_text(self, data: bytes) -> None:
        """Send a text message, given as UTF-8. Never waits; to a client that is gone, it does nothing."""

    def pause_reading(self) -> None:
        """Deliver no more frames for now, so that the client has to wait."""

    def resume_reading(self) -> None:
        """Deliver frames again."""

    def abandon(self, error: Exception | None = None) -> None:
        """Have `serve` return LOST, or raise `error`."""

    async def finish(self, texts: Iterable[bytes], close_code: int) -> None:
        """After `serve`: what is unsent, these text messages, the close frame.

        Returns when the client has read it or is gone; the caller bounds the time. Raises LinkLostError for
        a client that is gone already.
        """


class LinkLostError(Exception):
    """The client is gone."""


def link_of(websocket: WebSocket) -> FrameLink:
    """The link of an accepted WebSocket: direct where the server offers that, else over ASGI."""
    extension = (websocket.scope.get("extensions") or {}).get(EXTENSION)
    return extension["link"] if extension else AsgiLink(websocket)


class AsgiLink:
    """Frames over the `receive` and `send` of ASGI: on TestClient, and on servers other than ours."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._unsent: deque[tuple[bytes, bool]] = deque()
        self._wake = asyncio.Event()
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._closed: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def writable(self) -> bool:
        """Whether all was handed to the server."""
        return not self._unsent

    async def serve(self, receiver: FrameReceiver) -> int:
        """Read and write until the socket is closed."""
        async with asyncio.TaskGroup() as tasks:
            pumps = [
                tasks.create_task(self._read(receiver)),
                tasks.create_task(self._write(receiver)),
            ]
            await asyncio.wait([self._closed])
            for pump in pumps:
                pump.cancel()
        return self._closed.result()

    def send_bytes(self, data: bytes) -> None:
        """Queue a binary message."""
        self._unsent.append((data, False))
        self._wake.set()

    def send_text(self, data: bytes) -> None:
        """Queue a text message."""
        self._unsent.append((data, True))
        self._wake.set()

    def pause_reading(self) -> None:
        """Ask the server for no more messages."""
        self._may_read.clear()

    def resume_reading(self) -> None:
        """Ask the server for messages again."""
        self._may_read.set()

    def abandon(self, error: Exception | None = None) -> None:
        """End `serve`."""
        if self._closed.done():
            return
        if error is None:
            self._closed.set_result(LOST)
        else:
            self._closed.set_exception(error)

    async def finish(self, texts: Iterable[bytes], close_code: int) -> None:
        """Send what is left, then close."""
        self._unsent.extend((text, True) for text in texts)
        try:
            await self._send_unsent()
            await self._websocket.close(close_code)
        except (WebSocketDisconnect, RuntimeError):
            raise LinkLostError from None

    async def _read(self, receiver: FrameReceiver) -> None:
        while True:
            await self._may_read.wait()
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                if message.get("code") == FLOODED:
                    receiver.on_flood()
                elif not self._closed.done():
                    self._closed.set_result(message.get("code") or NO_CODE)
                return
            data = message.get("bytes")
            if data is not None:
                receiver.on_binary(data, True)
            else:
                receiver.on_text((message.get("text") or "").encode())
                receiver.on_binary(b"", True)

    async def _write(self, receiver: FrameReceiver) -> None:
        while True:
            self._wake.clear()
            try:
                await self._send_unsent()
            except (WebSocketDisconnect, RuntimeError):
                return  # the reader is told the code, and ends the link with it
            receiver.on_writable()
            if not self._unsent:
                await self._wake.wait()

    async def _send_unsent(self) -> None:
        while self._unsent:
            data, is_text = self._unsent[0]
            if is_text:
                await self._websocket.send_text(data.decode())
            else:
                await self._websocket.send_bytes(data)
            self._unsent.popleft()
