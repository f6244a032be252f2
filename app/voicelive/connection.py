"""One Voice Live session as a socket: open, send, receive, close.

The socket is ours and not the SDK's: the SDK's iterator ends silently on every close, its handshake leaks a
client session when cancelled, and its typed path costs some ten times a plain codec per event. Events are
pushed to their receiver from where the socket reads, and what is sent is written at once: no task and no
queue lies between.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, Protocol, cast

import orjson
import picows

from app.config import Settings
from app.voicelive.codec import decode_event, encode_append
from app.voicelive.credentials import SocketCredentials
from app.voicelive.events import MalformedEventError, ServerEvent
from app.voicelive.handshake import MAX_EVENT_BYTES, Connector, handshake_headers, handshake_url
from app.voicelive.message_reader import MessageReader

CLOSE_TIMEOUT_S: Final = 0.8
"""Voice Live is given this long to answer our close frame: an open session costs money."""

WRITE_BUFFER_BYTES: Final = 64 * 1024
"""About a second of caller speech; beyond it the connection is not `writable`."""

MAX_UNREAD_EVENTS: Final = 64

LOST: Final = 1006
"""The code of a connection that broke without a close frame."""

NO_CODE: Final = 1005
"""The code of a close frame that says none."""

PROTOCOL_CLOSE_CODES: Final = (1002, 1003, 1007, 1009)
"""One of the two sides did not understand the other: another attempt would end in the same way."""

REFUSALS: Final = {
    picows.WSCloseCode.PROTOCOL_ERROR: 1002,
    picows.WSCloseCode.INVALID_TEXT: 1007,
    picows.WSCloseCode.MESSAGE_TOO_BIG: 1009,
}
"""With these we close ourselves, because of what the service sent."""

TEXT: Final = picows.WSMsgType.TEXT
BINARY: Final = picows.WSMsgType.BINARY
CONTINUATION: Final = picows.WSMsgType.CONTINUATION
CLOSE: Final = picows.WSMsgType.CLOSE


class VoiceLiveClosedError(Exception):
    """The session is over. `code` is the peer's close code; 1006 when the connection was lost."""

    def __init__(self, code: int) -> None:
        super().__init__(f"closed with code {code}")
        self.code = code


class EventReceiver(Protocol):
    """What `deliver` calls. None of these waits; what one raises ends the connection."""

    def on_event(self, event: ServerEvent) -> None:
        """The next event, in the order in which the service sent it."""

    def on_malformed(self, error: MalformedEventError) -> None:
        """A message that is no event; the session goes on."""

    def on_writable(self) -> None:
        """The service has caught up: the connection is `writable` again."""


