"""One client that sends as much as it can for some seconds: `python -m tests.websocket.flooder PORT KIND`.

Prints what became of it as one JSON object.
"""

import contextlib
import json
import select
import socket
import sys
import time

from tests.websocket.raw_client import BINARY, CONTINUATION, PING, REQUEST, frame

FLOODS = {
    "pings": b"",
    "early pings": b"",
    "tiny audio": b"",
    "fragments": frame(BINARY, b"x", fin=False),
}
FRAMES = {
    "pings": frame(PING, b"x" * 100),
    "early pings": frame(PING, b"x" * 100),
    "tiny audio": frame(BINARY, b"x"),
    "fragments": frame(CONTINUATION, fin=False),
}
SECONDS = 3.0


def flood(port: int, kind: str) -> dict[str, object]:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(REQUEST.replace(b"GET /", b"GET /ws/voice"))
    answer = b""
    if not kind.startswith("early"):
        while b"\r\n\r\n" not in answer:
            answer += connection.recv(4096)
    connection.sendall(FLOODS[kind])
    connection.setblocking(False)
    chunk = FRAMES[kind] * 2000
    unsent, sent = memoryview(chunk), 0
    began = time.monotonic()
    ended_after = None
    while ended_after is None and time.monotonic() < began + SECONDS:
        readable, writable, _ = select.select([connection], [connection], [], 0.1)
        try:
            if readable:
                data = connection.recv(65536)
                answer += data
                if not data:
                    ended_after = time.monotonic() - began
            elif writable:
                done = connection.send(unsent)
                sent += done
                unsent = unsent[done:] or memoryview(chunk)
        except ConnectionError:
            ended_after = time.monotonic() - began
            with contextlib.suppress(OSError):
                while data := connection.recv(65536):
                    answer += data
    return {"sent": sent, "ended_after": ended_after, "told": b'"rate_limited"' in answer}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(flood(int(sys.argv[1]), sys.argv[2])))
