"""A Voice Live endpoint to be judged: the emulator, or Azure."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import aiohttp

from tests.emulator.wire import TIMEOUT_S, Event, WireClient

PATH = "/voice-live/realtime"
API_VERSION = "2026-07-15"


@dataclass(frozen=True, slots=True)
class Target:
    """Where it is and how to get in; `speech` is a question as PCM16 at 24 kHz."""

    name: str
    endpoint: str
    api_key: str
    model: str
    native_model: str
    speech: bytes

    @property
    def is_emulator(self) -> bool:
        return self.name == "emulator"

    def url(self, query: Mapping[str, str], path: str = PATH) -> str:
        return f"{self.endpoint}{path}?{urlencode(query)}"

    @property
    def query(self) -> dict[str, str]:
        return {"api-version": API_VERSION, "model": self.model}

    @asynccontextmanager
    async def open(
        self,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        path: str = PATH,
        **options: Any,
    ) -> AsyncIterator[WireClient]:
        """Open a session; without `query` and `headers` with the model and the key."""
        headers = {"api-key": self.api_key} if headers is None else headers
        url = self.url(self.query if query is None else query, path)
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.ws_connect(url, max_msg_size=0, autoclose=False, **options) as ws,
        ):
            yield WireClient(ws)

    @asynccontextmanager
    async def session(self, model: str | None = None, /, **fields: Any) -> AsyncIterator[WireClient]:
        """Open a session, take its first event, and configure it."""
        query = self.query if model is None else {**self.query, "model": model}
        if "pace" in fields:
            query["pace"] = str(fields.pop("pace"))
        async with self.open(query) as client:
            await client.expect("session.created")
            if fields:
                await client.send("session.update", session=fields)
                await client.expect("session.updated")
            yield client

    async def status(self, query: Mapping[str, str], headers: Mapping[str, str], path: str = PATH) -> int:
        """Return the HTTP status of an upgrade."""
        async with aiohttp.ClientSession(headers=headers) as http:
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    async with http.ws_connect(self.url(query, path), autoclose=False):
                        return 101
            except aiohttp.WSServerHandshakeError as error:
                return error.status


async def answered(client: WireClient, text: str = "Hello.", **response: Any) -> list[Event]:
    """Type a message and ask for an answer; return the events up to its end."""
    await client.say(text)
    await client.send("response.create", response=response)
    return await client.until("response.done")


def given(text: str) -> dict[str, Any]:
    """Return the body of `response.create` for an answer with these words."""
    message = {"type": "message", "role": "assistant", "content": [{"type": "text", "text": text}]}
    return {"pre_generated_assistant_message": message}


def long_answer() -> dict[str, Any]:
    """Return the body of `response.create` for an answer that takes long to make and to say."""
    return given(" ".join(f"This is sentence number {number} of a long story." for number in range(20)))
