"""Our upstream socket: every trap of the stack below stays closed."""

import asyncio
import base64
import hashlib
import json
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from app.voicelive import handshake
from app.voicelive.connection import CLOSE_TIMEOUT_S, VoiceLiveClosedError, VoiceLiveConnection
from app.voicelive.events import AudioDelta, MalformedEventError, OtherEvent, ServerEvent
from app.voicelive.handshake import PING_AFTER_S, PONG_WITHIN_S, Connector
from tests.scripted_voice_live import ScriptedSession, ScriptedVoiceLive, scripted_voice_live
from tests.voicelive.test_handshake import KEY


async def connected(service: ScriptedVoiceLive) -> VoiceLiveConnection:
    return await VoiceLiveConnection.open(Connector(), service.settings(), KEY)


class TestSession:
    @pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 4000])
    async def test_close_codes_are_told_apart(self, code: int) -> None:
        async def close(session: ScriptedSession) -> None:
            await session.socket.close(code=code, message=b"secret reason")

        async with scripted_voice_live(close) as service:
            connection = await connected(service)
            with pytest.raises(VoiceLiveClosedError) as closed:
                await connection.receive()
            assert closed.value.code == code
            assert "secret" not in str(closed.value)

    async def test_a_lost_connection_is_1006_and_not_a_clean_end(self) -> None:
        async with scripted_voice_live(ScriptedSession.abort) as service:
            connection = await connected(service)
            with pytest.raises(VoiceLiveClosedError) as closed:
                await connection.receive()
            assert closed.value.code == 1006

    async def test_malformed_messages_raise_and_the_session_goes_on(self) -> None:
        async def nonsense(session: ScriptedSession) -> None:
            for text in ("", "{", "[]", '"text"', '{"type":1}', '{"type":"response.done"}', "null"):
                await session.socket.send_str(text)
            await session.socket.send_str(
                '{"type":"response.audio.delta","response_id":"r","item_id":"i","delta":"!!!!"}'
            )
            await session.socket.send_bytes(b'{"type":"future.event","x":1}')
            await session.until_closed()

        async with scripted_voice_live(nonsense) as service:
            connection = await connected(service)
            for _ in range(8):
                with pytest.raises(MalformedEventError) as malformed:
                    await connection.receive()
                assert "!!!!" not in str(malformed.value)
            assert await connection.receive() == OtherEvent("future.event")
            await connection.close()

    async def test_audio_travels_both_ways(self) -> None:
        received: list[str] = []

        async def echo(session: ScriptedSession) -> None:
            received.append(await session.receive_audio())
            await session.send(
                {
                    "event_id": "event_1",
                    "type": "response.audio.delta",
                    "response_id": "resp_1",
                    "item_id": "msg_1",
                    "output_index": 0,
                    "content_index": 0,
                    "delta": received[0],
                }
            )
            await session.until_closed()

        pcm = bytes(range(256)) * 4
        async with scripted_voice_live(echo) as service:
            connection = await connected(service)
            connection.send_audio(pcm)
            assert await connection.receive() == AudioDelta("resp_1", "msg_1", pcm)
            await connection.close()

    async def test_an_event_larger_than_the_limit_closes_with_1009(self) -> None:
        async def oversize(session: ScriptedSession) -> None:
            await session.socket.send_str(json.dumps({"type": "x", "pad": "x" * 5_000_000}))
            await session.until_closed()

        async with scripted_voice_live(oversize) as service:
            connection = await connected(service)
            with pytest.raises(VoiceLiveClosedError) as closed:
                await connection.receive()
            assert closed.value.code == 1009

    async def test_a_peer_that_never_answers_the_close_does_not_hold_us(self) -> None:
        """The SDK waits ten seconds here; an open session costs money."""
        deaf = asyncio.Event()

        async def never_reads(_: ScriptedSession) -> None:
            await deaf.wait()

        async with scripted_voice_live(never_reads) as service:
            connection = await connected(service)
            started = asyncio.get_running_loop().time()
            await connection.close()
            assert asyncio.get_running_loop().time() - started < CLOSE_TIMEOUT_S * 5
            deaf.set()

    async def test_sending_after_the_end_raises_the_end(self) -> None:
        async def close(session: ScriptedSession) -> None:
            await session.socket.close(code=1011)

        async with scripted_voice_live(close) as service:
            connection = await connected(service)
            with pytest.raises(VoiceLiveClosedError):
                await connection.receive()
            with pytest.raises(VoiceLiveClosedError):
                connection.send_audio(b"\0\0")

    async def test_fragments_are_joined_also_around_a_ping(self) -> None:
        event = json.dumps({"type": "x" * 300}).encode()

        async def fragments(peer: "RawPeer") -> None:
            peer.write(0x01, event[:100])
            peer.write(0x89, b"there?")
            peer.write(0x00, event[100:200])
            peer.write(0x80, event[200:])
            assert await peer.read() == (0x8A, b"there?")

        async with raw_peer(fragments) as connection:
            assert await connection.receive() == OtherEvent("x" * 300)

    @pytest.mark.parametrize(
        ("frames", "code"),
        [
            ([(0x80, b"no beginning")], 1002),
            ([(0x01, b"a"), (0x81, b"another beginning")], 1002),
            ([(0x83, b"reserved")], 1002),
            ([(0x01, bytes(3 * 1024 * 1024)), (0x80, bytes(3 * 1024 * 1024))], 1009),
        ],
    )
    async def test_broken_framing_is_refused(self, frames: list[tuple[int, bytes]], code: int) -> None:
        async def breaks_it(peer: "RawPeer") -> None:
            for first_byte, payload in frames:
                peer.write(first_byte, payload)
            assert await peer.read() == (0x88, code.to_bytes(2, "big"))

        async with raw_peer(breaks_it) as connection:
            with pytest.raises(VoiceLiveClosedError) as closed:
                await connection.receive()
            assert closed.value.code == code

    async def test_a_close_frame_without_a_code_is_answered_with_one_like_it(self) -> None:
        async def closes(peer: "RawPeer") -> None:
            peer.write(0x88, b"")
            assert await peer.read() == (0x88, b"")

        async with raw_peer(closes) as connection:
            with pytest.raises(VoiceLiveClosedError) as closed:
                await connection.receive()
            assert closed.value.code == 1005

    async def test_a_peer_that_fell_silent_is_given_up_and_one_that_answers_is_kept(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert PING_AFTER_S + PONG_WITHIN_S < 9
        monkeypatch.setattr(handshake, "PING_AFTER_S", 0.2)
        monkeypatch.setattr(handshake, "PONG_WITHIN_S", 0.2)

        async def answers_twice(peer: "RawPeer") -> None:
            for _ in range(2):
                first_byte, payload = await peer.read()
                assert first_byte == 0x89
                peer.write(0x8A, payload)
            while (await peer.read())[0] != 0x88:
                pass

        async with raw_peer(answers_twice) as connection:
            with pytest.raises(VoiceLiveClosedError) as closed:
                await connection.receive()
            assert closed.value.code == 1006


class Collector:
    """A receiver that keeps what it is given."""

    def __init__(self) -> None:
        self.events: list[ServerEvent] = []
        self.malformed = 0
        self.writable = asyncio.Event()

    def on_event(self, event: ServerEvent) -> None:
        self.events.append(event)

    def on_malformed(self, error: MalformedEventError) -> None:
        self.malformed += 1

    def on_writable(self) -> None:
        self.writable.set()


class TestDelivery:
    async def test_nothing_is_lost_between_receiving_and_delivering(self) -> None:
        """However much comes meanwhile: beyond a bound the service has to wait."""

        async def talks(session: ScriptedSession) -> None:
            for number in range(500):
                await session.send({"type": f"event.{number}"})
            await session.socket.send_str("nonsense")
            sent.set()
            await session.socket.close(code=1001)

        sent = asyncio.Event()
        async with scripted_voice_live(talks) as service:
            connection = await connected(service)
            assert await connection.receive() == OtherEvent("event.0")
            await sent.wait()
            collector = Collector()
            assert await connection.deliver(collector) == 1001
            await connection.close()
        assert collector.events == [OtherEvent(f"event.{number}") for number in range(1, 500)]
        assert collector.malformed == 1

    async def test_a_fault_of_the_receiver_is_raised_and_ends_the_connection(self) -> None:
        class Faulty(Collector):
            def on_event(self, event: ServerEvent) -> None:
                raise LookupError("ours")

        left: list[int | None] = []

        async def talks(session: ScriptedSession) -> None:
            await session.send({"type": "x"})
            left.append(await session.until_closed())

        async with scripted_voice_live(talks) as service:
            connection = await connected(service)
            with pytest.raises(LookupError):
                await connection.deliver(Faulty())
            await connection.close()
        assert len(left) == 1

    async def test_a_service_that_does_not_read_makes_it_unwritable_until_it_reads_on(self) -> None:
        read_on = asyncio.Event()
        heard: list[int] = []

        async def stalls(peer: "RawPeer") -> None:
            await read_on.wait()
            while (frame := await peer.read())[0] != 0x88:
                heard.append(len(frame[1]))
            peer.write(*frame)

        async with raw_peer(stalls) as connection:
            collector = Collector()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(connection.deliver(collector))
                sent = 0
                while connection.writable:
                    connection.send_audio(bytes(96_000))
                    sent += 1
                    assert sent < 1_000
                read_on.set()
                await collector.writable.wait()
                await connection.close()
            assert not connection.writable
        assert len(heard) == sent


class RawPeer:
    """A server that writes and reads single frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def write(self, first_byte: int, payload: bytes) -> None:
        size = len(payload)
        if size < 126:
            head = struct.pack("!BB", first_byte, size)
        elif size < 65_536:
            head = struct.pack("!BBH", first_byte, 126, size)
        else:
            head = struct.pack("!BBQ", first_byte, 127, size)
        self._writer.write(head + payload)

    async def read(self) -> tuple[int, bytes]:
        first_byte, size = await self._reader.readexactly(2)
        size &= 0x7F
        if size >= 126:
            size = int.from_bytes(await self._reader.readexactly(2 if size == 126 else 8), "big")
        mask = await self._reader.readexactly(4)
        payload = await self._reader.readexactly(size)
        return first_byte, bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload[:200])) + payload[200:]


@asynccontextmanager
async def raw_peer(script: Callable[[RawPeer], Awaitable[None]]) -> AsyncIterator[VoiceLiveConnection]:
    """A connection whose other end plays `script`, frame by frame."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        key = next(
            line.split(b": ")[1] for line in request.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key")
        )
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        try:
            await script(RawPeer(reader, writer))
        finally:
            writer.close()
            done.set_result(None)

    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=16 * 1024 * 1024)
    async with server, asyncio.timeout(20):
        service = ScriptedVoiceLive(port=server.sockets[0].getsockname()[1])
        connection = await VoiceLiveConnection.open(Connector(), service.settings(), KEY)
        try:
            yield connection
            await done
        finally:
            await connection.close()
