"""The agent that asks a language model behind an OpenAI-compatible endpoint.

Any base URL: Ollama, vLLM, llama.cpp, Azure OpenAI (`…/openai/v1`), OpenAI. Chat completions are
streamed as server-sent events, so that the first words are spoken while the rest is written. Nothing
of a request or an answer is logged, nor is the key.
"""

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import orjson
import structlog

from voicelive_emulator.agents import CallFunction, Entry, FunctionCalled, FunctionReturned, Message, Request

APOLOGY: Final = "I'm sorry, I cannot answer that right now. Please try again in a moment."
_DEFAULT_INSTRUCTIONS: Final = (
    "You talk with a caller by voice. Answer in one to three short sentences of plain spoken words: no "
    "lists, no headings, no symbols."
)
_CONNECT_TIMEOUT_S: Final = 5.0
_LONGEST_LINE: Final = 1024 * 1024
_MOST_CALLS: Final = 16


class EndpointError(Exception):
    """The endpoint gave no answer that can be used; the text says why, without anything that it said."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the model is. `base_url` ends before `/chat/completions`."""

    base_url: str
    model: str
    api_key: str = field(default="", repr=False)
    """Sent as a bearer token; empty: none."""
    timeout_s: float = 20.0
    """How long the endpoint may say nothing; a whole answer may take three times as long."""


class OpenAIAgent:
    """Asks an endpoint. When that fails it says so to the caller, in an apology."""

    def __init__(self, http: aiohttp.ClientSession, endpoint: Endpoint) -> None:
        self._http = http
        self._endpoint = endpoint
        self._log = structlog.get_logger("voicelive_emulator")

    async def reply(self, request: Request) -> AsyncGenerator[str | CallFunction]:
        """The model's answer as it is written, then its calls of functions."""
        silent = True
        try:
            async with aclosing(self._answer(request)) as pieces:
                async for piece in pieces:
                    silent = False
                    yield piece
        except (EndpointError, aiohttp.ClientError, TimeoutError) as error:
            reason = str(error) if isinstance(error, EndpointError) else type(error).__name__
            self._log.error("agent_failed", reason=reason)
            yield APOLOGY if silent else f" {APOLOGY}"

    async def _answer(self, request: Request) -> AsyncGenerator[str | CallFunction]:
        headers = {"Accept": "text/event-stream"}
        if self._endpoint.api_key:
            headers["Authorization"] = f"Bearer {self._endpoint.api_key}"
        timeout_s = self._endpoint.timeout_s
        post = self._http.post(
            f"{self._endpoint.base_url.rstrip('/')}/chat/completions",
            data=orjson.dumps(request_body(self._endpoint.model, request)),
            headers={**headers, "Content-Type": "application/json"},
            # A redirect would take the key elsewhere.
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(
                total=3 * timeout_s, sock_connect=_CONNECT_TIMEOUT_S, sock_read=timeout_s
            ),
        )
        calls = _Calls()
        silent = True
        async with post as response:
            if response.status != 200:
                raise EndpointError(f"HTTP status {response.status}")
            async with aclosing(_deltas(response.content)) as deltas:
                async for delta in deltas:
                    if isinstance(text := delta.get("content"), str) and text:
                        silent = False
                        yield text
                    calls.add(delta.get("tool_calls"))
        for call in calls:
            silent = False
            yield call
        if silent:
            raise EndpointError("an empty answer")


def request_body(model: str, request: Request) -> dict[str, Any]:
    """The body of a streaming chat completion."""
    body: dict[str, Any] = {"model": model, "stream": True, "messages": _messages(request.history)}
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.parameters or {"type": "object", "properties": {}},
                },
            }
            for tool in request.tools
        ]
    if request.must_call:
        body["tool_choice"] = {"type": "function", "function": {"name": request.tools[0].name}}
    return body


def _messages(history: Sequence[Entry]) -> list[dict[str, Any]]:
    """The conversation as the endpoint takes it: every call is followed by its output, none stands alone."""
    outputs = {entry.call_id: entry.text for entry in history if isinstance(entry, FunctionReturned)}
    called = {entry.call_id for entry in history if isinstance(entry, FunctionCalled)}
    messages: list[dict[str, Any]] = []
    if not (history and isinstance(history[0], Message) and history[0].role == "system"):
        messages.append({"role": "system", "content": _DEFAULT_INSTRUCTIONS})
    for entry in history:
        match entry:
            case Message(role=role, text=text):
                messages.append({"role": role, "content": text})
            case FunctionCalled(call_id=call_id, name=name, text=arguments) if call_id in outputs:
                function = {"name": name, "arguments": arguments}
                call = {"id": call_id, "type": "function", "function": function}
                messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
                messages.append({"role": "tool", "tool_call_id": call_id, "content": outputs[call_id]})
            case FunctionReturned(call_id=call_id, text=text) if call_id not in called:
                messages.append({"role": "system", "content": f"A function returned: {text}"})
            case _:
                pass
    return messages


async def _deltas(stream: aiohttp.StreamReader) -> AsyncGenerator[Mapping[str, Any]]:
    """Yield the `delta` of each event of the stream until it says that it is done."""
    pending = b""
    async for data in stream.iter_any():
        *lines, pending = (pending + data).split(b"\n")
        if len(pending) > _LONGEST_LINE:
            raise EndpointError("an endless line")
        for line in lines:
            content = line.removeprefix(b"data:").strip()
            if content == b"[DONE]":
                return
            if line.startswith(b"data:") and (delta := _delta(content)):
                yield delta
    if pending.startswith(b"data:") and pending[5:].strip() not in (b"", b"[DONE]"):
        raise EndpointError("a broken answer")


def _delta(content: bytes) -> Mapping[str, Any] | None:
    try:
        event = orjson.loads(content)
    except orjson.JSONDecodeError:
        raise EndpointError("an answer that is not JSON") from None
    if not isinstance(event, dict) or "error" in event:
        raise EndpointError("an error in the answer")
    match event.get("choices"):
        case [{"delta": dict() as delta}, *_]:
            return delta
        case _:
            return None


class _Calls:
    """Calls of functions, put together from their pieces."""

    def __init__(self) -> None:
        self._pieces: dict[int, tuple[list[str], list[str]]] = {}

    def add(self, pieces: object) -> None:
        for piece in pieces if isinstance(pieces, list) else ():
            match piece:
                case {"function": dict() as function}:
                    index = piece.get("index", 0)
                    if len(self._pieces) >= _MOST_CALLS and index not in self._pieces:
                        raise EndpointError("too many calls")
                    name, arguments = self._pieces.setdefault(index, ([], []))
                    name.append(str(function.get("name") or ""))
                    arguments.append(str(function.get("arguments") or ""))

    def __iter__(self) -> Iterator[CallFunction]:
        for name, arguments in self._pieces.values():
            yield CallFunction("".join(name), "".join(arguments) or "{}")
