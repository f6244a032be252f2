"""Faults that a client asks for: each does what its name says, once, where it was asked for."""

import asyncio
import re
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from tests.emulator.doubles import Doubles, silence, speech
from tests.emulator.wire import TIMEOUT_S, Closed, connected, only, types
from voicelive_emulator.faults import ALL_KINDS, UnknownFault, parse_faults
from voicelive_emulator.server import Endpoints, serving
from voicelive_emulator.settings import Settings

PATH = "/voice-live/realtime?model=gpt-4.1"


def faulty(*faults: str) -> str:
    return PATH + "".join(f"&fault={fault}" for fault in faults)


async def handshake(emulator: Endpoints, path: str, headers: dict[str, str] | None = None) -> int:
    async with aiohttp.ClientSession(headers={"api-key": "k", **(headers or {})}) as http:
        url = f"http://127.0.0.1:{emulator.port}{path}"
        try:
            async with http.ws_connect(url, autoclose=False):
                return 101
        except aiohttp.WSServerHandshakeError as error:
            return error.status


class TestHandshake:
    @pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
    async def test_is_refused(self, emulator: Endpoints, status: int) -> None:
        assert await handshake(emulator, faulty(f"refuse:{status}")) == status

    async def test_is_redirected(self, emulator: Endpoints) -> None:
        headers = {"Connection": "Upgrade", "Upgrade": "websocket", "api-key": "k"}
        async with aiohttp.ClientSession(headers=headers) as http:
            url = f"http://127.0.0.1:{emulator.port}{faulty('redirect:/elsewhere')}"
            async with http.get(url, allow_redirects=False) as response:
                assert (response.status, response.headers["Location"]) == (302, "/elsewhere")

    async def test_is_slow(self, emulator: Endpoints) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(handshake(emulator, faulty("slow_handshake:30")), 0.5)

    async def test_may_ask_by_header(self, emulator: Endpoints) -> None:
        assert await handshake(emulator, PATH, {"x-emulator-fault": "refuse:418"}) == 418

    async def test_a_fault_that_does_not_exist_is_refused(self, emulator: Endpoints) -> None:
        assert await handshake(emulator, faulty("explode")) == 400


class TestConnection:
    async def test_closes_with_code_and_reason(self, emulator: Endpoints) -> None:
        async with connected(emulator.port, faulty("close:1011:broken@session.updated")) as client:
            await client.expect("session.created")
            await client.send("session.update", session={})
            await client.expect("session.updated")
            with pytest.raises(Closed) as closed:
                await client.receive()
        assert (closed.value.code, closed.value.reason) == (1011, "broken")

    async def test_may_ask_by_header_and_for_several(self, emulator: Endpoints) -> None:
        headers = {"api-key": "k", "x-emulator-fault": "unknown_event, close:1011:gone away@*2"}
        async with connected(emulator.port, PATH, headers=headers) as client:
            await client.expect("session.created")
            await client.expect("emulator.made_up")
            await client.send("session.update", session={})
            await client.expect("session.updated")
            with pytest.raises(Closed) as closed:
                await client.receive()
        assert (closed.value.code, closed.value.reason) == (1011, "gone away")

    async def test_closes_after_so_many_events(self, emulator: Endpoints) -> None:
        async with connected(emulator.port, faulty("close:1008@*3")) as client:
            await client.say("One")
            await client.say("Two")
            for _ in range(3):
                await client.receive()
            with pytest.raises(Closed) as closed:
                await client.receive()
        assert closed.value.code == 1008

    async def test_resets_in_mid_answer(self, emulator: Endpoints) -> None:
        async with connected(emulator.port, faulty("abort@response.audio.delta*2")) as client:
            await client.say("Hello")
            await client.send("response.create")
            with pytest.raises((Closed, ConnectionError)) as lost:
                await client.until("response.done")
        assert not isinstance(lost.value, Closed) or lost.value.code in (None, 1006)

    async def test_a_reset_is_one_to_tcp(self, emulator: Endpoints) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", emulator.port)
        writer.write(
            f"GET {faulty('abort@session.created')} HTTP/1.1\r\nHost: localhost\r\napi-key: k\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), TIMEOUT_S)
        writer.close()

    async def test_falls_silent(self, emulator: Endpoints) -> None:
        async with connected(emulator.port, faulty("silence@session.created")) as client:
            await client.expect("session.created")
            await client.say("Hello")
            await client.ws.ping()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.ws.receive(), 0.3)

    async def test_stalls_and_goes_on(self, emulator: Endpoints) -> None:
        async with connected(emulator.port, faulty("stall:0.4@session.created")) as client:
            await client.expect("session.created")
            await client.say("Hello")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.ws.receive(), 0.1)
            await client.expect("conversation.item.created")

    async def test_expires_early(self, emulator: Endpoints) -> None:
        async with connected(emulator.port, faulty("expire:0.05")) as client:
            events = await client.until("error")
        assert events[-1]["error"]["code"] == "session_expired"


