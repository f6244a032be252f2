"""A Voice Live that does exactly what a test says, on a real socket."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from app.config import Settings, settings_from

Script = Callable[["ScriptedSession"], Awaitable[None]]
Refuse = Callable[[web.Request], web.StreamResponse | None]


@dataclass
class ScriptedSession:
    """One accepted socket, from the service's side."""

    socket: web.WebSocketResponse
    request: web.Request

    async def receive(self) -> dict[str, Any]:
        """The next client event that is not audio."""
        while True:
            message = await self.socket.receive(timeout=20)
            if message.type is not WSMsgType.TEXT:
                raise ConnectionError(message.type)
            event: dict[str, Any] = message.json()
            if event["type"] != "input_audio_buffer.append":
                return event

    async def receive_audio(self) -> str:
        """The base64 of the next append."""
        while True:
            event = await self.socket.receive_json(timeout=20)
            if event["type"] == "input_audio_buffer.append":
                audio: str = event["audio"]
                return audio

    async def send(self, *events: dict[str, Any]) -> None:
        for event in events:
            await self.socket.send_json(event)

    async def configure(self, **session: object) -> None:
        """Play the opening of a session; `session` adds to what is echoed."""
        await self.send({"type": "session.created", "session": {"id": "sess_1"}})
        asked = await self.receive()
        assert asked["type"] == "session.update"
        await self.send({"type": "session.updated", "session": asked["session"] | {"id": "sess_1"} | session})

    async def abort(self) -> None:
        """Drop the connection without a close frame."""
        transport = self.request.transport
        assert transport is not None
        transport.abort()

    async def until_closed(self) -> int | None:
        """Wait for the client's close; its code."""
        async for _ in self.socket:
            pass
        return self.socket.close_code


@dataclass
class ScriptedVoiceLive:
    """The server: `script` plays each session; `refuse_with` may answer a handshake instead."""

    script: Script | None = None
    refuse_with: Refuse | None = None
    port: int = 1
    handshakes: list[web.Request] = field(default_factory=list)
    called: asyncio.Event = field(default_factory=asyncio.Event)
    hang: asyncio.Event | None = None
    requests: "set[asyncio.Task[Any]]" = field(default_factory=set)
    sessions: int = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def settings(self, **values: object) -> Settings:
        """Settings of a model-mode gateway that calls this server."""
        return settings_from(
            {
                "azure_voicelive_endpoint": self.address,
                "azure_voicelive_model": "gpt-4.1",
                "azure_voicelive_api_key": "key-canary",
                "azure_voicelive_voice_type": "azure-standard",
                "azure_voicelive_voice_name": "en-US-AvaNeural",
                "app_host": "127.0.0.1",
                "app_port": 0,
            }
            | values
        )

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.handshakes.append(request)
        self.requests.add(request.task)
        request.task.add_done_callback(self.requests.discard)
        self.called.set()
        if self.hang is not None:
            await self.hang.wait()
        if self.refuse_with is not None and (refusal := self.refuse_with(request)) is not None:
            return refusal
        socket = web.WebSocketResponse(max_msg_size=16 * 1024 * 1024)
        with contextlib.suppress(ConnectionError):
            await socket.prepare(request)
            self.sessions += 1
            try:
                if self.script is not None:
                    await self.script(ScriptedSession(socket, request))
            finally:
                self.sessions -= 1
        return socket


@asynccontextmanager
async def scripted_voice_live(
    script: Script | None = None,
    refuse_with: Refuse | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[ScriptedVoiceLive]:
    """Run one on a free port."""
    service = ScriptedVoiceLive(script, refuse_with)
    application = web.Application()
    application.router.add_get("/{path:.*}", service.handle)
    runner = web.AppRunner(application, shutdown_timeout=1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    service.port = runner.addresses[0][1]
    try:
        yield service
    finally:
        await runner.cleanup()
