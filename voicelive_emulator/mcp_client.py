"""A minimal client of MCP servers: list tools and call one, over streamable HTTP (MCP 2025-03-26).

Every use opens a session of its own. Only servers on this machine are contacted, redirects are not
followed, and time and sizes are bounded.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any, Final

import aiohttp
import orjson
from yarl import URL

from voicelive_emulator.events import Event
from voicelive_emulator.mcp_fields import McpServer

LIST_TIMEOUT_S: Final = 10.0
CALL_TIMEOUT_S: Final = 30.0
_PROTOCOL_VERSION: Final = "2025-03-26"
_LARGEST_ANSWER_BYTES: Final = 256 * 1_024
_MOST_PAGES: Final = 8
_JSON: Final = "application/json"
_EVENT_STREAM: Final = "text/event-stream"
_OUR_HEADERS: Final = frozenset(
    {"accept", "authorization", "content-type", "mcp-session-id", "mcp-protocol-version"}
)


class McpFailed(Exception):  # noqa: N818 (says what is the case)
    """The server refused or broke. `kind` is the type of an error of `mcp_call`."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message

    def shown(self) -> Event:
        """Return it as an `mcp_call` shows it."""
        return {"type": self.kind, "message": self.message}


async def list_tools(server: McpServer) -> list[Event]:
    """Return the server's tools, each with `name`, `description`, `input_schema` and `annotations`.

    Raises McpFailed.
    """
    async with _session(server, LIST_TIMEOUT_S) as session:
        tools: list[Event] = []
        cursor: dict[str, Any] = {}
        for _ in range(_MOST_PAGES):
            result = await session.request("tools/list", cursor)
            tools += [_tool(tool) for tool in _list(result.get("tools"))]
            if not isinstance(result.get("nextCursor"), str):
                return tools
            cursor = {"cursor": result["nextCursor"]}
        raise McpFailed("protocol_error", "The server offers too many tools.")


async def call_tool(server: McpServer, name: str, arguments: str) -> str:
    """Return the text that the tool gave; `arguments` is a JSON object. Raises McpFailed."""
    async with _session(server, CALL_TIMEOUT_S) as session:
        given = {"name": name, "arguments": orjson.loads(arguments)}
        result = await session.request("tools/call", given)
        content = [part for part in _list(result.get("content")) if isinstance(part, dict)]
        text = "\n".join(str(part.get("text")) for part in content if part.get("type") == "text")
        if result.get("isError") is True:
            raise McpFailed("tool_execution_error", text or "The tool failed.")
        return text


class _Session:
    """Requests and notifications of one MCP session."""

    def __init__(self, http: aiohttp.ClientSession, url: URL) -> None:
        self._http = http
        self._url = url
        self._headers: dict[str, str] = {}
        self._last_id = 0

    async def open(self) -> None:
        client = {"name": "voicelive-emulator", "version": "1"}
        hello = {"protocolVersion": _PROTOCOL_VERSION, "capabilities": {}, "clientInfo": client}
        await self.request("initialize", hello)
        async with self._post({"method": "notifications/initialized"}):
            pass

    async def request(self, method: str, params: Event) -> Event:
        """Return the result of a request."""
        self._last_id += 1
        async with self._post({"id": self._last_id, "method": method, "params": params}) as response:
            if (session_id := response.headers.get("Mcp-Session-Id")) is not None:
                self._headers["Mcp-Session-Id"] = session_id
            answer = await _answer(response, self._last_id)
        if not isinstance(answer.get("result"), dict):
            raise McpFailed("protocol_error", f"The server refused {method}.")
        result: Event = answer["result"]
        return result

    @asynccontextmanager
    async def _post(self, message: Event) -> AsyncIterator[aiohttp.ClientResponse]:
        body = orjson.dumps({"jsonrpc": "2.0", **message})
        async with self._http.post(
            self._url, data=body, headers=self._headers, allow_redirects=False
        ) as response:
            if not 200 <= response.status < 300:
                raise McpFailed("http_error", f"The server answered with status {response.status}.")
            yield response


@asynccontextmanager
async def _session(server: McpServer, timeout_s: float) -> AsyncIterator[_Session]:
    try:
        url = _local(server.server_url)
        async with (
            asyncio.timeout(timeout_s),
            aiohttp.ClientSession(headers=_headers(server)) as http,
        ):
            session = _Session(http, url)
            await session.open()
            yield session
    except TimeoutError:
        raise McpFailed("http_error", "The server did not answer in time.") from None
    except (aiohttp.ClientError, OSError, ValueError):
        raise McpFailed("http_error", "The server cannot be reached or understood.") from None


def _local(server_url: str) -> URL:
    url = URL(server_url)
    host = url.host or ""
    if url.scheme not in {"http", "https"} or not (host == "localhost" or ip_address(host).is_loopback):
        raise McpFailed("http_error", "Only MCP servers on this machine are contacted.")
    return url


def _headers(server: McpServer) -> dict[str, str]:
    given = {
        name: value for name, value in (server.headers or {}).items() if name.lower() not in _OUR_HEADERS
    }
    headers = {**given, "Content-Type": _JSON, "Accept": f"{_JSON}, {_EVENT_STREAM}"}
    if server.authorization is not None:
        has_scheme = " " in server.authorization
        headers["Authorization"] = server.authorization if has_scheme else f"Bearer {server.authorization}"
    return headers


async def _answer(response: aiohttp.ClientResponse, request_id: int) -> Event:
    """Return the JSON-RPC answer to a request, from a JSON body or from a stream of events."""
    streamed = response.content_type == _EVENT_STREAM
    received, rest = 0, b""
    async for chunk in response.content.iter_any():
        received += len(chunk)
        if received > _LARGEST_ANSWER_BYTES:
            raise McpFailed("protocol_error", "The answer of the server is too large.")
        rest += chunk
        if streamed:
            *events, rest = rest.replace(b"\r\n", b"\n").split(b"\n\n")
            for event in events:
                if (message := _message(_data(event), request_id)) is not None:
                    return message
    message = _message(_data(rest) if streamed else rest, request_id)
    if message is None:
        raise McpFailed("protocol_error", "The server gave no answer.")
    return message


def _data(event: bytes) -> bytes:
    lines = (line for line in event.splitlines() if line.startswith(b"data:"))
    return b"\n".join(line.removeprefix(b"data:").removeprefix(b" ") for line in lines)


def _message(data: bytes, request_id: int) -> Event | None:
    message = orjson.loads(data) if data else None
    return message if isinstance(message, dict) and message.get("id") == request_id else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _tool(tool: Any) -> Event:
    match tool:
        case {"name": str() as name, "inputSchema": dict() as schema}:
            description = tool.get("description")
            return {
                "name": name,
                "description": description if isinstance(description, str) else None,
                "input_schema": schema,
                "annotations": tool.get("annotations"),
            }
    raise McpFailed("protocol_error", "The server describes a tool wrongly.")
