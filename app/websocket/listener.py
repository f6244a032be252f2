"""The listening socket, and how little of a call's audio may wait in buffers that nobody can take back.

A caller on a slow link would otherwise find old speech in the kernel's send buffer when they interrupt:
79 s of it were measured with the system's defaults.
"""

import asyncio
import socket
from typing import Final, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

SEND_BUFFER_BYTES: Final = 32 * 1024
NOT_SENT_BYTES: Final = 16 * 1024
WRITE_BUFFER_BYTES: Final = 16 * 1024


def listen(host: str, port: int) -> socket.socket:
    """Listen on this address; port 0 lets the system choose. Raises OSError.

    Accepted sockets inherit the small buffers.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=2048)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOT_SENT_BYTES)
    return listener


class CallProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol, which waits as soon as a little is unsent."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by uvicorn at the upgrade."""
        cast(asyncio.Transport, transport).set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by uvicorn, which itself reports a lost connection just as an empty close frame (1005)."""
        self.queue.put_nowait({"type": "websocket.disconnect", "code": 1006})
        super().connection_lost(exc)
