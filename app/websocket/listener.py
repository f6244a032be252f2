"""The listening socket, and how little of a call's audio may wait in buffers that nobody can take back.

A caller on a slow link would otherwise find old speech in the kernel's send buffer when they interrupt:
79 s of it were measured with the system's defaults.
"""

import socket
from typing import Final

SEND_BUFFER_BYTES: Final = 32 * 1024
NOT_SENT_BYTES: Final = 16 * 1024


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
