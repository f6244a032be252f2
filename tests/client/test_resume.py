"""A connection that breaks: the call comes back where it may, and only there."""

import asyncio
import http
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from app.config import Settings
from tests.gateway import running_gateway
from tests.played_gateway import Gateway
from tests.scripted_voice_live import ScriptedSession, scripted_voice_live
from tests.test_service import audio_delta, response_created, response_done, says
from voicelive_client import (
    AgentAudio,
    AgentTranscript,
    AgentTranscriptDelta,
    CallClosedError,
    Closed,
    Event,
    Played,
    Reconnecting,
    Resumed,
    SessionEnded,
    SessionStarted,
    UserTranscript,
    VoiceLiveCall,
)

Script = Callable[[Gateway], Awaitable[None]]


@dataclass
class Returns:
    """A gateway that plays one script for each connection, and refuses the rest."""

    scripts: list[Script]
    refusal: http.HTTPStatus = http.HTTPStatus.UNAUTHORIZED
    offered: list[str] = field(default_factory=list)
    url: str = ""

    def accept(self, server: ServerConnection, request: Request) -> Response | None:
        self.offered.append(request.headers["Sec-WebSocket-Protocol"])
        return None if self.scripts else server.respond(self.refusal, "")

    async def play(self, socket: ServerConnection) -> None:
        await self.scripts.pop(0)(Gateway(socket))


@asynccontextmanager
async def gateway(*scripts: Script) -> AsyncIterator[Returns]:
    returns = Returns(list(scripts))
    protocol = Subprotocol("voice-live.v1")
    server = serve(
        returns.play,
        "127.0.0.1",
        0,
        process_request=returns.accept,
        subprotocols=[protocol],
        compression=None,
        close_timeout=1,
    )
    async with server as listening:
        returns.url = f"ws://127.0.0.1:{next(iter(listening.sockets)).getsockname()[1]}/ws/voice"
        yield returns


async def starts(gateway: Gateway, token: str | None, *, resumed: bool = False) -> None:
    await gateway.tells(type="session_started", session_id="s1", resume_token=token, resumed=resumed)


def breaks(gateway: Gateway) -> None:
    """The network fails: no close frame."""
    gateway.socket.transport.abort()


async def loses_its_first_connection(gateway: Gateway) -> None:
    await starts(gateway, "first")
    await gateway.tells(type="user_transcript", item_id="i1", text="Hello?")
    await gateway.receives()
    breaks(gateway)


async def ends_in_order(gateway: Gateway) -> None:
    await gateway.tells(type="session_ended", reason="ended")
    await gateway.socket.close()


async def test_it_comes_back_with_its_token_and_tells_nothing_twice() -> None:
    async def goes_on(gateway: Gateway) -> None:
        await starts(gateway, "second", resumed=True)
        await gateway.tells(type="user_transcript", item_id="i1", text="Hello?")
        await gateway.tells(type="agent_transcript", response_id="r1", text="Good day.")
        await gateway.tells(type="agent_transcript", response_id="r1", text="Good day.")
        await ends_in_order(gateway)

    async with gateway(loses_its_first_connection, goes_on) as returns:
        async with VoiceLiveCall(returns.url) as call:
            await call.ping()
            events = [event async for event in call]
    assert returns.offered == ["voice-live.v1", "voice-live.v1, resume.first"]
    started, resumed = events[0], events[3]
    assert isinstance(started, SessionStarted)
    assert isinstance(resumed, Resumed)
    assert resumed.session_id == "s1"
    assert resumed.away_s > 0
    assert [event for event in events if event not in (started, resumed)] == [
        UserTranscript("Hello?", "i1"),
        Reconnecting(),
        AgentTranscript("Good day.", "r1"),
        SessionEnded("ended"),
        Closed(1000, ""),
    ]


async def test_each_return_uses_the_newest_token() -> None:
    async def breaks_again(gateway: Gateway) -> None:
        await starts(gateway, "second", resumed=True)
        breaks(gateway)

    async def ends(gateway: Gateway) -> None:
        await starts(gateway, "third", resumed=True)
        await ends_in_order(gateway)

    async with gateway(loses_its_first_connection, breaks_again, ends) as returns:
        async with VoiceLiveCall(returns.url) as call:
            await call.ping()
            events = [event async for event in call]
    assert returns.offered[1:] == ["voice-live.v1, resume.first", "voice-live.v1, resume.second"]
    assert sum(isinstance(event, Resumed) for event in events) == 2


