"""The agent behind an OpenAI-compatible endpoint, against a local server that plays one."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from structlog.testing import capture_logs

from tests.emulator.wire import connected, only
from voicelive_emulator.agents import CallFunction, FunctionCalled, FunctionReturned, Message, Request, Tool
from voicelive_emulator.openai_agent import APOLOGY, Endpoint, OpenAIAgent
from voicelive_emulator.server import serving
from voicelive_emulator.settings import Settings
from voicelive_emulator.tape import Tape, TapeTimes

HELLO = (Message("system", "Be kind."), Message("user", "Hello"))
GET_PRICE = Tool(
    "get_price", "What it costs.", {"type": "object", "properties": {"plan": {"type": "string"}}}
)
KEY = "sk-not-to-be-seen"


def chunk(**delta: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode() + b"\n\n"


def called(index: int, name: str | None, arguments: str) -> bytes:
    function = {"name": name, "arguments": arguments} if name else {"arguments": arguments}
    return chunk(tool_calls=[{"index": index, "function": function}])


DONE = b"data: [DONE]\n\n"


class PlayedEndpoint:
    """Answers every request with the same pieces, and keeps the requests."""

    def __init__(self, pieces: Sequence[bytes] = (), status: int = 200) -> None:
        self.pieces = pieces
        self.status = status
        self.stalls_after = len(pieces) + 1
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.left = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(await request.json())
        self.keys.append(request.headers.get("Authorization", ""))
        response = web.StreamResponse(status=self.status, headers={"Location": "/elsewhere"})
        await response.prepare(request)
        try:
            for number, piece in enumerate(self.pieces):
                if number == self.stalls_after:
                    await asyncio.Event().wait()
                await response.write(piece)
        finally:
            self.left.set()
        return response


@asynccontextmanager
async def served(played: PlayedEndpoint) -> AsyncIterator[str]:
    """Serve the endpoint; gives its base URL."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", played.answer)
    server = TestServer(app)
    await server.start_server()
    try:
        yield str(server.make_url("/v1/"))
    finally:
        await server.close()


@asynccontextmanager
async def agent_of(played: PlayedEndpoint, timeout_s: float = 20) -> AsyncIterator[OpenAIAgent]:
    async with served(played) as url, aiohttp.ClientSession() as http:
        yield OpenAIAgent(http, Endpoint(url, "llama", KEY, timeout_s))


async def replies(
    played: PlayedEndpoint, request: Request, timeout_s: float = 20
) -> list[str | CallFunction]:
    async with agent_of(played, timeout_s) as agent:
        return [piece async for piece in agent.reply(request)]


async def test_the_answer_comes_as_it_is_written() -> None:
    whole = chunk(role="assistant", content="") + chunk(content="Good ") + chunk(content="day, Zoë.") + DONE
    cut = [whole[:30], whole[30:31], whole[31:]]
    played = PlayedEndpoint(cut)
    assert await replies(played, Request(HELLO)) == ["Good ", "day, Zoë."]
    (request,) = played.requests
    assert (request["model"], request["stream"]) == ("llama", True)
    assert request["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hello"},
    ]
    assert "tools" not in request
    assert played.keys == [f"Bearer {KEY}"]


async def test_without_instructions_the_model_is_told_to_speak() -> None:
    played = PlayedEndpoint([chunk(content="Hi."), DONE])
    await replies(played, Request(()))
    assert [message["role"] for message in played.requests[0]["messages"]] == ["system"]


async def test_comments_and_usage_are_no_words() -> None:
    usage = b'data: {"choices": [], "usage": {"total_tokens": 3}}\n\n'
    played = PlayedEndpoint([b": waiting\n\n", b"event: message\r\n", chunk(content="Hi."), usage, DONE])
    assert await replies(played, Request(HELLO)) == ["Hi."]


async def test_functions_are_offered_and_their_calls_put_together() -> None:
    played = PlayedEndpoint(
        [
            chunk(content="Let me look. "),
            called(0, "get_price", ""),
            called(0, None, '{"plan":'),
            called(1, "get_price", '{"plan":"b"}'),
            called(0, None, '"a"}'),
            DONE,
        ]
    )
    assert await replies(played, Request(HELLO, (GET_PRICE,))) == [
        "Let me look. ",
        CallFunction("get_price", '{"plan":"a"}'),
        CallFunction("get_price", '{"plan":"b"}'),
    ]
    assert played.requests[0]["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "get_price",
                "description": "What it costs.",
                "parameters": GET_PRICE.parameters,
            },
        }
    ]
    assert "tool_choice" not in played.requests[0]


async def test_a_demanded_call_is_demanded() -> None:
    played = PlayedEndpoint([called(0, "get_price", ""), DONE])
    pieces = await replies(played, Request(HELLO, (GET_PRICE,), must_call=True))
    assert pieces == [CallFunction("get_price", "{}")]
    assert played.requests[0]["tool_choice"] == {"type": "function", "function": {"name": "get_price"}}


async def test_outputs_follow_their_calls_and_none_stands_alone() -> None:
    history = (
        *HELLO,
        FunctionCalled("call_a", "get_price", "{}"),
        FunctionCalled("call_b", "get_price", "{}"),
        FunctionReturned("call_a", "39 dollars"),
        FunctionReturned("call_x", "42 dollars"),
    )
    played = PlayedEndpoint([chunk(content="It is 39."), DONE])
    await replies(played, Request(history))
    messages = played.requests[0]["messages"][2:]
    assert [message["role"] for message in messages] == ["assistant", "tool", "system"]
    assert messages[0]["tool_calls"][0]["id"] == messages[1]["tool_call_id"] == "call_a"
    assert messages[1]["content"] == "39 dollars"
    assert "42 dollars" in messages[2]["content"]


