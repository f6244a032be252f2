"""With a seed: the same client events give the same server events, ids included, however fast they come."""

import asyncio
import contextlib
import json
from typing import Any

import orjson

from tests.emulator.doubles import Doubles, silence, speech
from tests.emulator.wire import TIMEOUT_S, Closed, Event, WireClient, connected, only
from voicelive_emulator.agent_choice import AgentOptions, chosen_agents
from voicelive_emulator.server import serving
from voicelive_emulator.settings import Settings
from voicelive_emulator.tape import Tape, TapeTimes

TURNS = 60
TURN = speech(1_200) + silence(8_800)
CHUNK = 4_800
PADDING_MS = 400
TOOL = {"type": "function", "name": "schedule_callback", "parameters": {"type": "object"}}


async def ten_minute_call(seed: int = 7, lifetime_s: int = 3_600) -> list[Event]:
    """Hold a call of ten minutes by its audio, as fast as it goes; return every event."""
    settings = Settings(port=0, seed=seed, session_lifetime_s=lifetime_s)
    async with (
        chosen_agents(AgentOptions()) as agents,
        serving(settings, Tape(agents.new_agent, TapeTimes(None))) as endpoints,
        connected(endpoints.port) as client,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(speak_until_closed(client))
        events: list[Event] = []
        try:
            while events[-1:] == [] or events[-1].get("error", {}).get("event_id") != "settled":
                events.append(await client.receive())
        except Closed as closed:
            events.append({"type": "closed", "code": closed.code})
    return events


async def speak_until_closed(client: WireClient) -> None:
    with contextlib.suppress(ConnectionError):
        await speak_and_type(client)


async def speak_and_type(client: WireClient) -> None:
    detection = {"type": "server_vad", "auto_truncate": True}
    await client.send("session.update", session={"turn_detection": detection, "tools": [TOOL]})
    for turn in range(TURNS):
        for start in range(0, len(TURN), CHUNK):
            await client.append(TURN[start : start + CHUNK])
        if turn == TURNS // 2:
            await client.say("Call me back tomorrow.")
            await client.send("response.create")
    await client.send("conversation.item.retrieve", event_id="settled", item_id="nothing")


async def test_a_ten_minute_call_is_the_same_in_every_run() -> None:
    first, second = await ten_minute_call(), await ten_minute_call()
    assert [orjson.dumps(event) for event in first] == [orjson.dumps(event) for event in second]
    starts = [event["audio_start_ms"] for event in only(first, "input_audio_buffer.speech_started")]
    assert len(starts) == TURNS
    assert all(abs(start - (turn * 10_000 - PADDING_MS)) <= 32 for turn, start in enumerate(starts[1:], 1))
    done = [event["response"]["status"] for event in only(first, "response.done")]
    assert done == ["completed"] * (TURNS + 1)
    assert len(only(first, "response.function_call_arguments.done")) == 1


async def test_what_was_heard_follows_the_audio_clock() -> None:
    events = await ten_minute_call()
    cut = only(events, "conversation.item.truncated")
    assert cut
    assert all(8_000 < event["audio_end_ms"] < 10_000 for event in cut)


async def test_another_seed_makes_other_ids() -> None:
    first, second = await ten_minute_call(1), await ten_minute_call(2)
    assert first[0]["session"]["id"] != second[0]["session"]["id"]
    assert [event["type"] for event in first] == [event["type"] for event in second]


async def test_a_session_expires_by_the_audio_clock() -> None:
    events = await ten_minute_call(lifetime_s=60)
    assert events[-1] == {"type": "closed", "code": 1001}
    assert events[-2]["error"]["code"] == "session_expired"
    assert len(only(events, "input_audio_buffer.speech_started")) == 6


async def test_sessions_do_not_change_each_others_ids(doubles: Doubles) -> None:
    async def session_ids(with_traffic: bool) -> list[Any]:
        async with serving(Settings(port=0, seed=3), doubles.models()) as endpoints:
            async with connected(endpoints.port) as first:
                ids = [(await first.expect("session.created"))["session"]["id"]]
                if with_traffic:
                    await first.say("Hello.")
                    await first.expect("conversation.item.created")
                async with connected(endpoints.port) as second:
                    created = await second.expect("session.created")
                    return [*ids, created["session"]["id"], created["session"]["expires_at"]]

    alone = await asyncio.wait_for(session_ids(False), TIMEOUT_S)
    assert json.dumps(alone) == json.dumps(await session_ids(True))