class VoiceLiveConnection(picows.WSListener):
    """One open Voice Live session. One reader at a time: events are received one by one, or delivered."""

    def __init__(self, read_buffer: memoryview) -> None:
        """`read_buffer`: of all connections of the event loop."""
        self.writable = False
        """Whether the service keeps up. Who sends nevertheless makes the buffer grow."""

        self._transport: picows.WSTransport
        self._read_buffer: memoryview | None = read_buffer
        """None once this connection reads through it."""

        self._receiver: EventReceiver | None = None
        self._unread: list[ServerEvent | MalformedEventError] = []
        self._parts: bytearray | None = None
        self._code: int | None = None
        self._error: Exception | None = None
        self._changed: asyncio.Future[None] | None = None

    @classmethod
    async def open(
        cls,
        connector: Connector,
        settings: Settings,
        credentials: SocketCredentials,
        conversation_id: str | None = None,
    ) -> "VoiceLiveConnection":
        """Shake hands. The caller bounds the time; a cancelled handshake leaves nothing open.

        Raises ConnectRefusedError, ConnectFailedError.
        """
        connection = cls(connector.read_buffer)
        url = handshake_url(settings, credentials, conversation_id)
        await connector.connect(url, handshake_headers(credentials), connection)
        return connection

    def send(self, event: Mapping[str, Any]) -> None:
        """Send one client event. Never waits. Raises VoiceLiveClosedError."""
        if self._code is not None:
            raise VoiceLiveClosedError(self._code)
        self._transport.send(TEXT, orjson.dumps(event))

    def send_audio(self, pcm: bytes | memoryview) -> None:
        """Send caller speech: PCM16 LE, 24 kHz, mono, whole samples. Never waits.

        Raises VoiceLiveClosedError.
        """
        if self._code is not None:
            raise VoiceLiveClosedError(self._code)
        self._transport.send(TEXT, encode_append(pcm))

    async def receive(self) -> ServerEvent:
        """The next event, in the order in which the service sent it.

        Raises VoiceLiveClosedError when the session is over, MalformedEventError for a message that is no
        event; after the latter the session goes on.
        """
        while not self._unread:
            if self._code is not None:
                raise VoiceLiveClosedError(self._code)
            await self._until_changed()
        event = self._unread.pop(0)
        if not self._unread and self._code is None:
            self._transport.underlying_transport.resume_reading()
        if isinstance(event, MalformedEventError):
            raise event
        return event

    async def deliver(self, receiver: EventReceiver) -> int:
        """Push every event to `receiver` until the session is over; its close code.

        Raises what `receiver` raised.
        """
        self._receiver = receiver
        try:
            while self._unread:
                event = self._unread.pop(0)
                if isinstance(event, MalformedEventError):
                    receiver.on_malformed(event)
                else:
                    receiver.on_event(event)
            if self._code is None:
                self._transport.underlying_transport.resume_reading()
            while self._code is None:
                await self._until_changed()
        finally:
            self._receiver = None
        if self._error is not None:
            raise self._error
        return self._code

    def abandon(self, code: int = 1000) -> None:
        """Have `deliver` return this code. The socket is still to be closed."""
        self._end(code)

    async def close(self) -> None:
        """Hang up, within CLOSE_TIMEOUT_S. Never raises for a peer that is gone already."""
        self._transport.send_close(picows.WSCloseCode.OK)  # does nothing where one was sent already
        self._end(1000)
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._transport.wait_disconnected()
        except (TimeoutError, picows.WSProtocolError):
            pass
        finally:
            self._transport.disconnect(graceful=False)

    # ---------------------------------------------------------------------------- called by the socket

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        """The handshake is complete."""
        self._transport = transport
        transport.underlying_transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self.writable = True

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        """One frame, of those that are no whole message, and the first ones; valid during this call only."""
        if self._read_buffer is not None and frame.fin and self._parts is None and not frame.tail_size:
            self._take_reads_over(transport.underlying_transport, self._read_buffer)
        try:
            kind = frame.msg_type
            if kind is CLOSE:
                self._answer_close(transport, frame)
            elif self._code is not None or transport.is_close_frame_sent:
                pass  # it comes too late; picows passes on even the frame that was too large
            elif frame.fin and self._parts is None and (kind is TEXT or kind is BINARY):
                self._on_message(frame.get_payload_as_memoryview())
            else:
                self._on_part(transport, frame, kind)
        except Exception as error:  # noqa: BLE001 - it is raised by `deliver`
            self._fail(error)

    def on_whole_message(self, payload: memoryview) -> None:
        """A message of one frame; its memory is valid during this call only."""
        if self._code is not None or self._transport.is_close_frame_sent:
            return  # it comes too late
        try:
            self._on_message(payload)
        except Exception as error:  # noqa: BLE001 - it is raised by `deliver`
            self._fail(error)

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        """The connection is gone, cleanly or not."""
        handshake = transport.close_handshake
        sent = handshake.sent if handshake is not None else None
        self._end(REFUSALS.get(sent.code, LOST) if sent is not None else LOST)

    def pause_writing(self) -> None:
        """More is unsent than WRITE_BUFFER_BYTES."""
        self.writable = False

    def resume_writing(self) -> None:
        """The service has taken what was unsent."""
        if self._code is not None:
            return
        self.writable = True
        if self._receiver is not None:
            self._receiver.on_writable()

    def _take_reads_over(self, transport: asyncio.Transport, buffer: memoryview) -> None:
        """Called between two messages, when picows has nothing left in its own buffer."""
        self._read_buffer = None
        picows_protocol = cast(asyncio.BufferedProtocol, transport.get_protocol())
        transport.set_protocol(MessageReader(picows_protocol, buffer, self.on_whole_message, MAX_EVENT_BYTES))

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._end(LOST)
        self._transport.disconnect(graceful=False)

    def _on_message(self, payload: bytes | memoryview) -> None:
        try:
            event = decode_event(payload)
        except MalformedEventError as error:
            if self._receiver is not None:
                self._receiver.on_malformed(error)
            else:
                self._keep(error)
            return
        if self._receiver is not None:
            self._receiver.on_event(event)
        else:
            self._keep(event)

    def _keep(self, event: ServerEvent | MalformedEventError) -> None:
        self._unread.append(event)
        self._tell_change()
        if len(self._unread) >= MAX_UNREAD_EVENTS:
            self._transport.underlying_transport.pause_reading()

    def _on_part(self, transport: picows.WSTransport, frame: picows.WSFrame, kind: picows.WSMsgType) -> None:
        """Join the fragments of a message, in between which control frames may come."""
        if kind not in (TEXT, BINARY, CONTINUATION):
            return
        if (kind is CONTINUATION) is (self._parts is None):
            transport.send_close(picows.WSCloseCode.PROTOCOL_ERROR)
            transport.disconnect()
            return
        parts = self._parts = bytearray() if self._parts is None else self._parts
        if len(parts) + frame.payload_size > MAX_EVENT_BYTES:
            transport.send_close(picows.WSCloseCode.MESSAGE_TOO_BIG)
            transport.disconnect()
            return
        parts += frame.get_payload_as_memoryview()
        if frame.fin:
            self._parts = None
            self._on_message(memoryview(parts))

    def _answer_close(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if not transport.is_close_frame_sent:
            code = int.from_bytes(frame.get_payload_as_bytes()[:2], "big")
            if code:
                transport.send_close(frame.get_close_code())
            else:
                transport.send(CLOSE, b"")
            self._end(code or NO_CODE)
        transport.disconnect()

    def _end(self, code: int) -> None:
        """The session is over; the first code counts."""
        if self._code is None:
            self._code = code
            self.writable = False
            self._tell_change()

    async def _until_changed(self) -> None:
        self._changed = asyncio.get_running_loop().create_future()
        await self._changed

    def _tell_change(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)
