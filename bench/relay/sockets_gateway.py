"""The gateway's sockets and codec alone: no conversation, no playout, no limits. A row of the table.

What the gateway costs more than this is the price of everything else that a production call has.
"""

import asyncio
import gc

import orjson
import uvicorn
from fastapi import FastAPI, WebSocket

from app.config import load_settings
from app.voicelive.connection import VoiceLiveConnection
from app.voicelive.credentials import SocketCredentials
from app.voicelive.events import (
    AgentTranscriptDelta,
    AudioDelta,
    MalformedEventError,
    ServerEvent,
    SessionUpdated,
)
from app.voicelive.handshake import Connector
from app.voicelive.session import session_update
from app.websocket.call_protocol import CallProtocol
from app.websocket.frame_link import FrameLink, Payload, link_of
from app.websocket.listener import listen


class Relay:
    """Both receivers of a call: what comes from one side goes to the other at once."""

    def __init__(self, caller: FrameLink, agent: VoiceLiveConnection) -> None:
        self._caller = caller
        self._agent = agent
        self._together = bytearray()

    def on_binary(self, payload: Payload, last_in_read: bool, /) -> None:
        """Caller speech; what came in one read goes on in one event."""
        if last_in_read and payload and not self._together:
            self._agent.send_audio(payload)
            return
        self._together += payload
        if last_in_read and self._together:
            self._agent.send_audio(bytes(self._together))
            self._together.clear()

    def on_text(self, payload: Payload) -> None:
        """The load says nothing."""

    def on_event(self, event: ServerEvent) -> None:
        """Agent speech and what goes with it."""
        match event:
            case AudioDelta():
                self._caller.send_bytes(event.pcm)
            case AgentTranscriptDelta():
                self._send_message({"type": "agent_transcript_delta", "text": event.text})
            case SessionUpdated():
                self._send_message({"type": "session_started", "session_id": event.session_id})

    def on_writable(self) -> None:
        """Nobody waits here."""

    def on_flood(self) -> None:
        """The load does not flood."""

    def on_silent(self) -> bool:
        """A client that does not answer is gone."""
        return False

    def on_malformed(self, error: MalformedEventError) -> None:
        """The mock sends events."""
        raise error

    def _send_message(self, message: dict[str, str]) -> None:
        self._caller.send_text(orjson.dumps(message))


def main() -> None:
    """Serve until told to stop."""
    settings = load_settings()
    connector = Connector()
    app = FastAPI(on_startup=[gc.collect, gc.freeze])

    @app.websocket("/ws/voice")
    async def voice(websocket: WebSocket) -> None:
        await websocket.accept()
        credentials = SocketCredentials(api_key=settings.azure_voicelive_api_key)
        agent = await VoiceLiveConnection.open(connector, settings, credentials)
        agent.send(session_update(settings))
        caller = link_of(websocket)
        relay = Relay(caller, agent)
        async with asyncio.TaskGroup() as call:
            delivery = call.create_task(agent.deliver(relay))
            await caller.serve(relay)
            delivery.cancel()
        await agent.close()

    config = uvicorn.Config(app, log_level="warning", ws=CallProtocol, ws_per_message_deflate=False)
    with listen(settings.app_host, settings.app_port) as listener:
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
