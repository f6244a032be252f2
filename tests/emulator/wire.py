"""A client that speaks Voice Live by hand: what the tests send is what is on the wire."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson

TIMEOUT_S = 20.0
Event = dict[str, Any]


class Closed(Exception):  # noqa: N818 (says what is the case)
    """The server closed the socket."""

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class WireClient:
    """One session. Every wait is bounded."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws

    async def send(self, event_type: str, **fields: Any) -> None:
        await self.ws.send_str(orjson.dumps({"type": event_type, **fields}).decode())

    async def say(self, text: str) -> None:
        """Type a message of the user."""
        part = {"type": "input_text", "text": text}
        item = {"type": "message", "role": "user", "content": [part]}
        await self.send("conversation.item.create", item=item)

    async def append(self, pcm: bytes) -> None:
        await self.send("input_audio_buffer.append", audio=base64.b64encode(pcm).decode())

    async def receive_raw(self) -> aiohttp.WSMessage:
        return await asyncio.wait_for(self.ws.receive(), TIMEOUT_S)

    async def receive(self) -> Event:
        """Return the next event; raises Closed when there is none."""
        message = await self.receive_raw()
        if message.type is aiohttp.WSMsgType.CLOSE:
            raise Closed(message.data, message.extra or "")
        if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            raise Closed(self.ws.close_code, "")
        event = orjson.loads(message.data)
        assert isinstance(event, dict)
        return event

    async def expect(self, event_type: str) -> Event:
        """Return the next event, which must be of this type."""
        event = await self.receive()
        assert event["type"] == event_type, event
        return event

    async def until(self, event_type: str) -> list[Event]:
        """Return all events up to and with the first of a type."""
        events = [await self.receive()]
        while events[-1]["type"] != event_type:
            events.append(await self.receive())
        return events

    async def settle(self) -> list[Event]:
        """Return what came until the server answered a question asked now."""
        await self.send("conversation.item.retrieve", event_id="settled", item_id="nothing")
        events = [await self.receive()]
        while events[-1].get("error", {}).get("event_id") != "settled":
            events.append(await self.receive())
        return events[:-1]


@asynccontextmanager
async def connected(
    port: int, path: str = "/voice-live/realtime?model=gpt-4.1", headers: dict[str, str] | None = None
) -> AsyncIterator[WireClient]:
    """Open a session with an API key, unless `headers` say otherwise."""
    async with (
        aiohttp.ClientSession(headers={"api-key": "key"} if headers is None else headers) as http,
        http.ws_connect(f"http://127.0.0.1:{port}{path}", max_msg_size=0, autoclose=False) as ws,
    ):
        yield WireClient(ws)


def types(events: list[Event]) -> list[str]:
    """Return the types in order, runs of the same type as one."""
    found: list[str] = []
    for event in events:
        if not found or found[-1] != event["type"]:
            found.append(event["type"])
    return found


def only(events: list[Event], event_type: str) -> list[Event]:
    """Return the events of one type."""
    return [event for event in events if event["type"] == event_type]


def audio_of(events: list[Event]) -> bytes:
    """Return the audio of all deltas."""
    return b"".join(base64.b64decode(event["delta"]) for event in only(events, "response.audio.delta"))
