"""An MCP server over streamable HTTP, small and real, that tells tests what it was asked."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer

SHIPPING = {
    "name": "get_shipping",
    "description": "When an order arrives.",
    "inputSchema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
SECRET = {"name": "wipe_disk", "description": "Not for callers.", "inputSchema": {"type": "object"}}


@dataclass
class McpDouble:
    """`streams` answers in server-sent events; the other switches make it fail."""

    streams: bool = False
    redirects: bool = False
    refuses_list: bool = False
    fails_call: bool = False
    floods: bool = False
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    @property
    def methods(self) -> list[str]:
        return [message["method"] for message in self.asked]

    @property
    def calls(self) -> list[dict[str, Any]]:
        return [message["params"] for message in self.asked if message["method"] == "tools/call"]

    def tool(self, **fields: Any) -> dict[str, Any]:
        """The server as the tool of a session."""
        return {"type": "mcp", "server_label": "shop", "server_url": self.url, **fields}

    async def handle(self, request: web.Request) -> web.Response:
        if self.redirects:
            raise web.HTTPTemporaryRedirect("/elsewhere")
        message = orjson.loads(await request.read())
        self.asked.append(message)
        self.headers.append(dict(request.headers))
        if "id" not in message:
            return web.Response(status=202)
        if message["method"] != "initialize" and request.headers.get("Mcp-Session-Id") != "one":
            return web.Response(status=404)
        answer = {"jsonrpc": "2.0", "id": message["id"], **self._answer(message["method"])}
        headers = {"Mcp-Session-Id": "one"}
        if not self.streams:
            return web.json_response(answer, headers=headers)
        note = b'event: message\r\ndata: {"jsonrpc":"2.0","method":"notifications/message"}\r\n\r\n'
        body = note + b"data: " + orjson.dumps(answer) + b"\n\n"
        return web.Response(body=body, content_type="text/event-stream", headers=headers)

    def _answer(self, method: str) -> dict[str, Any]:
        if method == "initialize":
            about = {"name": "shop", "version": "1"}
            return {
                "result": {
                    "protocolVersion": "2025-03-26",
                    "capabilities": {"tools": {}},
                    "serverInfo": about,
                }
            }
        if method == "tools/list":
            if self.refuses_list:
                return {"error": {"code": -32601, "message": "no tools"}}
            return {"result": {"tools": [SHIPPING, SECRET]}}
        text = "x" * 300_000 if self.floods else "It arrives on Friday"
        return {"result": {"content": [{"type": "text", "text": text}], "isError": self.fails_call}}


@asynccontextmanager
async def mcp_server(**switches: Any) -> AsyncIterator[McpDouble]:
    """Serve on a port of this machine."""
    double = McpDouble(**switches)
    app = web.Application()
    app.router.add_post("/mcp", double.handle)
    async with TestServer(app) as server:
        double.url = str(server.make_url("/mcp"))
        yield double
