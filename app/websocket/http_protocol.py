"""uvicorn's HTTP protocol, with what it lacks against clients that hold connections and say nothing.

A request must be there in time and be of a moderate size, no address may have one connection too many,
and what came in one read with a request to upgrade is not lost.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, Final, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.admission.addresses import Network, caller_address, is_trusted, limit_key
from app.websocket.call_protocol import CallProtocol
from app.websocket.plain_answers import plain_answer

REQUEST_TIMEOUT_S: Final = 5.0
"""From the connection, or the first byte of a further request, to the last byte of the request."""

RESPONSE_TIMEOUT_S: Final = 120.0
"""From there to the last byte handed to the kernel: for a client that does not read."""

MAX_HEAD_BYTES: Final = 32 * 1024
"""Request line and headers; a signed token of an operator is the largest of them."""


class OpenConnections:
    """Counts the open connections of each address; those of trusted proxies, who speak for many, are free."""

    def __init__(self, max_per_address: int, trusted_proxies: Sequence[Network]) -> None:
        """`max_per_address` 0: no limit."""
        self._max_per_address = max_per_address
        self._trusted_proxies = trusted_proxies
        self._open: Counter[str] = Counter()

    def admit(self, peer: str) -> Callable[[], None] | None:
        """Count one more connection of this address; how to give it back, None when it is one too many."""
        address = caller_address(peer, (), ())
        if not self._max_per_address or self._is_proxy(address):
            return lambda: None
        key = limit_key(address)
        if self._open[key] >= self._max_per_address:
            return None
        self._open[key] += 1
        return lambda: self._release(key)

    def _is_proxy(self, address: str) -> bool:
        try:
            return is_trusted(ip_address(address), self._trusted_proxies)
        except ValueError:
            return False

    def _release(self, key: str) -> None:
        self._open[key] -= 1
        if not self._open[key]:
            del self._open[key]


class HttpProtocol(HttpToolsProtocol):
    """One connection, until it is upgraded."""

    def __init__(self, *args: Any, connections: OpenConnections, **options: Any) -> None:
        """Called by uvicorn with `config`, `server_state` and `app_state`."""
        super().__init__(*args, **options)
        self._open_connections = connections
        self._release: Callable[[], None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._in_head = True
        self._early = b""

    # --------------------------------------------------------------------------------- from the transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """A client has connected; over TLS, it has shaken hands."""
        super().connection_made(transport)
        self._release = self._open_connections.admit(self.client[0] if self.client else "")
        if self._release is None:
            transport.abort()
        else:
            self._must_by(REQUEST_TIMEOUT_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is no more."""
        super().connection_lost(exc)
        self._forget_deadline()
        if self._release is not None:
            self._release()
        self._let_go()

    def data_received(self, data: bytes) -> None:
        """Like uvicorn's, but for the size of the head and for what follows a request to upgrade."""
        self._unset_keepalive_if_required()
        if self._in_head:
            self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self._early = data[upgrade.args[0] :]
                self.handle_websocket_upgrade()
            else:
                self._unsupported_upgrade_warning()
        except httptools.HttpParserError:
            self._refuse(HTTPStatus.BAD_REQUEST)
        else:
            if self._in_head and self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    # ------------------------------------------------------------------------------------ uvicorn's events

    def _should_upgrade(self) -> bool:
        return super()._should_upgrade() and bool(self.parser.get_method() == b"GET")

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        if self._deadline is None:
            self._must_by(REQUEST_TIMEOUT_S)

    def on_headers_complete(self) -> None:
        """The head of a request is there."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The last byte of a request."""
        self._in_head = True
        self._head_bytes = 0
        self._must_by(RESPONSE_TIMEOUT_S)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The application has answered."""
        self._forget_deadline()
        super().on_response_complete()

    def timeout_keep_alive_handler(self) -> None:
        """No further request came."""
        self._close()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over."""
        self._forget_deadline()
        super().handle_websocket_upgrade()
        protocol = self.transport.get_protocol()
        if isinstance(protocol, CallProtocol) and self._release is not None:
            protocol.on_lost = self._release
            if self._early:
                protocol.hold(self._early)
        self._let_go()

    def _let_go(self) -> None:
        """Nothing is read any more. Our parser holds us: only the garbage collector would find the two."""
        self.parser = cast("httptools.HttpRequestParser", None)

    # ------------------------------------------------------------------------------------------- deadlines

    def _must_by(self, seconds: float) -> None:
        self._forget_deadline()
        self._deadline = self.loop.call_later(seconds, self._too_slow)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()
        elif self._head_bytes:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self._close()

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer below the application, and close."""
        self.transport.write(plain_answer(status, self.scheme or "http").serialize())
        self._close()

    def _close(self) -> None:
        """Close when all is sent; what a client does not read is dropped."""
        if self.transport.get_write_buffer_size():
            self.loop.call_later(REQUEST_TIMEOUT_S, self.transport.abort)
        self.transport.close()