class TestMessages:
    async def test_malformed(self, emulator: Endpoints) -> None:
        async with connected(emulator.port, faulty("bad_json", "not_object")) as client:
            await client.expect("session.created")
            texts = [(await client.receive_raw()).data for _ in range(2)]
            with pytest.raises(orjson.JSONDecodeError):
                orjson.loads(texts[0])
            assert texts[1] == "[1,2,3]"
            await client.say("Hello")
            await client.expect("conversation.item.created")

    async def test_binary(self, emulator: Endpoints) -> None:
        async with connected(emulator.port, faulty("binary@session.created")) as client:
            first = await client.receive_raw()
            assert first.type is aiohttp.WSMsgType.BINARY
            assert b"session.created" in first.data

    async def test_unknown_duplicate_and_warning(self, emulator: Endpoints) -> None:
        path = faulty("unknown_event", "warning", "duplicate@conversation.item.created")
        async with connected(emulator.port, path) as client:
            await client.expect("session.created")
            await client.expect("emulator.made_up")
            await client.expect("warning")
            await client.say("Hello")
            first = await client.expect("conversation.item.created")
            assert await client.expect("conversation.item.created") == first

    async def test_oversize(self, emulator: Endpoints) -> None:
        async with connected(emulator.port, faulty("oversize:2000000@session.created")) as client:
            await client.expect("session.created")
            assert len((await client.receive_raw()).data) > 2_000_000

    async def test_an_empty_transcript_follows_each(self, emulator: Endpoints) -> None:
        name = "conversation.item.input_audio_transcription.completed"
        async with connected(emulator.port, faulty("empty_transcript")) as client:
            await client.append(silence(300) + speech(800) + silence(800))
            first = (await client.until(name))[-1]
            second = await client.expect(name)
        assert first["transcript"]
        assert {**first, "event_id": "", "transcript": ""} == {**second, "event_id": ""}

    async def test_items_are_done_once(self, emulator: Endpoints) -> None:
        path = "/voice-live/realtime?model=gpt-realtime&fault=item_done&fault=rate_limits"
        async with connected(emulator.port, path) as client:
            await client.append(silence(300) + speech(800) + silence(800))
            events = await client.until("response.done")
        created = [event["item"]["id"] for event in only(events, "conversation.item.created")]
        assert [event["item"]["id"] for event in only(events, "conversation.item.done")] == created
        assert len(only(events, "rate_limits.updated")) == 1

    async def test_a_slow_reader_takes_its_time(self, emulator: Endpoints) -> None:
        async with connected(emulator.port, faulty("slow_reader:0.2")) as client:
            await client.expect("session.created")
            started = asyncio.get_running_loop().time()
            for text in ("One", "Two", "Three"):
                await client.say(text)
                await client.expect("conversation.item.created")
            assert asyncio.get_running_loop().time() - started >= 0.4


