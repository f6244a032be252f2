"""What every client library needs: connect, configure, finish a turn."""

import asyncio

import aiohttp
import orjson

from tests.emulator.conformance.target import API_VERSION, PATH, Target, answered, long_answer
from tests.emulator.wire import TIMEOUT_S, types

DELTAS = {"response.audio_transcript.delta", "response.audio.delta"}


async def test_m1_the_path(target: Target) -> None:
    async with target.open() as client:
        await client.expect("session.created")
    if target.is_emulator:
        async with target.open(path=f"/any/prefix{PATH}") as client:
            await client.expect("session.created")


async def test_m2_plain_tcp(target: Target) -> None:
    assert target.endpoint.startswith("http://")
    async with target.open() as client:
        await client.expect("session.created")


async def test_m3_the_query(target: Target) -> None:
    for query in (
        {"api-version": API_VERSION, "model": target.model, "x-ms-client-sdk": "any", "made-up": "1"},
        {"api-version": API_VERSION, "deployment": target.model},
        {"model": target.model},
    ):
        async with target.open(query) as client:
            await client.expect("session.created")


async def test_m4_credentials(target: Target) -> None:
    key = target.api_key
    for query, headers in (
        ({}, {"api-key": key}),
        ({"api-key": key}, {}),
        ({}, {"Authorization": f"Bearer {key}"}),
        ({"Authorization": f"Bearer {key}"}, {}),
    ):
        async with target.open({**target.query, **query}, headers) as client:
            await client.expect("session.created")


async def test_m5_no_subprotocol(target: Target) -> None:
    async with target.open(protocols=["realtime"], compress=15) as client:
        assert client.ws.protocol is None
        await client.expect("session.created")


async def test_m6_the_first_message(target: Target) -> None:
    async with target.open() as client:
        created = await client.expect("session.created")
    assert created["event_id"]
    assert created["session"]["id"]
    assert created["session"]["object"] == "realtime.session"


async def test_m7_pings_and_close_frames(target: Target) -> None:
    async with target.open(autoping=False) as client:
        await client.expect("session.created")
        await client.ws.ping(b"here")
        pong = await client.receive_raw()
        assert (pong.type, pong.data) == (aiohttp.WSMsgType.PONG, b"here")
        assert await asyncio.wait_for(client.ws.close(code=1000), TIMEOUT_S)
        assert client.ws.close_code == 1000


async def test_m8_messages(target: Target) -> None:
    async with target.open() as client:
        await client.say("x" * 600_000)
        await client.say("x" * 1_100_000)
        await client.say("Hello.")
        await client.send("response.create", response=long_answer())
        event = {"type": ""}
        while event["type"] != "response.done":
            message = await client.receive_raw()
            assert message.type is aiohttp.WSMsgType.TEXT
            assert 0 < len(message.data.encode()) < 1024 * 1024
            event = orjson.loads(message.data)
            assert isinstance(event, dict)


async def test_m9_session_update(target: Target) -> None:
    async with target.open() as client:
        before = (await client.expect("session.created"))["session"]
        await client.send("session.update", session={"instructions": "Be brief.", "turn_detection": None})
        after = (await client.expect("session.updated"))["session"]
        assert set(before) <= set(after)
        assert (after["instructions"], after["turn_detection"]) == ("Be brief.", None)
        assert (after["id"], after["voice"]) == (before["id"], before["voice"])
        await client.send("session.update", session={"temperature": 0.7})
        again = (await client.expect("session.updated"))["session"]
        assert again == {**after, "temperature": 0.7}


async def test_m10_the_input_buffer(target: Target) -> None:
    async with target.session(turn_detection=None) as client:
        await client.append(bytes(15 * 1024 * 1024))
        await client.send("input_audio_buffer.clear")
        await client.expect("input_audio_buffer.cleared")
        await client.append(target.speech)
        await client.send("input_audio_buffer.commit")
        committed = await client.expect("input_audio_buffer.committed")
        created = (await client.until("conversation.item.created"))[-1]
    assert created["item"]["id"] == committed["item_id"]


async def test_m11_the_order_of_an_answer(target: Target) -> None:
    async with target.session() as client:
        events = (await answered(client))[1:]
    order = types(events)
    assert order[:4] == [
        "response.created",
        "response.output_item.added",
        "conversation.item.created",
        "response.content_part.added",
    ]
    assert order[-5:] == [
        "response.audio.done",
        "response.audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.done",
    ]
    assert set(order[4:-5]) == DELTAS
    about_part = [event for event in events if "content_index" in event]
    places = {
        (event["response_id"], event["item_id"], event["output_index"], event["content_index"])
        for event in about_part
    }
    response = events[-1]["response"]
    assert places == {(response["id"], response["output"][0]["id"], 0, 0)}


async def test_m12_what_clients_map(target: Target) -> None:
    async with target.session() as client:
        events = await answered(client)
        await client.send("response.cancel")
        error = (await client.until("error"))[-1]["error"]
    items = [event["item"] for event in events if "item" in event]
    assert all(isinstance(item["content"], list) for item in items)
    parts = [event["part"] for event in events if event["type"].startswith("response.content_part.")]
    assert [part["type"] for part in parts] == ["audio", "audio"]
    assert {"type", "code", "message", "param", "event_id"} <= set(error)


async def test_m13_usage(target: Target) -> None:
    async with target.session() as client:
        usage = (await answered(client))[-1]["response"]["usage"]
    read, written = usage["input_token_details"], usage["output_token_details"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] > 0
    assert usage["output_tokens"] >= written["text_tokens"] + written["audio_tokens"] > 0
    assert {"cached_tokens", "text_tokens", "audio_tokens"} <= set(read)
    assert {"text_tokens", "audio_tokens"} <= set(read["cached_tokens_details"])


async def test_m14_expires_at(target: Target) -> None:
    async with target.open() as client:
        session = (await client.expect("session.created"))["session"]
    assert type(session["expires_at"]) is int


async def test_m15_cancelling_nothing(target: Target) -> None:
    async with target.session() as client:
        await client.send("response.cancel", event_id="mine")
        error = (await client.expect("error"))["error"]
        assert (error["code"], error["event_id"]) == ("response_cancel_not_active", "mine")
        assert (await answered(client))[-1]["response"]["status"] == "completed"


async def test_m16_refusals(target: Target) -> None:
    assert await target.status(target.query, {}) in (401, 403)
    if target.is_emulator:
        assert await target.status(target.query, {"api-key": "key"}, "/voice-live/elsewhere") == 404
        assert await target.status({}, {"api-key": "key"}) == 400
        for status in (401, 403, 404, 429):
            query = {**target.query, "fault": f"refuse:{status}"}
            assert await target.status(query, {"api-key": "key"}) == status
