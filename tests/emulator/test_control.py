"""`/sessions` and `/answers`: what goes on, ending it, and setting what the agent says."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.emulator.doubles import Doubles, silence, speech
from tests.emulator.wire import Closed, connected, only
from voicelive_emulator.agent_choice import AgentOptions, chosen_agents
from voicelive_emulator.server import Endpoints, serving
from voicelive_emulator.settings import Settings
from voicelive_emulator.tape import Tape, TapeTimes


async def asked(
    port: int, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    async with aiohttp.ClientSession(headers=headers) as http:
        async with http.request(method, f"http://127.0.0.1:{port}{path}", json=body) as response:
            return response.status, await response.json()


async def sessions(endpoints: Endpoints) -> list[dict[str, Any]]:
    status, body = await asked(endpoints.port, "GET", "/sessions")
    assert status == 200
    listed: list[dict[str, Any]] = body["sessions"]
    return listed


@pytest.fixture
async def test_agent() -> AsyncIterator[Endpoints]:
    """An emulator whose answers can be set."""
    async with (
        chosen_agents(AgentOptions("test")) as agents,
        serving(
            Settings(port=0), Tape(agents.new_agent, TapeTimes(None)), answers=agents.answers
        ) as endpoints,
    ):
        yield endpoints


class TestSessions:
    async def test_shows_what_goes_on_and_no_word_of_it(self, emulator: Endpoints) -> None:
        assert await sessions(emulator) == []
        async with connected(emulator.port) as client:
            created = await client.expect("session.created")
            await client.say("My number is 5550100.")
            await client.send("response.create")
            await client.until("response.done")
            (shown,) = await sessions(emulator)
            assert shown["id"] == created["session"]["id"]
            assert (shown["mode"], shown["model"]) == ("model", "gpt-4.1")
            assert shown["age_s"] >= 0
            assert shown["state"] == "listening"
            counts = shown["counts"]
            assert (counts["client_events"], counts["responses"], counts["turns"]) == (2, 1, 0)
            assert counts["server_events"] > counts["audio_deltas"] > 0
            assert "555" not in json.dumps(shown)

    async def test_shows_who_speaks(self, emulator: Endpoints, doubles: Doubles) -> None:
        doubles.synthesizer.hold = True
        async with connected(emulator.port) as client:
            await client.expect("session.created")
            await client.append(silence(300) + speech(1_000))
            await client.until("input_audio_buffer.speech_started")
            assert (await sessions(emulator))[0]["state"] == "caller_speaking"
            await client.append(silence(1_000))
            await client.until("response.audio.delta")
            (shown,) = await sessions(emulator)
            assert (shown["state"], shown["counts"]["turns"]) == ("answering", 1)
            doubles.synthesizer.go_on.set()

    async def test_can_all_be_ended(self, emulator: Endpoints) -> None:
        async with connected(emulator.port) as client:
            await client.expect("session.created")
            assert await asked(emulator.port, "DELETE", "/sessions") == (200, {"ended": 1})
            with pytest.raises(Closed) as closed:
                await client.receive()
        assert closed.value.code == 1001

    async def test_wants_the_key_where_there_is_one(self, doubles: Doubles) -> None:
        async with serving(Settings(port=0, api_key="right"), doubles.models()) as endpoints:
            for headers in ({}, {"api-key": "wrong"}):
                for method, path in (("GET", "/sessions"), ("DELETE", "/sessions"), ("PUT", "/answers")):
                    status, body = await asked(endpoints.port, method, path, [], headers)
                    assert (status, body["error"]["code"]) == (401, "unauthorized")
            status, body = await asked(endpoints.port, "GET", "/sessions", headers={"api-key": "right"})
            assert (status, body) == (200, {"sessions": []})


class TestAnswers:
    async def test_are_given_one_by_one_then_the_script_answers(self, test_agent: Endpoints) -> None:
        call = {"call": "get_price", "arguments": {"plan": "plus"}}
        status, body = await asked(
            test_agent.port, "PUT", "/answers", ["It is raining.", call, {"fail": True}]
        )
        assert (status, body) == (200, {"waiting": 3})
        said = []
        async with connected(test_agent.port) as client:
            for _ in range(4):
                await client.say("Well?")
                await client.send("response.create")
                said.append(await client.until("response.done"))
        assert only(said[0], "response.audio_transcript.done")[0]["transcript"] == "It is raining."
        arguments = only(said[1], "response.function_call_arguments.done")[0]
        assert (arguments["name"], arguments["arguments"]) == ("get_price", '{"plan":"plus"}')
        assert said[2][-1]["response"]["status"] == "failed"
        assert "your internet" in only(said[3], "response.audio_transcript.done")[0]["transcript"]

    @pytest.mark.parametrize("body", [{"answers": []}, [1]])
    async def test_that_make_no_sense_are_refused(self, test_agent: Endpoints, body: object) -> None:
        status, answer = await asked(test_agent.port, "PUT", "/answers", body)
        assert (status, answer["error"]["code"]) == (400, "invalid_answers")

    async def test_need_the_test_agent(self, emulator: Endpoints) -> None:
        status, answer = await asked(emulator.port, "PUT", "/answers", ["Hello."])
        assert (status, answer["error"]["code"]) == (409, "no_test_agent")

    async def test_that_are_no_json_are_refused(self, test_agent: Endpoints) -> None:
        async with aiohttp.ClientSession() as http:
            url = f"http://127.0.0.1:{test_agent.port}/answers"
            response = await asyncio.wait_for(http.put(url, data=b"{"), 10)
            assert response.status == 400
            response.release()
