"""The caller's socket, as clients meet it that keep to RFC 6455, and such that do not."""

import asyncio
import contextlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from fastapi import Depends, FastAPI, HTTPException, WebSocket
from websockets.exceptions import InvalidHeaderValue

from app.websocket import call_protocol
from app.websocket.frame_link import EXTENSION, LOST, AsgiLink, FrameLink, LinkLostError, link_of
from tests.websocket.raw_client import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    REQUEST,
    TEXT,
    Heard,
    RawClient,
    close_frame,
    frame,
    raw_client,
    running_app,
)

Serve = Callable[..., AbstractAsyncContextManager[int]]


@pytest.fixture(params=["direct", "asgi"])
def direct(request: pytest.FixtureRequest) -> bool:
    """Both ways from the socket to the application."""
    return bool(request.param == "direct")


class Endpoint:
    """An application that accepts one WebSocket and serves it; what became of it is kept."""

    def __init__(self, heard: Heard | None = None) -> None:
        self.heard = heard or Heard()
        self.link: FrameLink | None = None
        self.code: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.before_accept: asyncio.Event | None = None
        self.before_serve: asyncio.Event | None = None
        self.api = FastAPI()
        self.api.websocket("/")(self._serve)

    async def _serve(self, websocket: WebSocket) -> None:
        if self.before_accept is not None:
            await self.before_accept.wait()
        await websocket.accept()
        if self.before_serve is not None:
            await self.before_serve.wait()
        self.link = link_of(websocket)
        try:
            code = await self.link.serve(self.heard)
        except (ValueError, ExceptionGroup) as error:
            self.code.set_exception(error)
        else:
            self.code.set_result(code)


class Echo(Heard):
    """Sends back what it hears."""

    endpoint: Endpoint

    def on_binary(self, payload: bytes | memoryview, last_in_read: bool, /) -> None:
        assert self.endpoint.link is not None
        if payload:
            self.endpoint.link.send_bytes(bytes(payload))

    def on_text(self, payload: bytes | memoryview) -> None:
        assert self.endpoint.link is not None
        self.endpoint.link.send_text(bytes(payload))


def echo() -> Endpoint:
    heard = Echo()
    heard.endpoint = Endpoint(heard)
    return heard.endpoint


