"""One WebSocket of a caller, attached to a call: it reads and writes frames and knows no rule of the call."""

import asyncio
from collections import deque
from typing import Final, Protocol

from starlette.websockets import WebSocket, WebSocketDisconnect

from app.messages import (
    BadMessageError,
    CallerAudio,
    ClientMessage,
    ServerMessage,
    encode_server_message,
    parse_client_message,
)

CLOSE_TIMEOUT_S: Final = 15.0
"""A client on a slow link needs this long to read what is on its way before the terminal message."""

LOST: Final = 1006
"""The code of a connection that broke without a close frame (`CallProtocol` reports it so)."""


class LinkClosedError(Exception):
    """The caller's socket is closed. `code` is the caller's own, LOST without a close frame."""

    def __init__(self, code: int) -> None:
        super().__init__(f"closed with code {code}")
        self.code = code


class CallSide(Protocol):
    """What a link needs of its call. None of these waits."""

    def hear(self, pcm: bytes) -> None:
        """Caller speech, any length."""

    def receive(self, message: ClientMessage) -> None:
        """A message of the client."""

    def complain(self, bad: BadMessageError) -> None:
        """A message that could not be understood."""

    def tick(self) -> None:
        """Time has passed."""

    def next_outgoing(self) -> bytes | ServerMessage | None:
        """The next thing to send now."""

    def next_wake_at(self) -> float | None:
        """When to ask again at the latest, on the event loop's clock."""


class CallerLink:
    """The reader and the writer of one socket. Its call wakes the writer with `wake`."""

    def __init__(self, websocket: WebSocket, call: CallSide) -> None:
        self.busy_since: float | None = None
        """Since when the writer has had something to send all the time: how far the client is behind."""

        self._websocket = websocket
        self._call = call
        self._wake = asyncio.Event()
        self._replaced = asyncio.Event()
        self._clock = asyncio.get_running_loop().time

    def wake(self) -> None:
        """There is something to send, or another time to wake up at."""
        self._wake.set()

    def replace(self) -> None:
        """The caller is back on another socket: this one is done with."""
        self._replaced.set()

    async def run(self) -> None:
        """Read and write until the socket is closed. Raises LinkClosedError, as the only one of a group."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read())
            tasks.create_task(self._write())
            tasks.create_task(self._until_replaced())

    async def finish(self, messages: deque[ServerMessage], close_code: int) -> bool:
        """Send these, then the close frame. False when the client is gone or does not read."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                for message in messages:
                    await self._websocket.send_text(encode_server_message(message))
                await self._websocket.close(close_code)
        except (TimeoutError, WebSocketDisconnect, RuntimeError):
            return False
        return True

    async def _until_replaced(self) -> None:
        await self._replaced.wait()
        raise LinkClosedError(LOST)

    async def _read(self) -> None:
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                raise LinkClosedError(message.get("code") or 1005)
            if (data := message.get("bytes")) is not None:
                self._call.hear(data)
                continue
            try:
                parsed = parse_client_message(message.get("text") or "")
            except BadMessageError as bad:
                self._call.complain(bad)
                continue
            if isinstance(parsed, CallerAudio):
                self._call.hear(parsed.pcm)
            else:
                self._call.receive(parsed)

    async def _write(self) -> None:
        """The only writer of the socket while the call is live."""
        while True:
            self._wake.clear()
            self._call.tick()
            self.busy_since = self._clock()
            # What the call has to say from now on is for the socket that replaces this one.
            while not self._replaced.is_set() and (outgoing := self._call.next_outgoing()) is not None:
                await self._send(outgoing)
            self.busy_since = None
            try:
                async with asyncio.timeout_at(self._call.next_wake_at()):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _send(self, outgoing: bytes | ServerMessage) -> None:
        try:
            if isinstance(outgoing, bytes):
                await self._websocket.send_bytes(outgoing)
            else:
                await self._websocket.send_text(encode_server_message(outgoing))
        except (WebSocketDisconnect, RuntimeError):
            # The reader is told the code, and ends the link with it.
            await asyncio.Event().wait()


def close_code_of(closed: "BaseExceptionGroup[LinkClosedError]") -> int:
    """The code of the first LinkClosedError in a group of them, however deep."""
    first = closed.exceptions[0]
    return close_code_of(first) if isinstance(first, BaseExceptionGroup) else first.code
