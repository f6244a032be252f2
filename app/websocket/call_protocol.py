"""uvicorn's WebSocket protocol, with a short way for whole binary messages and limits for everything else.

The handshake, the rules of RFC 6455 and ASGI are uvicorn's and websockets'. Offered in the scope as the
extension `voice_live.frames`, a `DirectLink` delivers frames and sends them without a task, a queue or an
ASGI message in between; a binary message that came in one frame does not even pass through websockets. An
application that does not use the extension receives and sends as everywhere.

Every frame is counted before it is looked at, whichever way it takes.
"""

import asyncio
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame, apply_mask  # type: ignore[attr-defined]
from websockets.http11 import Request, Response
from websockets.protocol import State

from app.websocket.client_frames import (
    CONTROL,
    MEDIUM_BINARY,
    MEDIUM_HEAD,
    UNCOUNTED_BYTES,
    Allowance,
    InvalidFrameError,
    end_of_frame,
    frame_run,
    is_counted,
)
from app.websocket.direct_link import DirectLink
from app.websocket.frame_link import EXTENSION, FLOODED, LOST, NO_CODE, FrameReceiver
from app.websocket.plain_answers import plain_answer

WRITE_BUFFER_BYTES: Final = 16 * 1024
"""A client that has more than this before it, besides the kernel's buffers, does not keep up."""

MAX_EARLY_BYTES: Final = 16 * 1024
"""A client must not send before it was accepted; what came with its request is kept, up to this."""

MESSAGES_PER_S: Final = 400
MESSAGES_AT_ONCE: Final = 1_000
"""More than any client of ours sends, even in pieces of 128 samples and after a pause of the network."""

CONTROL_FRAMES_PER_S: Final = 10
CONTROL_FRAMES_AT_ONCE: Final = 100

FLOOD_LINGER_S: Final = 2.0
"""A client that sends too much is given this long to read why, and is read no more."""

CLOSE_TIMEOUT_S: Final = 10.0
"""For the client's answer to our close frame, and for what is unsent when the application is done."""

HALF_OPEN_CODE: Final = 4408
"""The contract's code for a client that is half-open."""

_TWENTY_MS: Final = MEDIUM_HEAD.pack(MEDIUM_BINARY, 960)