class TestMessages:
    @pytest.mark.parametrize("size", [1, 125, 126, 127, 479, 480, 960, 65_535, 65_536])
    async def test_of_every_length_go_both_ways(self, size: int, direct: bool) -> None:
        payload = bytes(number % 251 for number in range(size))
        async with running_app(echo().api, direct=direct) as port, raw_client(port) as client:
            await client.shake_hands()
            for _ in range(3):
                client.send(frame(BINARY, payload))
                assert await client.frame() == (BINARY, payload)
            client.send(frame(TEXT, b"x" * size))
            assert await client.frame() == (TEXT, b"x" * size)

    async def test_a_large_one_followed_at_once_by_a_text(self, direct: bool) -> None:
        """Five times nine kilobytes and a text in one turn of the loop: no header is written over another."""
        audio = [bytes([number]) * 9600 for number in range(5)]
        sent = [part for pcm in audio for part in ((BINARY, pcm), (TEXT, b'{"type":"status"}'))]
        async with running_app(echo().api, direct=direct) as port, raw_client(port) as client:
            await client.shake_hands()
            client.send(*(frame(opcode, payload) for opcode, payload in sent))
            assert [await client.frame() for _ in sent] == sent

    async def test_cut_anywhere_and_sent_together(self, direct: bool) -> None:
        endpoint = Endpoint()
        sent = [(bytes([number]) * (number * 40 + 1), number % 3 == 0) for number in range(30)]
        stream = b"".join(frame(TEXT if is_text else BINARY, payload) for payload, is_text in sent)
        async with running_app(endpoint.api, direct=direct) as port, raw_client(port) as client:
            await client.shake_hands()
            for start in range(0, len(stream), 777):
                client.send(stream[start : start + 777])
                await asyncio.sleep(0)
            await endpoint.heard.until(len(sent))
        assert endpoint.heard.messages == sent
        assert endpoint.heard.ends_of_reads >= 1

    async def test_in_fragments_are_joined_and_pings_between_them_answered(self, direct: bool) -> None:
        endpoint = Endpoint()
        async with running_app(endpoint.api, direct=direct) as port, raw_client(port) as client:
            await client.shake_hands()
            client.send(
                frame(TEXT, "gr\u00fc".encode()[:-1], fin=False),
                frame(PING, b"hi"),
                frame(CONTINUATION, "\u00fc".encode()[1:], fin=False),
                frame(CONTINUATION, b"n"),
                frame(BINARY, b"a" * 960),
            )
            assert await client.frame() == (PONG, b"hi")
            await endpoint.heard.until(2)
        assert endpoint.heard.messages == [("gr\u00fcn".encode(), True), (b"a" * 960, False)]

    async def test_that_come_with_the_request_or_before_anybody_listens_keep_their_order(
        self, direct: bool
    ) -> None:
        endpoint = Endpoint()
        endpoint.before_accept, endpoint.before_serve = asyncio.Event(), asyncio.Event()
        sent = [bytes([number]) * 960 for number in range(20)]
        async with running_app(endpoint.api, direct=direct) as port, raw_client(port) as client:
            client.send(REQUEST, *(frame(BINARY, pcm) for pcm in sent[:5]))
            await client.writer.drain()
            client.send(*(frame(BINARY, pcm) for pcm in sent[5:10]))
            endpoint.before_accept.set()
            await client.reader.readuntil(b"\r\n\r\n")
            client.send(*(frame(BINARY, pcm) for pcm in sent[10:15]))
            await client.writer.drain()
            endpoint.before_serve.set()
            client.send(*(frame(BINARY, pcm) for pcm in sent[15:]))
            await endpoint.heard.until_audio(len(sent) * 960)
        assert endpoint.heard.audio == b"".join(sent)

    async def test_wait_while_reading_is_paused(self, direct: bool) -> None:
        endpoint = Endpoint()
        async with running_app(endpoint.api, direct=direct) as port, raw_client(port) as client:
            await client.shake_hands()
            client.send(frame(BINARY, b"a" * 960))
            await endpoint.heard.until(1)
            assert endpoint.link is not None
            endpoint.link.pause_reading()
            client.send(*(frame(BINARY, bytes([number]) * 960) for number in range(100)))
            await client.writer.drain()
            await asyncio.sleep(0.1)
            assert len(endpoint.heard.messages) <= 2  # over ASGI, one is on its way
            endpoint.link.resume_reading()
            await endpoint.heard.until_audio(101 * 960)
        assert endpoint.heard.audio.endswith(bytes([98]) * 960 + bytes([99]) * 960)

    async def test_of_one_length_and_others_between_them_keep_their_order(self, direct: bool) -> None:
        """Runs of equal frames that end anywhere: at a ping, a text, a fragment, another length, a cut."""
        endpoint = Endpoint()
        audio = [bytes([number]) * (960 if number % 7 else 482) for number in range(1, 120)]
        frames = [frame(BINARY, pcm) for pcm in audio]
        frames[30] += frame(PING, b"hi")
        frames[50] += frame(TEXT, b"{}")
        frames[70] = frame(BINARY, audio[70][:500], fin=False) + frame(CONTINUATION, audio[70][500:])
        stream = b"".join(frames)
        async with running_app(endpoint.api, direct=direct) as port, raw_client(port) as client:
            await client.shake_hands()
            for start in range(0, len(stream), 7_001):
                client.send(stream[start : start + 7_001])
                await asyncio.sleep(0)
            await endpoint.heard.until_audio(sum(map(len, audio)))
            assert await client.frame() == (PONG, b"hi")
        assert endpoint.heard.audio == b"".join(audio)
        said = endpoint.heard.messages.index((b"{}", True))
        assert sum(len(payload) for payload, _ in endpoint.heard.messages[:said]) == sum(map(len, audio[:51]))

    async def test_that_come_together_are_handed_on_together_up_to_the_longest_message(self) -> None:
        endpoint = Endpoint()
        endpoint.before_serve = asyncio.Event()
        async with running_app(endpoint.api) as port, raw_client(port) as client:
            await client.shake_hands()
            client.send(frame(BINARY, b"x" * 960) * 200)
            await client.writer.drain()
            endpoint.before_serve.set()
            await endpoint.heard.until_audio(200 * 960)
        assert len(endpoint.heard.messages) < 200
        assert max(len(payload) for payload, _ in endpoint.heard.messages) <= 64 * 1024


