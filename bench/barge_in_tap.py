"""Between the gateway and Voice Live: relays everything, and notes when the caller's audio and
`speech_started` pass. Both ends and the benchmark are on one machine, so all times are of one clock.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
import pybase64
from aiohttp import web


@dataclass(slots=True)
class Session:
    """What passed in one upstream session; times in seconds of the event loop."""

    caller_audio: list[tuple[int, float]] = field(default_factory=list)
    """How many bytes of the caller's audio had passed, and when."""
    speech_started_at: list[float] = field(default_factory=list)
    speech_duration_ms: int | None = None

    def passed_at(self, byte: int) -> float | None:
        """When this byte of the caller's audio passed."""
        return next((at for total, at in self.caller_audio if total > byte), None)


class Tap:
    """One relay; `session` is the latest, since its gateway holds one call at a time."""

    def __init__(self, upstream: str) -> None:
        self.address = ""
        self.session = Session()
        self._upstream = upstream

    async def relay(self, request: web.Request) -> web.WebSocketResponse:
        """One upgrade request of the gateway."""
        self.session = session = Session()
        gateway = web.WebSocketResponse(max_msg_size=0)
        await gateway.prepare(request)
        url = f"{self._upstream}{request.path_qs}"
        headers = {"api-key": request.headers["api-key"]}
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(url, headers=headers, max_msg_size=0) as ws,
            asyncio.TaskGroup() as ways,
        ):
            ways.create_task(_carry(gateway, ws, session, _note_caller))
            ways.create_task(_carry(ws, gateway, session, _note_service))
        return gateway


@asynccontextmanager
async def tapped(upstream: str) -> AsyncIterator[Tap]:
    """Run a relay to this Voice Live."""
    tap = Tap(upstream)
    app = web.Application()
    app.router.add_get("/{path:.*}", tap.relay)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, shutdown_timeout=1)
    await site.start()
    tap.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield tap
    finally:
        await runner.cleanup()


async def _carry(source: Any, sink: Any, session: Session, note: Any) -> None:
    clock = asyncio.get_running_loop().time
    with suppress(ConnectionError):  # the other side has left
        async for message in source:
            note(session, message.data, clock())
            await sink.send_str(message.data)
    await sink.close()


def _note_caller(session: Session, text: str, now: float) -> None:
    if text.startswith('{"type":"input_audio_buffer.append"'):
        total = session.caller_audio[-1][0] if session.caller_audio else 0
        session.caller_audio.append((total + len(pybase64.b64decode(orjson.loads(text)["audio"])), now))


def _note_service(session: Session, text: str, now: float) -> None:
    if len(text) > 20_000:
        return  # audio
    event = orjson.loads(text)
    if event["type"] == "input_audio_buffer.speech_started":
        session.speech_started_at.append(now)
    elif event["type"] == "session.updated":
        detection = event["session"].get("turn_detection") or {}
        session.speech_duration_ms = detection.get("speech_duration_ms")