async def token(emulator: Endpoints, *faults: str, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    """Ask for a token; return the status and the body."""
    form = {"grant_type": "client_credentials", "client_id": "a", "client_secret": "s", "scope": "any"}
    query = "&".join(f"fault={fault}" for fault in faults)
    url = f"http://127.0.0.1:{emulator.port}/tenant/oauth2/v2.0/token?{query}"
    async with aiohttp.ClientSession(headers=headers) as http, http.post(url, data=form) as response:
        return response.status, await response.json()


class TestTokens:
    async def test_refused(self, emulator: Endpoints) -> None:
        status, body = await token(emulator, "fail_token:503")
        assert status == 503
        assert "access_token" not in body
        assert (await token(emulator, headers={"x-emulator-fault": "fail_token:429"}))[0] == 429

    async def test_short_lived(self, emulator: Endpoints) -> None:
        _, body = await token(emulator, "short_token:0")
        assert body["expires_in"] == 0
        headers = {"Authorization": f"Bearer {body['access_token']}"}
        agent = "/voice-live/realtime?agent-name=sales&agent-project-name=shop"
        async with aiohttp.ClientSession(headers=headers) as http:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await http.ws_connect(f"http://127.0.0.1:{emulator.port}{agent}")
        assert refused.value.status == 401

    async def test_slow(self, emulator: Endpoints) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(token(emulator, "slow_token:30"), 0.3)

    async def test_for_every_request(self, doubles: Doubles) -> None:
        settings = Settings(port=0, token_faults=("fail_token:500",))
        async with serving(settings, doubles.models()) as endpoints:
            assert (await token(endpoints))[0] == 500


class TestAnswers:
    async def test_audio_of_a_cancelled_response_comes_late(
        self, emulator: Endpoints, doubles: Doubles
    ) -> None:
        doubles.synthesizer.hold = True
        async with connected(emulator.port, faulty("late_audio:2")) as client:
            await client.say("Hello")
            await client.send("response.create")
            await client.until("response.audio.delta")
            await client.send("response.cancel")
            done = (await client.until("response.done"))[-1]
            late = [await client.expect("response.audio.delta") for _ in range(2)]
            doubles.synthesizer.go_on.set()
        assert {event["response_id"] for event in late} == {done["response"]["id"]}

    async def test_a_turn_is_never_answered(self, emulator: Endpoints) -> None:
        async with connected(emulator.port, faulty("no_answer")) as client:
            await client.expect("session.created")
            await client.append(silence(300) + speech(800) + silence(800))
            events = await client.until("conversation.item.created")
            assert not [event for event in events if event["type"].startswith("response.")]
            assert await client.settle() == []

    async def test_a_response_fails(self, emulator: Endpoints) -> None:
        async with connected(emulator.port, faulty("fail_response")) as client:
            await client.send("response.create")
            events = await client.until("response.done")
        assert events[-1]["response"]["status"] == "failed"

    async def test_transcription_fails(self, emulator: Endpoints) -> None:
        async with connected(emulator.port, faulty("fail_transcription")) as client:
            await client.append(silence(300) + speech(800) + silence(800))
            events = await client.until("conversation.item.created")
        assert "conversation.item.input_audio_transcription.failed" in types(events)


def test_every_fault_is_documented() -> None:
    document = (Path(__file__).parents[2] / "docs/emulator.md").read_text()
    documented = set(re.findall(r"^\| `(\w+)", document[document.index("## Faults") :], re.MULTILINE))
    assert documented == ALL_KINDS


@pytest.mark.parametrize(
    "text",
    [
        *("explode", "refuse:soon", "close:now", "stall:x", "close@*many"),
        *("refuse:99", "refuse:1e9", "close:99999", "stall:-1", "stall:nan", "expire:inf", "close@*0"),
        f"close:1011:{'x' * 124}",
    ],
)
def test_nonsense_is_told(text: str) -> None:
    with pytest.raises(UnknownFault):
        parse_faults([text])


async def test_a_fault_in_the_wrong_place_is_told(emulator: Endpoints) -> None:
    assert await handshake(emulator, faulty("slow_token")) == 400
    status, body = await token(emulator, "stall")
    assert (status, body["error"]["message"]) == (400, "'stall' is a fault of a session.")