class TestWhatIsNoWebSocket:
    @pytest.mark.parametrize(
        ("sent", "code"),
        [
            ([frame(BINARY, b"x", masked=False)], 1002),
            ([frame(BINARY, b"x" * 960, masked=False)], 1002),
            ([frame(BINARY, b"x" * 960, rsv=4)], 1002),
            ([frame(3, b"x")], 1002),
            ([frame(CONTINUATION, b"x")], 1002),
            ([frame(BINARY, b"x", fin=False), frame(BINARY, b"x" * 960)], 1002),
            ([frame(PING, b"x" * 126)], 1002),
            ([frame(PING, b"x", fin=False)], 1002),
            ([frame(CLOSE, b"x")], 1002),
            ([frame(TEXT, b"\xff\xfe")], 1007),
            ([frame(TEXT, b"\xe2\x82", fin=False), frame(CONTINUATION, b"x")], 1007),
            ([frame(BINARY, bytes(65_537))], 1009),
            ([frame(BINARY, bytes(40_000), fin=False), frame(CONTINUATION, bytes(40_000))], 1009),
        ],
    )
    async def test_closes_and_nothing_after_it_is_delivered(
        self, sent: list[bytes], code: int, direct: bool
    ) -> None:
        endpoint = Endpoint()
        async with running_app(endpoint.api, direct=direct) as port, raw_client(port) as client:
            await client.shake_hands()
            client.send(*sent, frame(BINARY, b"after" * 200), frame(TEXT, b"after"))
            assert await client.close_code() == code
            assert await endpoint.code == code
        assert endpoint.heard.messages == []

    async def test_a_header_that_promises_too_much_is_refused_before_the_rest(self, direct: bool) -> None:
        endpoint = Endpoint()
        async with running_app(endpoint.api, direct=direct) as port, raw_client(port) as client:
            await client.shake_hands()
            client.send(b"\x82\xff" + (1 << 40).to_bytes(8, "big") + b"mask")
            assert await client.close_code() == 1009


class TestClosing:
    @pytest.mark.parametrize(("code", "told"), [(1000, 1000), (4321, 4321)])
    async def test_a_code_is_told_and_answered(self, code: int, told: int, direct: bool) -> None:
        endpoint = Endpoint()
        async with running_app(endpoint.api, direct=direct) as port, raw_client(port) as client:
            await client.shake_hands()
            client.send(frame(BINARY, b"last"), close_frame(code))
            assert await client.close_code() == code
            assert await endpoint.code == told

    async def test_without_a_code_and_without_a_close(self, direct: bool) -> None:
        for last, told in ((frame(CLOSE), 1005), (b"", LOST)):
            endpoint = Endpoint()
            async with running_app(endpoint.api, direct=direct) as port, raw_client(port) as client:
                await client.shake_hands()
                client.send(frame(BINARY, b"last"), last)
                await endpoint.heard.until(1)
                if last:
                    assert await client.close_code() == 1005
                else:
                    client.writer.transport.abort()
                assert await endpoint.code == told

    async def test_a_fault_of_the_receiver_is_raised(self, direct: bool) -> None:
        class Faulty(Heard):
            def on_binary(self, payload: bytes | memoryview, last_in_read: bool, /) -> None:
                raise ValueError

        endpoint = Endpoint(Faulty())
        async with running_app(endpoint.api, direct=direct) as port, raw_client(port) as client:
            await client.shake_hands()
            client.send(frame(BINARY, b"x" * 960))
            with pytest.raises((ValueError, ExceptionGroup)):
                await endpoint.code

    async def test_the_last_words_come_before_the_close_frame(self, direct: bool) -> None:
        endpoint = Endpoint()
        finished = asyncio.Event()

        async def serve(websocket: WebSocket) -> None:
            await websocket.accept()
            link = link_of(websocket)
            async with asyncio.TaskGroup() as tasks:
                serving = tasks.create_task(link.serve(endpoint.heard))
                await endpoint.heard.until(1)
                serving.cancel()
            link.send_bytes(b"audio")
            await link.finish([b"one", b"two"], 4410)
            finished.set()

        api = FastAPI()
        api.websocket("/")(serve)
        async with running_app(api, direct=direct) as port, raw_client(port) as client:
            await client.shake_hands()
            client.send(frame(BINARY, b"x"))
            assert [await client.frame() for _ in range(3)] == [
                (BINARY, b"audio"),
                (TEXT, b"one"),
                (TEXT, b"two"),
            ]
            assert await client.close_code() == 4410
            client.send(frame(BINARY, b"ignored" * 200), close_frame(4410))
            await finished.wait()
            await client.until_gone()


