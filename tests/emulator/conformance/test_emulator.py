"""What only the emulator offers, or what a cloud service cannot be asked to do for a test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest

from tests.emulator.conformance.target import Target, answered
from tests.emulator.test_server import minted_token
from tests.emulator.wire import Closed, Event, audio_of, only, types
from voicelive_emulator.server import Endpoints, serving
from voicelive_emulator.settings import Settings
from voicelive_emulator.speech_models import SpeechModels

AGENT = {"agent-name": "sales", "agent-project-name": "shop"}


@asynccontextmanager
async def emulator(target: Target, models: SpeechModels, **settings: Any) -> AsyncIterator[Target]:
    """Run another emulator, with these settings."""
    async with serving(Settings(port=0, **settings), models) as endpoints:
        endpoint = f"http://127.0.0.1:{endpoints.port}"
        yield Target("emulator", endpoint, "key", target.model, target.native_model, target.speech)


async def bearer(target: Target) -> dict[str, str]:
    endpoints = Endpoints(int(target.endpoint.rpartition(":")[2]), None, None)
    return {"Authorization": f"Bearer {await minted_token(endpoints)}"}


async def test_f12_agents(target: Target, real_models: SpeechModels) -> None:
    headers = await bearer(target)
    token = headers["Authorization"].removeprefix("Bearer ")
    classic = {"agent-id": "asst_1", "agent-project-name": "shop", "agent-access-token": token}
    async with target.open(classic) as client:
        assert (await client.expect("session.created"))["session"]["agent"]["agent_id"] == "asst_1"
    assert await target.status(AGENT, {"api-key": "key"}) == 401
    async with target.open(AGENT, headers) as client:
        agent = (await client.expect("session.created"))["session"]["agent"]
        assert agent["name"] == "sales"
        await client.send("session.update", session={"instructions": "Obey."})
        assert types([await client.receive(), await client.receive()]) == ["warning", "session.updated"]
        opening = _transcript(await answered(client))
        following = _transcript(await answered(client, "Yes, go ahead."))
    for query, is_same in (
        ({**AGENT, "conversation-id": agent["thread_id"]}, True),
        ({**AGENT, "agent-name": "other", "conversation-id": agent["thread_id"]}, False),
    ):
        async with target.open(query, headers) as client:
            resumed = (await client.expect("session.created"))["session"]["agent"]
            assert (resumed["thread_id"] == agent["thread_id"]) is is_same
            answer = _transcript(await answered(client, "Sorry, we were cut off."))
        assert (answer == opening) is not is_same
        assert answer != following
    for choice, answer_types in (("ignore", ["session.updated"]), ("error", ["error"])):
        async with emulator(target, real_models, agent_updates=choice, agent_api_keys=True) as other:
            async with other.open(AGENT) as client:
                await client.expect("session.created")
                await client.send("session.update", session={"instructions": "Obey."})
                assert types([await client.receive()]) == answer_types


def _transcript(events: list[Event]) -> str:
    text = events[-1]["response"]["output"][0]["content"][0]["transcript"]
    assert isinstance(text, str)
    return text


async def test_f14_faults(target: Target) -> None:
    def faulty(fault: str) -> dict[str, str]:
        return {**target.query, "fault": fault}

    for status in (401, 403, 404, 429, 500, 503):
        assert await target.status(faulty(f"refuse:{status}"), {"api-key": "key"}) == status
    async with target.open(faulty("close:1011:broken@session.created")) as client:
        with pytest.raises(Closed) as closed:
            await client.until("never")
        assert (closed.value.code, closed.value.reason) == (1011, "broken")
    async with target.open(faulty("abort@response.audio.delta")) as client:
        with pytest.raises((Closed, ConnectionError)):
            await answered(client)
    async with target.open(faulty("silence@session.created")) as client:
        await client.expect("session.created")
        await client.ws.ping()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.ws.receive(), 0.3)
    async with target.open(faulty("bad_json@session.created")) as client:
        await client.expect("session.created")
        with pytest.raises(orjson.JSONDecodeError):
            await client.receive()
        assert (await answered(client))[-1]["response"]["status"] == "completed"
    async with target.open(faulty("binary@session.created")) as client:
        assert (await client.receive_raw()).type is aiohttp.WSMsgType.BINARY
    async with target.open(faulty("oversize:5000000@session.created")) as client:
        await client.expect("session.created")
        assert len((await client.receive_raw()).data) > 5_000_000
    async with target.open(faulty("fail_response")) as client:
        assert (await answered(client))[-1]["response"]["status"] == "failed"
    async with target.open(faulty("expire:0.1")) as client:
        assert (await client.until("error"))[-1]["error"]["code"] == "session_expired"


async def test_f15_quotas(target: Target, real_models: SpeechModels) -> None:
    async with emulator(target, real_models, connections_per_minute=2) as small:
        statuses = [await small.status(small.query, {"api-key": "key"}) for _ in range(3)]
        assert statuses == [101, 101, 429]
    async with emulator(target, real_models, tokens_per_minute=1) as small:
        async with small.session() as client:
            assert (await answered(client))[-1]["response"]["status"] == "completed"
            refused = (await answered(client))[-1]["response"]
            assert refused["status"] == "failed"
            assert refused["status_details"]["error"]["code"] == "rate_limit_exceeded"
    async with emulator(target, real_models, session_lifetime_s=1) as short, short.open() as client:
        await client.expect("session.created")
        assert (await client.expect("error"))["error"]["code"] == "session_expired"
        with pytest.raises(Closed) as closed:
            await client.receive()
        assert closed.value.code == 1001


async def test_f16_events_that_clients_do_not_know(target: Target) -> None:
    query = {**target.query, "fault": "rate_limits"}
    async with target.open(
        query, {"api-key": "key", "x-emulator-fault": "item_done, foundry_agent_call"}
    ) as client:
        events = await answered(client)
    names = {event["type"] for event in events}
    assert {
        "rate_limits.updated",
        "conversation.item.done",
        "response.foundry_agent_call_arguments.done",
        "response.foundry_agent_call.completed",
    } <= names
    done = [event["item"]["id"] for event in only(events, "conversation.item.done")]
    created = [event["item"]["id"] for event in only(events, "conversation.item.created")]
    assert done == created
    assert len({event["event_id"] for event in events}) == len(events)


async def test_f17_pace_and_seeds(target: Target, real_models: SpeechModels) -> None:
    clock = asyncio.get_running_loop().time
    async with target.session(pace=2) as client:
        started = clock()
        events = await answered(client)
        # All but the last delta have had to wait for those before.
        assert clock() - started >= (len(audio_of(events)) / 48_000 - 0.2) / 2
    runs = []
    for _ in range(2):
        async with emulator(target, real_models, seed=7) as seeded, seeded.session() as client:
            runs.append([orjson.dumps(event) for event in await answered(client)])
    assert runs[0] == runs[1]


async def test_f18_the_newer_names_of_openai(target: Target) -> None:
    async with target.open({"model": target.native_model, "names": "openai"}) as client:
        session = (await client.expect("session.created"))["session"]
        events = await answered(client)
    assert (session["type"], session["output_modalities"]) == ("realtime", ["audio"])
    names = {event["type"] for event in events}
    assert {"response.output_audio.delta", "conversation.item.added", "conversation.item.done"} <= names
    assert not {"response.audio.delta", "conversation.item.created"} & names
    async with target.open() as client:
        await client.expect("session.created")
        await client.send("session.update", session={"type": "realtime", "output_modalities": ["text"]})
        assert (await client.expect("session.updated"))["session"]["type"] == "realtime"
        await client.send("response.create", response={})
        assert "response.output_text.delta" in types(await client.until("response.done"))
