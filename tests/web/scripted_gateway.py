"""A gateway whose every word the test decides: the real page over a real server, `/ws/voice` by hand.

The page is served from `app/web` under the headers of the real gateway, so what its Content-Security-Policy
forbids is forbidden here as well.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

from app.page import HEADERS, WEB

PATIENCE_S = 60.0
"""How long a test waits for what must happen: never the thing measured, only the end of a failing test."""


BROWSER = Path(__file__).parent / "browser"


class ScriptedCall:
    """One connection of the page: what it sends is kept, what it gets is up to the test."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request, *, answers_pings: bool) -> None:
        self._answers_pings = answers_pings
        self.socket = socket
        self.offered = request.headers.get("Sec-WebSocket-Protocol", "")
        self.origin = request.headers.get("Origin", "")
        self.frames: list[bytes] = []
        self.messages: list[dict[str, Any]] = []
        self.close_code: int | None = None
        self._request = request
        self._changed = asyncio.Condition()
        self._close_with: int | None = None
        self._read = 0

    async def run(self) -> None:
        """Receives until the page or the test closes."""
        async for message in self.socket:
            if self._close_with is not None:
                # By the task that reads: then it waits for the page to answer and does not cut it off.
                await self.socket.close(code=self._close_with)
                break
            async with self._changed:
                if message.type is WSMsgType.BINARY:
                    self.frames.append(message.data)
                elif message.type is WSMsgType.TEXT:
                    self.messages.append(json.loads(message.data))
                    if self._answers_pings and self.messages[-1] == {"type": "ping"}:
                        await self.send("pong")
                self._changed.notify_all()
        async with self._changed:
            self.close_code = self.socket.close_code
            self._changed.notify_all()

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S), self._changed:
            await self._changed.wait_for(condition)

    async def until_frames(self, count: int) -> None:
        """Waits until the page has sent `count` more frames of speech than now."""
        wanted = len(self.frames) + count
        await self._until(lambda: len(self.frames) >= wanted)

    async def until_closed(self) -> None:
        """Waits until the connection is closed, by whomever."""
        await self._until(lambda: self.close_code is not None)

    async def receive(self, kind: str) -> dict[str, Any]:
        """The next message of this type that the test has not looked at yet; others are passed over."""

        def found() -> int | None:
            later = range(self._read, len(self.messages))
            return next((i for i in later if self.messages[i]["type"] == kind), None)

        await self._until(lambda: found() is not None)
        index = found()
        assert index is not None
        self._read = index + 1
        return self.messages[index]

    def sent(self, kind: str) -> list[dict[str, Any]]:
        """Every message of this type so far."""
        return [message for message in self.messages if message["type"] == kind]

    async def send(self, kind: str, **fields: object) -> None:
        """A message to the page."""
        await self.socket.send_str(json.dumps({"type": kind, **fields}))

    async def send_text(self, text: str) -> None:
        """A text frame as it is, JSON or not."""
        await self.socket.send_str(text)

    async def start_session(self, **more: object) -> None:
        """What every call begins with. `more` is said in `session_started` as well."""
        session = {"session_id": "sess_1", "protocol": "voice-live.v1", "max_duration_s": 1740}
        await self.send("session_started", **session, **more)
        await self.send("status", status="ready")

    async def speak(self, response_id: str, pcm: bytes, *, end: bool = True, frame_bytes: int = 4800) -> None:
        """A response of the agent: PCM16 LE 24 kHz, in frames of 100 ms."""
        await self.send("status", status="agent_speaking", response_id=response_id)
        for start in range(0, len(pcm), frame_bytes):
            await self.socket.send_bytes(pcm[start : start + frame_bytes])
        if end:
            await self.send("agent_audio_end", response_id=response_id, total_ms=len(pcm) // 48)

    async def close(self, code: int) -> None:
        """A close frame with this code."""
        self._close_with = code
        await self.socket.ping()  # the page's answer wakes the reader

    def vanish(self) -> None:
        """The connection breaks without a word."""
        transport = self._request.transport
        assert transport is not None
        transport.abort()


class ScriptedGateway:
    """The server. `refuse_calls` is the status that an upgrade gets, `ready` the answer of `/ready`.

    With `knows_no_token`, a call that was lost cannot be taken up again.
    """

    def __init__(self) -> None:
        self.url = ""
        self.refuse_calls: int | None = None
        self.knows_no_token = False
        self.answers_pings = True
        self.ready: tuple[int, dict[str, object]] = (200, {"status": "ready"})
        self._calls: asyncio.Queue[ScriptedCall] = asyncio.Queue()
        self._runner = self._new_runner()

    def _new_runner(self) -> web.AppRunner:
        return web.AppRunner(self._application(), shutdown_timeout=0.1)

    async def start(self, port: int = 0) -> None:
        """Serves on a port of its own."""
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port, reuse_address=True).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def stop(self) -> None:
        """Serves no more; every connection is closed."""
        await self._runner.cleanup()

    async def come_back(self) -> None:
        """Serves again after `stop`, where it was. Nobody remembers a call."""
        self.knows_no_token = True
        self._runner = self._new_runner()
        await self.start(int(self.url.rpartition(":")[2]))

    async def next_call(self) -> ScriptedCall:
        """The next connection of a page."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._calls.get()

    def _application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/", self._page)
        app.router.add_get("/ready", self._ready)
        app.router.add_get("/ws/voice", self._voice)
        app.router.add_get("/static/{path:.+}", self._file)
        return app

    async def _page(self, _request: web.Request) -> web.FileResponse:
        return web.FileResponse(WEB / "index.html", headers=HEADERS)

    async def _file(self, request: web.Request) -> web.FileResponse:
        path = request.match_info["path"]
        # What records the page comes from its own origin too: its policy allows no other.
        root = BROWSER if path == "test-recorder-worklet.js" else WEB
        return web.FileResponse(root / path, headers=HEADERS)

    async def _ready(self, _request: web.Request) -> web.Response:
        status, body = self.ready
        return web.json_response(body, status=status)

    async def _voice(self, request: web.Request) -> web.StreamResponse:
        if self.refuse_calls:
            return web.json_response({"error": {"code": "capacity", "message": ""}}, status=self.refuse_calls)
        if self.knows_no_token and "resume." in request.headers.get("Sec-WebSocket-Protocol", ""):
            return web.json_response({"error": {"code": "unauthorized", "message": ""}}, status=401)
        socket = web.WebSocketResponse(protocols=["voice-live.v1"], autoping=False)
        await socket.prepare(request)
        call = ScriptedCall(socket, request, answers_pings=self.answers_pings)
        self._calls.put_nowait(call)
        await call.run()
        return socket


@asynccontextmanager
async def scripted_gateway() -> AsyncIterator[ScriptedGateway]:
    """A running gateway on a port of its own."""
    gateway = ScriptedGateway()
    await gateway.start()
    try:
        yield gateway
    finally:
        await gateway.stop()