async def test_a_gateway_that_does_not_know_the_call_any_more_ends_it() -> None:
    async with gateway(loses_its_first_connection) as returns, VoiceLiveCall(returns.url) as call:
        await call.ping()
        events = [event async for event in call]
        assert events[-2:] == [Reconnecting(), Closed(1006, "")]
        with pytest.raises(CallClosedError):
            await call.send_audio(b"\0\0")
    assert len(returns.offered) == 2


async def test_a_gateway_in_trouble_is_tried_again_until_the_time_is_up() -> None:
    async with gateway(loses_its_first_connection) as returns:
        returns.refusal = http.HTTPStatus.SERVICE_UNAVAILABLE
        async with VoiceLiveCall(returns.url, resume_within_s=0.6) as call:
            await call.ping()
            events = [event async for event in call]
    assert events[-2:] == [Reconnecting(), Closed(1006, "")]
    assert len(returns.offered) >= 3


async def test_a_gateway_that_is_away_for_a_moment_is_found_again() -> None:
    gone = asyncio.Event()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]

    async def first(server: ServerConnection) -> None:
        await starts(Gateway(server), "first")
        await Gateway(server).receives()
        breaks(Gateway(server))
        gone.set()

    async def second(server: ServerConnection) -> None:
        await starts(Gateway(server), "second", resumed=True)
        await ends_in_order(Gateway(server))

    async with serve(first, "127.0.0.1", port) as server:
        call = VoiceLiveCall(f"ws://127.0.0.1:{port}/ws/voice")
        async with call:
            await call.ping()
            await gone.wait()
            server.close()
            await server.wait_closed()
            while await call.receive() != Reconnecting():
                pass
            async with serve(second, "127.0.0.1", port):
                events = [event async for event in call]
    assert isinstance(events[0], Resumed)
    assert events[-1] == Closed(1000, "")


@pytest.mark.parametrize("token", [None, "first"])
async def test_no_return_without_a_token_or_after_a_close_frame(token: str | None) -> None:
    async def script(gateway: Gateway) -> None:
        await starts(gateway, token)
        if token is None:
            breaks(gateway)
        else:
            await gateway.socket.close(1012)

    async with gateway(script) as returns, VoiceLiveCall(returns.url) as call:
        events = [event async for event in call]
    assert Reconnecting() not in events
    assert len(returns.offered) == 1


async def test_no_return_after_hanging_up() -> None:
    async def script(gateway: Gateway) -> None:
        await starts(gateway, "first")
        assert await gateway.receives() == {"type": "end"}
        breaks(gateway)

    async with gateway(script) as returns, VoiceLiveCall(returns.url) as call:
        await call.end()
        events = [event async for event in call]
    assert events[-1] == Closed(1006, "")
    assert len(returns.offered) == 1


async def test_hanging_up_ends_the_tries_to_come_back() -> None:
    async with gateway(loses_its_first_connection) as returns:
        returns.refusal = http.HTTPStatus.SERVICE_UNAVAILABLE
        async with VoiceLiveCall(returns.url, resume_within_s=3600) as call:
            await call.ping()
            while await call.receive() != Reconnecting():
                pass
            await call.end()
            assert await call.receive() == Closed(1006, "")


async def test_leaving_the_block_ends_the_tries_to_come_back() -> None:
    async with gateway(loses_its_first_connection) as returns:
        returns.refusal = http.HTTPStatus.SERVICE_UNAVAILABLE
        async with VoiceLiveCall(returns.url, resume_within_s=3600) as call:
            await call.ping()
            while await call.receive() != Reconnecting():
                pass


async def test_what_is_typed_meanwhile_is_sent_and_what_is_spoken_is_dropped() -> None:
    received: list[object] = []
    sent = asyncio.Event()

    async def goes_on(gateway: Gateway) -> None:
        await sent.wait()
        await starts(gateway, "second", resumed=True)
        received.append(await gateway.socket.recv())
        await ends_in_order(gateway)

    async with gateway(loses_its_first_connection, goes_on) as returns, VoiceLiveCall(returns.url) as call:
        await call.ping()
        while await call.receive() != Reconnecting():
            pass
        await call.send_audio(bytes(960))
        await call.send_text("Are you there?")
        sent.set()
        async for _ in call:
            pass
    assert received == ['{"type": "text", "text": "Are you there?"}']