class CallProtocol(WebSocketsSansIOProtocol):
    """One connection. With `offers_frames` the application may take the short way."""

    def __init__(self, *args: Any, offers_frames: bool = True, **options: Any) -> None:
        """Called by uvicorn with `config`, `server_state` and `app_state`."""
        super().__init__(*args, **options)
        # The library refuses two origins in its own words; admission refuses them as it does all others.
        self.conn.process_origin = lambda headers: None  # type: ignore[method-assign]  # noqa: ARG005
        self.conn.reject = self._rejection  # type: ignore[method-assign]
        self.on_lost: Callable[[], None] = lambda: None
        """Called once, when the connection is no more."""

        self._offers_frames = offers_frames
        self._link: DirectLink | None = None
        self._receiver: FrameReceiver | None = None
        self._usual = frame_run(_TWENTY_MS)
        """A client sends audio in messages of one length."""

        self._short_way: Callable[[bytes, bool], None] | None = None
        """Who hears a read of just one of them, which needs no parsing.

        Set while frames are wanted and the next byte begins a message.
        """

        self._held = b""
        self._begun = False
        self._done = False
        self._reading = False
        self._parsing = False
        self._flooded = False
        self._messages = Allowance(MESSAGES_PER_S, MESSAGES_AT_ONCE, self.loop.time)
        self._control_frames = Allowance(CONTROL_FRAMES_PER_S, CONTROL_FRAMES_AT_ONCE, self.loop.time)

    # --------------------------------------------------------------------------------- from the application

    async def receive(self) -> Any:
        """The next ASGI event. Nothing that the client sends is looked at before it was accepted."""
        if self.handshake_complete:
            self._begin()
        return await super().receive()

    def deliver_to(self, receiver: FrameReceiver) -> None:
        """From now on, and with what has come already."""
        self._receiver = receiver
        self._begin()

    def pause_reading(self) -> None:
        """Let the client wait; what has come already waits here."""
        if self._reading:
            self._stop_reading()
            self.transport.pause_reading()

    def _stop_reading(self) -> None:
        self._reading = False
        self._short_way = None

    def resume_reading(self) -> None:
        """Read on, first what waits here."""
        if self._reading or not self._begun or self._flooded or self.transport.is_closing():
            return
        self._reading = True
        self.transport.resume_reading()
        if self._held and not self._parsing:
            held, self._held = self._held, b""
            self._parse(held)

    def close(self, code: int) -> None:
        """Send a close frame, and drop a client that does not answer it."""
        self._receiver = self._short_way = None
        if self._link is not None:
            self._link.is_open = False
        if self.close_sent or self.conn.state is not State.OPEN or self.transport.is_closing():
            return
        self.conn.send_close(code)
        self._write_from_websockets()
        self.close_sent = True
        patience_s = FLOOD_LINGER_S if self._flooded else CLOSE_TIMEOUT_S
        self.close_timer = self.loop.call_later(patience_s, self.transport.abort)
        self.resume_reading()

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self.resume_reading()

    # ----------------------------------------------------------------------------------- from the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the HTTP protocol at the upgrade."""
        cast(asyncio.Transport, transport).set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone. uvicorn would report that as an empty close frame (1005)."""
        self._stop_reading()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": LOST})
        super().connection_lost(exc)
        if self._link is not None:
            self._link.end(LOST)
        self.on_lost()
        if self._done:
            self._let_go()

    def pause_writing(self) -> None:
        """The client does not keep up."""
        super().pause_writing()
        if self._link is not None:
            self._link.writable = False

    def resume_writing(self) -> None:
        """The client has caught up."""
        super().resume_writing()
        if self._link is not None:
            self._link.writable = True
        if self._receiver is not None:
            try:
                self._receiver.on_writable()
            except Exception as error:  # noqa: BLE001 - it is raised by `serve`
                self._fail(error)

    def data_received(self, data: bytes) -> None:
        """Bytes of the client: its request first, then frames."""
        hear = self._short_way
        if hear is not None and len(data) == self._usual.frame_bytes:
            head, key, masked = self._usual.split(data)
            if head != self._usual.head:
                self._parse(data)
                return
            try:
                hear(apply_mask(masked, key), True)
            except Exception as error:  # noqa: BLE001 - it is raised by `serve`
                self._fail(error)
        elif self._reading:
            self._parse(self._held + data if self._held else data)
        elif self.handshake_initiated:
            self.hold(data)
        else:
            super().data_received(data)
            if not self.handshake_initiated:
                # websockets takes fewer and shorter headers than HTTP does, and says nothing.
                self._refuse(HTTPStatus.BAD_REQUEST)

    def hold(self, data: bytes) -> None:
        """Keep what came while nothing is read."""
        self._held += data
        if not self._begun and len(self._held) > MAX_EARLY_BYTES:
            self.transport.abort()

    # ---------------------------------------------------------------------------------------------- frames

    def _parse(self, data: bytes) -> None:
        """Deliver every whole frame of `data` for as long as frames are wanted, and keep the rest."""
        self._held = b""
        self._short_way = None
        self._parsing = True
        last_told = True
        receiver = self._receiver
        start, end = 0, len(data)
        try:
            while start < end and self._reading:
                receiver = self._receiver
                kind = length = 0
                if receiver is not None and end - start >= 8 and self.conn.current_size is None:
                    kind, length = MEDIUM_HEAD.unpack_from(data, start)
                if receiver is not None and kind == MEDIUM_BINARY:
                    begin, stop = start + 8, start + 8 + length
                    if stop > end:
                        break
                    if length >= UNCOUNTED_BYTES:
                        self._usual = run = frame_run(data[start : start + 4])
                        payload, start = run.take(data, start, self.config.ws_max_size)
                        last_told = run.is_cut_off(data, start)
                    elif self._messages.take():
                        payload, start = apply_mask(data[begin:stop], data[begin - 4 : begin]), stop
                        last_told = start == end
                    else:
                        self._stop_flood()
                        break
                    receiver.on_binary(payload, last_told)
                else:
                    stop_at = self._pass_to_websockets(data, start)
                    if stop_at is None:
                        break
                    start = stop_at
                    receiver = self._receiver
                    last_told = False
            if not last_told and receiver is not None and receiver is self._receiver:
                receiver.on_binary(b"", True)
        except Exception as error:  # noqa: BLE001 - it is raised by `serve`
            self._fail(error)
        finally:
            self._parsing = False
        if start < end and not self._flooded:
            self._held = data[start:]
        elif self._receiver is not None and self._reading and self.conn.current_size is None:
            self._short_way = self._receiver.on_binary

    def _pass_to_websockets(self, data: bytes, start: int) -> int | None:
        """Have websockets look at one frame, whatever it is; where it ends, None if it is not whole yet."""
        try:
            stop = end_of_frame(data, start, self.config.ws_max_size)
        except InvalidFrameError:
            stop = len(data)
        if stop is None:
            return None
        allowance = self._control_frames if data[start] & CONTROL else self._messages
        if is_counted(data, start, stop) and not allowance.take():
            self._stop_flood()
            return len(data)
        self.conn.receive_data(data[start:stop])
        if self.conn.parser_exc is not None:
            self.handle_parser_exception()
        else:
            self.handle_events()
        return stop

    def _stop_flood(self) -> None:
        """This client sends too much: read nothing more of it, so that it costs nothing more."""
        self.pause_reading()
        self._flooded = True
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.on_flood()
        else:
            # ASGI has no other word for it. Nothing is closed yet: the application may still say why.
            self.read_paused = False  # uvicorn would read on at the application's close
            self.queue.put_nowait({"type": "websocket.disconnect", "code": FLOODED})
            self.close_timer = self.loop.call_later(FLOOD_LINGER_S, self.transport.abort)

    def _fail(self, error: Exception) -> None:
        self._receiver = self._short_way = None
        if self._link is not None:
            self._link.abandon(error)

    # ------------------------------------------------------------------------------------- uvicorn's events

    def handle_connect(self, event: Request) -> None:
        """The request to upgrade: ask the application, and read nothing meanwhile."""
        if event.headers.get_all("Sec-WebSocket-Version") not in (["13"], []):
            # RFC 6455, 4.4. websockets would answer 400.
            self._refuse(HTTPStatus.UPGRADE_REQUIRED, {"Sec-WebSocket-Version": "13"})
            return
        super().handle_connect(event)
        if self.close_sent:
            return
        self.transport.pause_reading()
        if self._offers_frames:
            self._link = DirectLink(self, self.transport)
            cast(dict[str, Any], self.scope["extensions"])[EXTENSION] = {"link": self._link}

    def send_receive_event_to_app(self) -> None:
        """A message is complete."""
        if self._receiver is None:
            super().send_receive_event_to_app()
            return
        payload = b"".join(self.frames)
        self.frames = []
        if self.curr_msg_data_type == "text":
            try:
                payload.decode()
            except UnicodeDecodeError:
                self.conn.send_close(CloseCode.INVALID_DATA)
                self.handle_parser_exception()
                return
            self._receiver.on_text(payload)
        else:
            self._receiver.on_binary(payload, False)

    def handle_close(self, event: Frame) -> None:
        """The client's close frame: the first one, or its answer to ours."""
        self._stop_reading()
        super().handle_close(event)
        received = self.conn.close_rcvd
        if self._link is not None:
            self._link.end(received.code if received is not None else NO_CODE)

    def handle_parser_exception(self) -> None:
        """What the client sent is no WebSocket: websockets has said so in a close frame."""
        self._stop_reading()
        super().handle_parser_exception()
        sent = self.conn.close_sent
        if self._link is not None:
            self._link.end(sent.code if sent is not None else LOST)

    def keepalive_timeout(self) -> None:
        """No answer to our ping: the client is gone, although its connection is not."""
        if not self._reading:
            # Its answer may wait among what we do not read.
            self.schedule_ping()
            return
        self.pong_timer = None
        self.pending_ping_payload = None
        if self.close_sent or self.transport.is_closing():
            return
        if self._receiver is not None and self._receiver.on_silent():
            return
        self.queue.put_nowait({"type": "websocket.disconnect", "code": LOST})
        self.conn.fail(HALF_OPEN_CODE)
        self._write_from_websockets()
        self.close_sent = True
        self._stop_reading()
        self.close_timer = self.loop.call_later(FLOOD_LINGER_S, self.transport.abort)
        if self._link is not None:
            self._link.end(LOST)

    def shutdown(self) -> None:
        """Called by uvicorn when the server ends."""
        if self.handshake_complete or self.initial_response:
            super().shutdown()
        else:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE)
        if self._link is not None:
            self._link.end(CloseCode.SERVICE_RESTART)

    def on_task_complete(self, task: "asyncio.Task[None]") -> None:
        """The application is done, and uvicorn closes as soon as all is sent: a client may never read it."""
        super().on_task_complete(task)
        if not self.disconnected and self.close_timer is None and self.transport.get_write_buffer_size():
            self.close_timer = self.loop.call_later(CLOSE_TIMEOUT_S, self.transport.abort)
        self._done = True
        if self.disconnected:
            self._let_go()

    def _let_go(self) -> None:
        """Neither side needs this any more: link, receiver and scope hold us, and would wait for the garbage
        collector.
        """
        self._link = self._receiver = self.conn.parser_exc = None
        self.scope["extensions"] = {}
        del self.conn.reject

    def _rejection(self, status: HTTPStatus | int, text: str) -> Response:
        del text  # ours is in the catalogue
        return plain_answer(HTTPStatus(status), self.scheme)

    def _refuse(self, status: HTTPStatus, headers: Mapping[str, str] | None = None) -> None:
        """Answer the request below the application."""
        self.handshake_initiated = self.handshake_complete = self.close_sent = True
        self.transport.write(plain_answer(status, self.scheme, headers).serialize())
        self.transport.close()

    def _write_from_websockets(self) -> None:
        self.transport.write(b"".join(self.conn.data_to_send()))