class TestAClientThatVanishes:
    async def test_is_noticed_although_it_has_not_read_what_was_sent(self, direct: bool) -> None:
        endpoint = Endpoint()
        async with running_app(endpoint.api, direct=direct, ping_s=1.0) as port, raw_client(port) as client:
            await client.shake_hands()
            client.send(frame(BINARY, b"x"))
            await endpoint.heard.until(1)
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            assert endpoint.link is not None
            for _ in range(100):
                endpoint.link.send_bytes(bytes(60_000))
            assert await endpoint.code == LOST

    async def test_is_not_mistaken_for_one_that_is_not_listened_to(self) -> None:
        endpoint = Endpoint()
        async with running_app(endpoint.api, ping_s=1.0) as port, raw_client(port) as client:
            await client.shake_hands()
            client.send(frame(BINARY, b"x"))
            await endpoint.heard.until(1)
            assert endpoint.link is not None
            endpoint.link.pause_reading()
            opcode, payload = await client.frame()
            assert opcode == PING
            client.send(frame(PONG, payload), frame(BINARY, b"y"))
            await asyncio.sleep(2.5)
            assert not endpoint.code.done()
            endpoint.link.resume_reading()
            await endpoint.heard.until(2)


async def say_too_much(link: FrameLink) -> None:
    """The client reads this, and may be gone before it has answered."""
    with contextlib.suppress(LinkLostError):
        await link.finish([b"too much"], 4429)


@pytest.fixture
def soon_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_protocol, "FLOOD_LINGER_S", 0.7)


@pytest.mark.usefixtures("soon_dropped")
class TestFloods:
    @pytest.mark.parametrize(
        "sent",
        [frame(BINARY, b"x"), frame(TEXT, b"{}"), frame(BINARY), frame(PING), frame(PONG, b"x")],
        ids=["tiny audio", "texts", "nothing", "pings", "pongs"],
    )
    async def test_end_with_a_word_and_a_code(self, sent: bytes, direct: bool) -> None:
        endpoint = Endpoint()
        async with running_app(endpoint.api, direct=direct) as port, raw_client(port) as client:
            await client.shake_hands()
            client.send(sent * 5000)
            assert await self.ended(endpoint, client) == 4429
        assert len(endpoint.heard.messages) <= call_protocol.MESSAGES_AT_ONCE * 2

    async def test_of_empty_fragments_too(self, direct: bool) -> None:
        endpoint = Endpoint()
        async with running_app(endpoint.api, direct=direct) as port, raw_client(port) as client:
            await client.shake_hands()
            client.send(frame(BINARY, b"x", fin=False), frame(CONTINUATION, fin=False) * 5000)
            assert await self.ended(endpoint, client) == 4429

    @staticmethod
    async def ended(endpoint: Endpoint, client: RawClient) -> int | None:
        """The application learns of the flood and says why; the code that the client then gets."""
        async with asyncio.timeout(10):
            while not endpoint.heard.floods:
                endpoint.heard.changed.clear()
                await endpoint.heard.changed.wait()
        assert endpoint.link is not None
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(say_too_much(endpoint.link))
            while (got := await client.frame())[0] == PONG:
                pass
            assert got == (TEXT, b"too much")
            code = await client.close_code()
            await client.until_gone()
        return code

    async def test_audio_of_ten_milliseconds_and_more_is_the_calls_matter(self, direct: bool) -> None:
        endpoint = Endpoint()
        count = call_protocol.MESSAGES_AT_ONCE * 2
        async with running_app(endpoint.api, direct=direct) as port, raw_client(port) as client:
            await client.shake_hands()
            client.send(frame(BINARY, b"x" * 480) * count)
            await endpoint.heard.until_audio(480 * count)

    async def test_before_the_decision_cost_nothing(self, direct: bool) -> None:
        endpoint = Endpoint()
        endpoint.before_accept = asyncio.Event()
        async with running_app(endpoint.api, direct=direct) as port, raw_client(port) as client:
            client.send(REQUEST, frame(PING, b"x") * 5000)
            await client.until_gone()
            endpoint.before_accept.set()
        assert endpoint.heard.messages == []


