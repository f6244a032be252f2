"""What a fuzzer feeds, and what must hold for whatever it thinks of: shared by Hypothesis and Atheris.

Each check takes bytes and raises only when the gateway does something wrong.
"""

import asyncio
import gc
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

from app.conversation import Conversation
from app.messages import BadMessageError, encode_server_message, parse_client_message
from app.playout import Playout
from app.turns import Send
from app.voicelive.codec import decode_event
from app.voicelive.events import MalformedEventError
from tests.gateway import running_gateway
from tests.scripted_voice_live import ScriptedSession, scripted_voice_live

NEVER: Final = (1006, 1011)
"""Close codes that say that the gateway has failed, whatever a client sends."""

UPGRADE: Final = (
    b"GET /ws/voice HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
READ_S: Final = 5.0
QUIET_S: Final = 0.1
"""A gateway that says nothing for so long is waiting for the rest of a frame."""


def check_client_message(data: bytes) -> None:
    """A text message of a client is understood, or answered with one of our own sentences."""
    try:
        message = parse_client_message(data)
    except BadMessageError:
        return
    conversation = Conversation(Playout(1000), greeting=[], response_timeout_s=15)
    conversation.start("sess_1", 1740, 0.0)
    for effect in conversation.receive_client(message, 1.0):
        if isinstance(effect, Send):
            encode_server_message(effect.message)


def check_upstream_event(data: bytes) -> None:
    """A message of Voice Live is an event, or malformed; the conversation copes with any event."""
    try:
        event = decode_event(data)
    except MalformedEventError:
        return
    conversation = Conversation(Playout(1000), greeting=[], response_timeout_s=15)
    conversation.start("sess_1", 1740, 0.0)
    for now in (1.0, 2.0):
        for effect in conversation.receive_upstream(event, now):
            if isinstance(effect, Send):
                encode_server_message(effect.message)
        conversation.release(now)
    conversation.finish(3.0)


class GatewayInThread:
    """A gateway beside the fuzzer, and how long its event loop was ever kept busy."""

    def __init__(self) -> None:
        self.port = 0
        self.longest_stall_s = 0.0
        self._ready = threading.Event()
        self._stop: asyncio.Event
        self._loop: asyncio.AbstractEventLoop
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(30)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()

        async def agent(session: ScriptedSession) -> None:
            await session.configure()
            await session.until_closed()

        async with scripted_voice_live(agent) as service:
            settings = service.settings(enable_proactive_greeting=False, max_calls=1000)
            async with running_gateway(settings) as gateway:
                self.port = int(gateway.address.rpartition(":")[2])
                async with gateway.caller() as caller:
                    await caller.until("session_started")
                # What was loaded until now is no garbage, and collecting it would count as a stall.
                gc.freeze()
                self._ready.set()
                async with asyncio.TaskGroup() as tasks:
                    watch = tasks.create_task(self._watch_stalls())
                    await self._stop.wait()
                    watch.cancel()

    async def _watch_stalls(self) -> None:
        while True:
            began = time.thread_time()
            await asyncio.sleep(0.005)
            # The time that this thread worked, so that a busy machine does not count.
            self.longest_stall_s = max(self.longest_stall_s, time.thread_time() - began)


@contextmanager
def gateway_in_thread() -> Iterator[GatewayInThread]:
    """Run one; its end is awaited."""
    gateway = GatewayInThread()
    gateway.start()
    try:
        yield gateway
    finally:
        gateway.stop()


def check_frames(
    gateway: GatewayInThread, data: bytes, *, upgraded: bool = True, quiet_s: float = QUIET_S
) -> list[int]:
    """Send raw bytes after the handshake, or instead of it; the close codes that came back."""
    with ExitStack() as stack:
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port), READ_S))
        received = b""
        with suppress(ConnectionError, TimeoutError):
            if upgraded:
                connection.sendall(UPGRADE)
                while b"\r\n\r\n" not in received:
                    received += connection.recv(65536)
            connection.sendall(data)
            connection.settimeout(quiet_s)
            while part := connection.recv(65536):
                received += part
    head, _, rest = received.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    assert status != [b"500"], data
    codes = close_codes(rest) if status == [b"101"] else []
    assert not set(codes) & set(NEVER), (codes, data)
    return codes


def close_codes(received: bytes) -> list[int]:
    """The close codes among the frames of a server, which are unmasked."""
    codes = []
    while len(received) >= 2:
        length, start = received[1] & 127, 2
        if length == 126:
            length, start = struct.unpack_from(">H", received, 2)[0], 4
        elif length == 127:
            length, start = struct.unpack_from(">Q", received, 2)[0], 10
        if received[0] & 15 == 8 and length >= 2:
            codes.append(struct.unpack_from(">H", received, start)[0])
        received = received[start + length :]
    return codes


def frame(
    opcode: int,
    payload: bytes,
    *,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = True,
    claimed: int | None = None,
) -> bytes:
    """A client's frame, as wrong as asked."""
    length = len(payload) if claimed is None else claimed
    head = bytes([fin << 7 | rsv << 4 | opcode])
    if length < 126:
        head += bytes([masked << 7 | length])
    elif length < 2**16:
        head += bytes([masked << 7 | 126]) + struct.pack(">H", length)
    else:
        head += bytes([masked << 7 | 127]) + struct.pack(">Q", length)
    mask = b"\x11\x22\x33\x44"
    if not masked:
        return head + payload
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
