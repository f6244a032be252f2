"""A call on a real socket, against a gateway that plays a script."""

import asyncio
import http
import json
import socket
from collections.abc import Iterator

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from tests.played_gateway import Gateway, StartGateway
from voicelive_client import (
    AgentAudio,
    AgentAudioEnd,
    CallClosedError,
    CallRefusedError,
    CallUnreachableError,
    Closed,
    Played,
    Pong,
    SessionEnded,
    SessionStarted,
    Status,
    VoiceLiveCall,
)


async def test_events_come_in_order_and_the_last_one_is_closed(start_gateway: StartGateway) -> None:
    async def script(gateway: Gateway) -> None:
        await gateway.tells(type="session_started", session_id="s1")
        await gateway.speaks("r1", b"\1\0" * 480)
        assert await gateway.receives() == {"type": "playback", "response_id": "r1", "played_ms": 20}
        await gateway.tells(type="session_ended", reason="done")
        await gateway.socket.close(1000, "done")

    async with start_gateway(script) as url, VoiceLiveCall(url) as call:
        assert [event async for event in call] == [
            SessionStarted("s1"),
            Status("agent_speaking", "r1"),
            AgentAudio(b"\1\0" * 480, "r1"),
            AgentAudioEnd("r1", 20),
            Played("r1", 20, complete=True),
            SessionEnded("done"),
            Closed(1000, "done"),
        ]
        assert call.closed == Closed(1000, "done")
        assert await call.receive() == Closed(1000, "done")


async def test_audio_belongs_to_the_response_that_is_spoken(start_gateway: StartGateway) -> None:
    async def script(gateway: Gateway) -> None:
        await gateway.socket.send(b"\0\0")
        await gateway.speaks("r1", b"\1\0")
        await gateway.tells(type="status", status="agent_speaking", response_id="r2")
        await gateway.socket.send(b"\2\0")
        await gateway.tells(type="clear_playback", response_id="r2")
        await gateway.tells(type="status", status="listening")
        await gateway.speaks("r3", b"\3\0")

    async with start_gateway(script) as url, VoiceLiveCall(url) as call:
        heard = [(e.response_id, e.pcm) async for e in call if isinstance(e, AgentAudio)]
    assert heard == [("", b"\0\0"), ("r1", b"\1\0"), ("r2", b"\2\0"), ("r3", b"\3\0")]


async def test_a_client_says_what_the_contract_knows(start_gateway: StartGateway) -> None:
    said: list[object] = []

    async def script(gateway: Gateway) -> None:
        said.append(await gateway.receives_audio())
        said.extend([await gateway.receives() for _ in range(4)])
        await gateway.tells(type="pong")
        await gateway.socket.close()

    async with start_gateway(script) as url, VoiceLiveCall(url) as call:
        await call.send_audio(b"\0" * 960)
        await call.ping()
        await call.send_text("Grüß Gott")
        await call.barge_in()
        await call.end()
        assert [event async for event in call] == [Pong(), Closed(1000, "")]
    assert said == [
        b"\0" * 960,
        {"type": "ping"},
        {"type": "text", "text": "Grüß Gott"},
        {"type": "barge_in"},
        {"type": "end"},
    ]


