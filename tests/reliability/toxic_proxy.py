"""A TCP proxy that makes a network as bad as a test says, while it runs.

It stands between a client and the gateway, or between the gateway and Voice Live. Each direction has its own
toxics, which may be changed at any moment and take effect on the bytes that come next.
"""

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

CHUNK_BYTES = 64 * 1024
_HELD_BYTES = 8 * 1024
"""What the proxy itself takes in ahead, of which asyncio allows twice as much."""
_PIECE_S = 0.05
"""On a slow link, what takes so long to pass is passed on at once."""
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass
class Toxics:
    """What happens to the bytes of one direction."""

    latency_s: float = 0
    """Each chunk waits so long, and so does what is behind it."""
    jitter_s: float = 0
    bandwidth_bytes_s: float = 0
    """0: as fast as it comes."""
    slice_bytes: int = 0
    """Bytes travel in pieces of at most so many, each by itself; 0: as they came."""
    limit_bytes: int | None = None
    """After so many bytes the connection is closed, maybe in the middle of a frame."""
    swallow: bool = False
    """Bytes vanish, and so does the end of the stream: a cable that was pulled."""
    slow_close_s: float = 0
    """The end of the stream is passed on so much later."""
    stalled: asyncio.Event = field(default_factory=asyncio.Event)
    """Set: nothing is passed on, but kept."""
    resumed: asyncio.Event = field(default_factory=asyncio.Event)

    def piece_bytes(self) -> int:
        """How much is passed on at once."""
        if self.slice_bytes:
            return self.slice_bytes
        return max(1, int(self.bandwidth_bytes_s * _PIECE_S)) if self.bandwidth_bytes_s else CHUNK_BYTES

    def stall(self) -> None:
        """Keep everything back."""
        self.stalled.set()
        self.resumed.clear()

    def resume(self) -> None:
        """Pass on what was kept back."""
        self.stalled.clear()
        self.resumed.set()


class _Link:
    """One connection through the proxy."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.half_closed: set[asyncio.StreamWriter] = set()

    def close(self) -> None:
        for writer in (self.client, self.server):
            writer.close()

    def half_close(self, writer: asyncio.StreamWriter) -> None:
        """Tell one side that nothing more comes; what would have come is dropped."""
        if writer not in self.half_closed and not writer.is_closing():
            self.half_closed.add(writer)
            writer.write_eof()

    @staticmethod
    def reset(writer: asyncio.StreamWriter) -> None:
        """Close one side with RST."""
        raw: socket.socket = writer.get_extra_info("socket")
        with suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        writer.transport.abort()


class ToxicProxy:
    """Listens on `port` and connects to `target_port` of this machine."""

    def __init__(self, target_port: int, seed: int = 0) -> None:
        self.port = 0
        self.to_server = Toxics()
        self.to_client = Toxics()
        self.refuses = False
        """New connections are reset at once."""
        self.headers: list[bytes] = []
        """Lines with their ends, each of which is added to the first request of one connection to come."""
        self._target_port = target_port
        self._random = random.Random(seed)
        self._links: set[_Link] = set()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def live(self) -> int:
        """How many connections there are."""
        return len(self._links)

    def stall(self) -> None:
        """Keep everything back in both directions."""
        self.to_server.stall()
        self.to_client.stall()

    def resume(self) -> None:
        """Pass on what was kept back."""
        self.to_server.resume()
        self.to_client.resume()

    def vanish(self) -> None:
        """From now on nothing arrives at either side, not even an end."""
        self.to_server.swallow = self.to_client.swallow = True

    def reset(self) -> None:
        """Reset every connection on both sides."""
        for link in self._links:
            link.reset(link.client)
            link.reset(link.server)

    def half_close_to_client(self) -> None:
        """Tell the clients that the server sends nothing any more, and go on in the other direction."""
        for link in self._links:
            link.half_close(link.client)

    def half_close_to_server(self) -> None:
        """Tell the server that the clients send nothing any more, and go on in the other direction."""
        for link in self._links:
            link.half_close(link.server)

    async def serve(self, listener: socket.socket) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            while True:
                accepted, _ = await loop.sock_accept(listener)
                tasks.create_task(self._carry(accepted))

    async def _carry(self, accepted: socket.socket) -> None:
        reader, client = await asyncio.open_connection(sock=accepted, limit=_HELD_BYTES)
        try:
            if self.refuses:
                raise ConnectionRefusedError
            server_reader, server = await asyncio.open_connection(
                "127.0.0.1", self._target_port, limit=_HELD_BYTES
            )
        except OSError:
            _Link.reset(client)
            return
        link = _Link(client, server)
        self._links.add(link)
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(link, reader, server, self.to_server))
                pumps.create_task(self._pump(link, server_reader, client, self.to_client))
        except* OSError:
            pass
        finally:
            self._links.discard(link)
            link.close()

    async def _pump(
        self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, toxics: Toxics
    ) -> None:
        passed = 0
        header = self.headers.pop(0) if self.headers and toxics is self.to_server else b""
        while data := await reader.read(CHUNK_BYTES):
            if header:
                data, header = data.replace(b"\r\n", b"\r\n" + header, 1), b""
            start = 0
            while start < len(data):
                piece = data[start : start + toxics.piece_bytes()]
                start += len(piece)
                if toxics.stalled.is_set():
                    await toxics.resumed.wait()
                if toxics.latency_s or toxics.jitter_s:
                    await asyncio.sleep(toxics.latency_s + toxics.jitter_s * self._random.random())
                if toxics.bandwidth_bytes_s:
                    await asyncio.sleep(len(piece) / toxics.bandwidth_bytes_s)
                if toxics.swallow or writer in link.half_closed:
                    continue
                if toxics.limit_bytes is not None and passed + len(piece) > toxics.limit_bytes:
                    writer.write(piece[: toxics.limit_bytes - passed])
                    raise ConnectionAbortedError("the limit of bytes")
                passed += len(piece)
                writer.write(piece)
                await writer.drain()
                if toxics.slice_bytes:
                    await asyncio.sleep(0)
        if toxics.swallow:
            # The side that ended is gone; the other one must not learn of it from us.
            return
        if toxics.stalled.is_set():
            await toxics.resumed.wait()
        await asyncio.sleep(toxics.slow_close_s)
        link.half_close(writer)


@asynccontextmanager
async def toxic_proxy(target_port: int, seed: int = 0) -> AsyncIterator[ToxicProxy]:
    """Run one on a free port; its end resets what is still connected."""
    proxy = ToxicProxy(target_port, seed)
    # Small buffers, so that what is kept back or slow is felt at the sender soon.
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
    listener.setblocking(False)
    proxy.port = listener.getsockname()[1]
    with listener:
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(proxy.serve(listener))
            try:
                yield proxy
            finally:
                serving.cancel()