async def test_a_dead_connection_is_dropped_without_a_close_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the gateway a close frame would be a hang-up."""
    monkeypatch.setattr("voicelive_client.connection.PING_S", 0.05)
    monkeypatch.setattr("voicelive_client.connection.PONG_S", 0.05)
    given_up = asyncio.Event()
    close_codes: list[int | None] = []

    async def goes_deaf(gateway: Gateway) -> None:
        await starts(gateway, "first")
        gateway.socket.transport.pause_reading()
        await given_up.wait()
        gateway.socket.transport.resume_reading()
        await gateway.socket.wait_closed()
        close_codes.append(gateway.socket.close_code)

    async def ends(gateway: Gateway) -> None:
        monkeypatch.undo()
        await starts(gateway, "second", resumed=True)
        await ends_in_order(gateway)

    async with gateway(goes_deaf, ends) as returns, VoiceLiveCall(returns.url) as call:
        async for event in call:
            if event == Reconnecting():
                given_up.set()
    assert call.closed == Closed(1000, "")
    assert close_codes == [1006]


STORY = b"".join(n.to_bytes(2, "little") for n in range(60_000))
CAPTIONS = [f"word {number} " for number in range(50)]
"""2.5 s in which every sample says where it is."""


async def test_with_the_real_gateway_no_word_and_no_sound_is_lost() -> None:
    """The TCP connection is cut in mid-sentence, by somebody between the two."""

    async def tells_a_story(session: ScriptedSession) -> None:
        await session.configure()
        await session.receive()
        await session.send(
            response_created("resp_1"),
            *story_with_captions(),
            {"type": "response.audio_transcript.done", "response_id": "resp_1", "transcript": "A story."},
            response_done("resp_1"),
        )
        while (await session.receive())["type"] != "response.create":
            pass
        await says(session, "resp_2", "Goodbye.", ms=40)
        await session.until_closed()

    async with scripted_voice_live(tells_a_story) as service:
        settings: Settings = service.settings(resume_window_s=20)
        async with running_gateway(settings) as real, cutter(real.address) as (url, cut):
            before, after = bytearray(), bytearray()
            heard = before
            events: list[Event] = []
            async with VoiceLiveCall(url) as call:
                async for event in call:
                    events.append(event)
                    match event:
                        case AgentAudio(pcm, "resp_1"):
                            heard += pcm
                            if heard is before and len(before) > len(STORY) // 2:
                                cut()
                        case Resumed():
                            heard = after
                        case AgentTranscript(response_id="resp_1"):
                            await call.send_text("Goodbye.")
                        case AgentTranscript(response_id="resp_2"):
                            await call.end()
                        case _:
                            pass
    assert len(service.handshakes) == 1
    kinds = [type(event) for event in events]
    assert kinds.count(SessionStarted) == kinds.count(Reconnecting) == kinds.count(Resumed) == 1
    transcripts = [event for event in events if isinstance(event, AgentTranscript)]
    assert transcripts == [AgentTranscript("A story.", "resp_1"), AgentTranscript("Goodbye.", "resp_2")]
    captions = [event for event in events if isinstance(event, AgentTranscriptDelta)]
    assert [caption.text for caption in captions if caption.response_id == "resp_1"] == CAPTIONS
    assert STORY.startswith(before)
    assert STORY.endswith(after)
    assert len(before) + len(after) >= len(STORY)
    (played,) = [event for event in events if isinstance(event, Played) and event.response_id == "resp_1"]
    assert played.complete
    assert SessionEnded("ended") in events
    assert events[-1] == Closed(1000, "")


def story_with_captions() -> Iterator[dict[str, object]]:
    """The story in pieces of 50 ms, each with its caption."""
    size = len(STORY) // len(CAPTIONS)
    for number, text in enumerate(CAPTIONS):
        yield {"type": "response.audio_transcript.delta", "response_id": "resp_1", "delta": text}
        yield audio_delta("resp_1", STORY[number * size : (number + 1) * size])


@asynccontextmanager
async def cutter(address: str) -> AsyncIterator[tuple[str, Callable[[], None]]]:
    """A network to the gateway that can fail: the URL to call, and what cuts every connection."""
    host, port = address.removeprefix("http://").split(":")
    lines: list[asyncio.StreamWriter] = []

    async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                sink.write(data)
                await sink.drain()
        except ConnectionError:
            pass
        finally:
            sink.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        lines.extend((writer, far_writer))
        async with asyncio.TaskGroup() as ways:
            ways.create_task(carry(reader, far_writer))
            ways.create_task(carry(far_reader, writer))

    def cut() -> None:
        while lines:
            lines.pop().transport.abort()

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    async with server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws/voice", cut