async def test_the_handshake_offers_the_protocol_and_no_compression() -> None:
    offered: list[Request] = []

    async def accept(server: ServerConnection) -> None:
        assert server.request
        offered.append(server.request)
        await server.close()

    async with serve(accept, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with VoiceLiveCall(f"ws://127.0.0.1:{port}/ws/voice") as call:
            await call.receive()
    assert offered[0].headers["Sec-WebSocket-Protocol"] == "voice-live.v1"
    assert "Sec-WebSocket-Extensions" not in offered[0].headers


@pytest.fixture
def proxy_variables(monkeypatch: pytest.MonkeyPatch, unused_port: int) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{unused_port}")


@pytest.mark.usefixtures("proxy_variables")
async def test_a_proxy_of_the_environment_is_not_used(start_gateway: StartGateway) -> None:
    async def script(gateway: Gateway) -> None:
        await gateway.socket.close(1000)

    async with start_gateway(script) as url, VoiceLiveCall(url) as call:
        assert await call.receive() == Closed(1000, "")


async def test_close_codes_of_the_gateway_are_told(start_gateway: StartGateway) -> None:
    async def script(gateway: Gateway) -> None:
        await gateway.socket.close(1014, "upstream_lost")

    async with start_gateway(script) as url, VoiceLiveCall(url) as call:
        assert [event async for event in call] == [Closed(1014, "upstream_lost")]


async def test_a_connection_that_breaks_is_told_as_1006(start_gateway: StartGateway) -> None:
    async def script(gateway: Gateway) -> None:
        gateway.socket.transport.abort()

    async with start_gateway(script) as url, VoiceLiveCall(url) as call:
        assert [event async for event in call] == [Closed(1006, "")]


async def test_sending_on_a_closed_call_says_how_it_closed(start_gateway: StartGateway) -> None:
    async def script(gateway: Gateway) -> None:
        await gateway.socket.close(1013, "capacity")

    async with start_gateway(script) as url, VoiceLiveCall(url) as call:
        async for _ in call:
            pass
        with pytest.raises(CallClosedError) as error:
            await call.send_audio(b"\0\0")
    assert error.value.closed == Closed(1013, "capacity")


async def test_leaving_the_block_closes_the_call(start_gateway: StartGateway) -> None:
    ended = asyncio.get_running_loop().create_future()

    async def script(gateway: Gateway) -> None:
        await gateway.socket.wait_closed()
        ended.set_result(gateway.socket.close_code)

    async with start_gateway(script) as url:
        async with VoiceLiveCall(url):
            pass
        assert await ended == 1000


async def test_the_block_raises_what_was_raised_in_it(start_gateway: StartGateway) -> None:
    async def script(gateway: Gateway) -> None:
        await gateway.socket.wait_closed()

    async with start_gateway(script) as url:
        with pytest.raises(ZeroDivisionError):
            async with VoiceLiveCall(url):
                raise ZeroDivisionError


async def test_a_call_is_made_once(start_gateway: StartGateway) -> None:
    async def script(gateway: Gateway) -> None:
        await gateway.socket.wait_closed()

    async with start_gateway(script) as url:
        call = VoiceLiveCall(url)
        async with call:
            pass
        with pytest.raises(RuntimeError):
            async with call:
                pass


async def test_a_cancelled_receive_loses_nothing(start_gateway: StartGateway) -> None:
    async def script(gateway: Gateway) -> None:
        await gateway.receives()
        await gateway.tells(type="pong")
        await gateway.socket.wait_closed()

    async with start_gateway(script) as url, VoiceLiveCall(url) as call:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await call.receive()
        await call.ping()
        assert await call.receive() == Pong()


async def refusing(status: http.HTTPStatus, body: str, headers: dict[str, str]) -> CallRefusedError:
    def refuse(server: ServerConnection, _: Request) -> Response:
        response = server.respond(status, body)
        response.headers.update(headers)
        return response

    async def never(_: ServerConnection) -> None:
        raise AssertionError

    async with serve(never, "127.0.0.1", 0, process_request=refuse) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        with pytest.raises(CallRefusedError) as error:
            async with VoiceLiveCall(f"ws://127.0.0.1:{port}/ws/voice"):
                pass
    return error.value


async def test_a_refusal_carries_what_the_gateway_said() -> None:
    body = json.dumps({"error": {"code": "capacity", "message": "All lines are busy."}})
    refusal = await refusing(http.HTTPStatus.SERVICE_UNAVAILABLE, body, {"Retry-After": "5"})
    assert (refusal.status, refusal.code, refusal.message) == (503, "capacity", "All lines are busy.")
    assert refusal.retry_after_s == 5
    assert str(refusal) == "HTTP 503: All lines are busy."


@pytest.mark.parametrize("body", ["", "<html>", "[]", '{"error":"x"}', '{"error":{"code":"x"}}'])
async def test_a_refusal_of_somebody_else_carries_its_status(body: str) -> None:
    refusal = await refusing(
        http.HTTPStatus.NOT_FOUND, body, {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}
    )
    assert (refusal.status, refusal.code, refusal.message) == (404, None, "Not Found")
    assert refusal.retry_after_s is None


@pytest.fixture
def unused_port() -> Iterator[int]:
    with socket.socket() as bound:  # bound and not listening: every connection is refused
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


async def test_an_address_where_nobody_answers_is_unreachable(unused_port: int) -> None:
    with pytest.raises(CallUnreachableError, match="Connect call failed"):
        async with VoiceLiveCall(f"ws://127.0.0.1:{unused_port}/ws/voice"):
            pass


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "nonsense", "ws://"])
async def test_what_is_no_websocket_address_is_unreachable(url: str) -> None:
    with pytest.raises(CallUnreachableError):
        async with VoiceLiveCall(url):
            pass


async def test_a_server_that_never_answers_the_handshake_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:  # the kernel accepts, nobody answers
        port = listening.getsockname()[1]
        with pytest.raises(CallUnreachableError, match=r"no answer within 0\.05 s"):
            async with VoiceLiveCall(f"ws://127.0.0.1:{port}/ws/voice", open_timeout_s=0.05):
                pass
