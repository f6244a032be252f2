"""A gateway that plays a script, on a real socket."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from websockets.asyncio.server import ServerConnection, serve

Script = Callable[["Gateway"], Awaitable[None]]
StartGateway = Callable[[Script], AbstractAsyncContextManager[str]]

MAX_FRAME_BYTES = 64 * 1024


class Gateway:
    """The gateway's end of one call, for a test to play."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket

    async def tells(self, **message: object) -> None:
        await self.socket.send(json.dumps(message))

    async def speaks(self, response_id: str, pcm: bytes) -> None:
        await self.tells(type="status", status="agent_speaking", response_id=response_id)
        for start in range(0, len(pcm), MAX_FRAME_BYTES):
            await self.socket.send(pcm[start : start + MAX_FRAME_BYTES])
        await self.tells(type="agent_audio_end", response_id=response_id, total_ms=len(pcm) // 48)

    async def receives(self) -> dict[str, object]:
        """The next text message of the client; its audio is passed over."""
        while True:
            frame = await self.socket.recv()
            if isinstance(frame, str):
                message: dict[str, object] = json.loads(frame)
                return message

    async def receives_audio(self) -> bytes:
        frame = await self.socket.recv()
        assert isinstance(frame, bytes)
        return frame


@asynccontextmanager
async def _start_gateway(script: Script) -> AsyncIterator[str]:
    async def play(socket: ServerConnection) -> None:
        await script(Gateway(socket))

    async with serve(play, "127.0.0.1", 0, compression=None, close_timeout=1) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"ws://127.0.0.1:{port}/ws/voice"


@pytest.fixture
def start_gateway() -> StartGateway:
    """Starts a gateway whose every call follows a script; gives the URL to call."""
    return _start_gateway