@pytest.mark.parametrize(
    "played",
    [
        PlayedEndpoint([b'{"error":{"message":"secret words"}}'], status=401),
        PlayedEndpoint([], status=302),
        PlayedEndpoint([DONE]),
        PlayedEndpoint([]),
        PlayedEndpoint([b'data: {"error":{"message":"secret words"}}\n\n']),
        PlayedEndpoint([b"data: secret words\n\n"]),
        PlayedEndpoint([b"data: " + bytes(2 * 1024 * 1024)]),
    ],
)
async def test_without_a_usable_answer_it_apologises_and_logs_no_word(played: PlayedEndpoint) -> None:
    with capture_logs() as logs:
        assert await replies(played, Request(HELLO)) == [APOLOGY]
    assert [entry["event"] for entry in logs] == ["agent_failed"]
    assert "secret words" not in str(logs)
    assert KEY not in str(logs)


async def test_a_silent_endpoint_is_not_waited_for() -> None:
    played = PlayedEndpoint([chunk(content="Well, "), chunk(content="never said")])
    played.stalls_after = 1
    assert await replies(played, Request(HELLO), timeout_s=0.2) == ["Well, ", f" {APOLOGY}"]


async def test_nobody_there() -> None:
    async with aiohttp.ClientSession() as http:
        server = TestServer(web.Application())
        await server.start_server()
        url = str(server.make_url("/v1"))
        await server.close()
        agent = OpenAIAgent(http, Endpoint(url, "llama"))
        assert [piece async for piece in agent.reply(Request(HELLO))] == [APOLOGY]


async def test_an_answer_that_nobody_wants_any_more_is_left() -> None:
    played = PlayedEndpoint([chunk(content="Well, "), chunk(content="never said")])
    played.stalls_after = 1
    async with agent_of(played) as agent:
        answer = agent.reply(Request(HELLO))
        assert await anext(answer) == "Well, "
        await answer.aclose()
        await asyncio.wait_for(played.left.wait(), 10)


def test_the_key_is_not_shown() -> None:
    assert KEY not in repr(Endpoint("http://localhost/v1", "llama", KEY))


class TestInASession:
    """The agent where it belongs: behind the wire."""

    async def test_a_function_call_round(self) -> None:
        played = PlayedEndpoint(
            [chunk(content="One moment. "), called(0, "get_price", '{"plan":"plus"}'), DONE]
        )
        async with agent_of(played) as agent:
            async with serving(Settings(port=0), Tape(lambda: agent, TapeTimes(None))) as endpoints:
                async with connected(endpoints.port) as client:
                    tool = {"type": "function", "name": "get_price", "parameters": GET_PRICE.parameters}
                    await client.send("session.update", session={"tools": [tool], "instructions": "Be kind."})
                    await client.say("How much is it?")
                    await client.send("response.create")
                    events = await client.until("response.done")
                    message, call = events[-1]["response"]["output"]
                    assert message["content"][0]["transcript"] == "One moment. "
                    assert (call["name"], call["arguments"]) == ("get_price", '{"plan":"plus"}')
                    played.pieces = [chunk(content="It is 39 dollars."), DONE]
                    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "39"}
                    await client.send("conversation.item.create", item=output)
                    await client.send("response.create")
                    done = (await client.until("response.done"))[-1]
        assert done["response"]["status"] == "completed"
        assert done["response"]["output"][0]["content"][0]["transcript"] == "It is 39 dollars."
        assert [message["role"] for message in played.requests[-1]["messages"]] == [
            "system",
            "user",
            "assistant",
            "assistant",
            "tool",
        ]

    async def test_a_caller_who_interrupts_ends_the_request(self) -> None:
        played = PlayedEndpoint([chunk(content="It is a long story. Once upon a time, "), chunk(content="…")])
        played.stalls_after = 1
        async with agent_of(played) as agent:
            async with serving(Settings(port=0), Tape(lambda: agent, TapeTimes(None))) as endpoints:
                async with connected(endpoints.port) as client:
                    await client.say("Tell me a story.")
                    await client.send("response.create")
                    await client.until("response.audio_transcript.delta")
                    await client.send("response.cancel")
                    done = (await client.until("response.done"))[-1]
                    assert done["response"]["status"] == "cancelled"
                    await asyncio.wait_for(played.left.wait(), 10)

    async def test_the_process_takes_the_key_from_the_environment_and_shows_it_nowhere(self) -> None:
        played = PlayedEndpoint([chunk(content="Hi there."), DONE])
        async with served(played) as url:
            options = ("--tape", "--port", "0", "--log-level", "debug", "--agent", "openai")
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "voicelive_emulator", *options),
                *("--agent-url", url, "--agent-model", "llama"),
                env=os.environ | {"EMULATOR_AGENT_API_KEY": KEY},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            try:
                assert process.stdout is not None
                ready = json.loads(await asyncio.wait_for(process.stdout.readline(), 60))
                async with connected(ready["port"]) as client:
                    await client.say("Hello.")
                    await client.send("response.create")
                    events = await client.until("response.done")
                    played.status = 500
                    await client.send("response.create")
                    apology = await client.until("response.done")
            finally:
                process.terminate()
                output, log = await asyncio.wait_for(process.communicate(), 30)
        assert only(events, "response.audio_transcript.done")[0]["transcript"] == "Hi there."
        assert only(apology, "response.audio_transcript.done")[0]["transcript"] == APOLOGY
        assert played.keys == [f"Bearer {KEY}"] * 2
        assert b"agent_failed" in log
        for secret in (KEY, "Hi there", "Hello."):
            assert secret.encode() not in output + log