class TestHandshake:
    @pytest.mark.parametrize(
        ("old", "new", "status"),
        [
            (b"Sec-WebSocket-Version: 13\r\n", b"Sec-WebSocket-Version: 8\r\n", b"426"),
            (b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"", b"400"),
            (b"dGhlIHNhbXBsZSBub25jZQ==", b"short", b"400"),
            (b"\r\n\r\n", b"\r\nX: y" * 200 + b"\r\n\r\n", b"400"),
            (b"GET /", b"POST /", b"404"),
            (b"keep-alive, Upgrade", b"Upgrade", b"101"),
            (b"keep-alive, Upgrade", b"upgrade", b"101"),
            (b"Upgrade: websocket", b"upgrade: WebSocket", b"101"),
        ],
    )
    async def test_of_odd_clients(self, old: bytes, new: bytes, status: bytes, direct: bool) -> None:
        async with running_app(echo().api, direct=direct) as port, raw_client(port) as client:
            answer = await client.shake_hands(REQUEST.replace(old, new))
        assert answer.split()[1] == status
        assert b"permessage-deflate" not in answer

    async def test_an_application_refuses_and_chooses_as_on_any_server(self, direct: bool) -> None:
        def nobody() -> None:
            raise HTTPException(401, "no", headers={"X-Why": "because"})

        api = FastAPI()

        @api.websocket("/closed", dependencies=[Depends(nobody)])
        async def closed(websocket: WebSocket) -> None:
            raise AssertionError

        @api.websocket("/open")
        async def chooses(websocket: WebSocket) -> None:
            await websocket.accept(subprotocol="b", headers=[(b"x-extra", b"1")])
            assert (EXTENSION in websocket.scope["extensions"]) is direct
            await websocket.send_text(await websocket.receive_text())
            await websocket.send_bytes(await websocket.receive_bytes())
            await websocket.close(4000, "done")

        async with running_app(api, direct=direct) as port:
            async with raw_client(port) as client:
                answer = await client.shake_hands(REQUEST.replace(b"GET /", b"GET /closed"))
                assert answer.startswith(b"HTTP/1.1 401 ")
                assert b"x-why: because" in answer.lower()
                assert await client.reader.read() == b'{"detail":"no"}'
            async with raw_client(port) as client:
                request = REQUEST.replace(b"GET /", b"GET /open")
                answer = await client.shake_hands(
                    request.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: a, b\r\n\r\n")
                )
                assert b"sec-websocket-protocol: b\r\n" in answer.lower()
                assert b"x-extra: 1" in answer.lower()
                client.send(frame(TEXT, b"hello"), frame(BINARY, bytes(9600)))
                assert await client.frame() == (TEXT, b"hello")
                assert await client.frame() == (BINARY, bytes(9600))
                assert await client.close_code() == 4000

    async def test_a_header_of_two_lines_is_not_written(self) -> None:
        api = FastAPI()
        refused: list[Exception] = []

        @api.websocket("/")
        async def injects(websocket: WebSocket) -> None:
            try:
                await websocket.accept(headers=[(b"x", b"1\r\nSet-Cookie: a=b")])
            except InvalidHeaderValue as error:
                refused.append(error)

        async with running_app(api) as port, raw_client(port) as client:
            client.send(REQUEST)
            answer = await client.reader.read()
        assert b"Set-Cookie" not in answer
        assert refused

    def test_without_the_extension_a_websocket_is_served_over_asgi(self) -> None:
        async def nothing(*_: Any) -> Any:
            raise AssertionError

        async def link() -> FrameLink:
            return link_of(WebSocket({"type": "websocket"}, nothing, nothing))

        assert isinstance(asyncio.run(link()), AsgiLink)
