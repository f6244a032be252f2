"""A caller on a slow link: little old speech after an interruption, and an end when they stay behind."""

import asyncio
import contextlib
import socket

import pytest
from structlog.testing import capture_logs

from app import service as gateway_service
from tests.gateway import running_gateway
from tests.polling import until
from tests.scripted_voice_live import ScriptedSession, scripted_voice_live
from tests.test_service import audio_delta, response_created, response_done
from tests.virtual_call import speech

pytestmark = pytest.mark.usefixtures("both_ways")

READ_BYTES = 600
READ_EVERY_S = 0.1
MAX_OLD_SPEECH_BYTES = 96_000


class SlowLink:
    """A raw WebSocket client that reads 6 kB a second with a receive buffer of 4 KiB."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._port = port
        self.received = b""

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._socket.setblocking(False)
        await loop.sock_connect(self._socket, ("127.0.0.1", self._port))
        await loop.sock_sendall(
            self._socket,
            b"GET /ws/voice HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )

    async def read(self, seconds: float) -> None:
        """Read at the link's pace."""
        for _ in range(round(seconds / READ_EVERY_S)):
            await asyncio.sleep(READ_EVERY_S)
            with contextlib.suppress(BlockingIOError):
                self.received += self._socket.recv(READ_BYTES)

    async def read_until(self, mark: bytes) -> bytes:
        """Read on as fast as it comes until `mark`; what came in this call before it."""
        begin = len(self.received)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(30):
            while mark not in self.received[begin:]:
                data = await loop.sock_recv(self._socket, 65536)
                assert data, "closed before it came"
                self.received += data
        return self.received[begin : self.received.index(mark, begin)]

    def close(self) -> None:
        self._socket.close()


async def test_little_old_speech_follows_an_interruption_and_none_the_clearing() -> None:
    interrupt, interrupted = asyncio.Event(), asyncio.Event()

    async def talks_on(session: ScriptedSession) -> None:
        await session.configure()
        await session.receive()
        await session.send(response_created("resp_1"), audio_delta("resp_1", speech("resp_1", 10_000)))
        await interrupt.wait()
        await session.send(
            {"type": "input_audio_buffer.speech_started", "item_id": "item_1"},
            audio_delta("resp_1", speech("resp_1", 3000)),
            response_done("resp_1", "cancelled"),
        )
        interrupted.set()
        await session.until_closed()

    async with scripted_voice_live(talks_on) as service:
        async with running_gateway(service.settings()) as gateway:
            link = SlowLink(int(gateway.address.rsplit(":", 1)[1]))
            await link.open()
            await link.read(4.0)
            interrupt.set()
            await interrupted.wait()
            old = await link.read_until(b'"clear_playback"')
            new = await link.read_until(b'"agent_transcript"')
            link.close()
    assert len(old) <= MAX_OLD_SPEECH_BYTES
    assert speech("resp_1", 1) not in new


async def test_a_client_that_stays_behind_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_service, "SLOW_CONSUMER_S", 1.0)

    async def talks_on(session: ScriptedSession) -> None:
        await session.configure()
        await session.receive()
        await session.send(response_created("resp_1"), audio_delta("resp_1", speech("resp_1", 10_000)))
        await session.until_closed()

    async with scripted_voice_live(talks_on) as service:
        async with running_gateway(service.settings()) as gateway:
            link = SlowLink(int(gateway.address.rsplit(":", 1)[1]))
            await link.open()
            while service.sessions == 0:
                await link.read(READ_EVERY_S)
            while service.sessions == 1:
                await link.read(READ_EVERY_S)
            await link.read_until(b'"slow_consumer"')
            link.close()


async def test_a_client_that_vanishes_while_the_agent_speaks_may_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gateway_service, "SLOW_CONSUMER_S", 1.0)

    async def talks_on(session: ScriptedSession) -> None:
        await session.configure()
        await session.receive()
        await session.send(response_created("resp_1"), audio_delta("resp_1", speech("resp_1", 10_000)))
        await session.until_closed()

    async with scripted_voice_live(talks_on) as service:
        with capture_logs() as logged:
            async with running_gateway(service.settings(resume_window_s=20)) as gateway:
                link = SlowLink(int(gateway.address.rsplit(":", 1)[1]))
                await link.open()
                await link.read_until(b'"resume_token":"')
                begin = link.received.index(b'"resume_token":"') + len(b'"resume_token":"')
                await link.read_until(b'"agent_speaking"')
                token = link.received[begin : link.received.index(b'"', begin)].decode()
                # A client that reads nothing is told nothing: only the log shows it.
                await until(lambda: any(line["event"] == "call.caller_lost" for line in logged))
                async with gateway.caller(protocols=["voice-live.v1", f"resume.{token}"]) as caller:
                    assert (await caller.until("session_started"))["resumed"] is True
                link.close()
