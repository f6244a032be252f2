"""One call on `/ws/voice`: open, send, receive, hang up.

Facts of the connection only; who has heard what is in `playout`, the caller's voice in `microphone`.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websocket_connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI, SecurityError
from websockets.http11 import Response
from websockets.typing import Subprotocol

from voicelive_client.events import AgentAudio, AgentAudioEnd, Closed, Event, Status, parse_message

SUBPROTOCOL: Final = Subprotocol("voice-live.v1")
MAX_MESSAGE_BYTES: Final = 1024 * 1024
MAX_WAITING_MESSAGES: Final = 256
"""What the application has not received yet; past this the gateway is made to wait."""

WRITE_BUFFER_BYTES: Final = 64 * 1024
"""Past this (1.3 s of speech) `send_audio` waits for the network."""

KEEPALIVE_S: Final = 20.0
"""A gateway that answers no WebSocket ping for as long again is gone; this bounds every send and receive."""

_ABNORMAL_CLOSURE: Final = 1006


class CallError(Exception):
    """A call that could not be made, or is over."""


class CallUnreachableError(CallError):
    """Nobody who speaks WebSocket answered at the address; `str()` says what happened."""


class CallRefusedError(CallError):
    """The gateway refused the call before it began; `code` and `message` are its own, if it gave any."""

    def __init__(self, status: int, code: str | None, message: str, retry_after_s: int | None) -> None:
        super().__init__(f"HTTP {status}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s


class CallClosedError(CallError):
    """Something was to be sent on a call that is over; `closed` says how it ended."""

    def __init__(self, closed: Closed) -> None:
        super().__init__(f"the call is closed ({closed.code})")
        self.closed = closed


@asynccontextmanager
async def connect(
    url: str, *, open_timeout_s: float = 10.0, close_timeout_s: float = 5.0
) -> AsyncIterator["VoiceCall"]:
    """Opens a call at `url` (`ws://…/ws/voice` or `wss://…`) and closes it at the end of the block.

    Raises CallRefusedError when the gateway says no, CallUnreachableError when there is none.
    """
    try:
        socket = await websocket_connect(
            url,
            subprotocols=[SUBPROTOCOL],
            compression=None,
            proxy=None,
            open_timeout=open_timeout_s,
            close_timeout=close_timeout_s,
            ping_interval=KEEPALIVE_S,
            ping_timeout=KEEPALIVE_S,
            max_size=MAX_MESSAGE_BYTES,
            max_queue=MAX_WAITING_MESSAGES,
            write_limit=WRITE_BUFFER_BYTES,
        )
    except InvalidStatus as error:
        raise _refusal(error.response) from None
    except InvalidURI as error:
        raise CallUnreachableError(f"{error}") from None
    except TimeoutError:
        raise CallUnreachableError(f"no answer within {open_timeout_s:g} s") from None
    except (OSError, InvalidHandshake, SecurityError) as error:
        raise CallUnreachableError(str(error) or type(error).__name__) from None
    try:
        yield VoiceCall(socket)
    finally:
        await socket.close()


class VoiceCall:
    """An open call. Iterate over it for its events; the last one is always `Closed`.

    Speech both ways is PCM16 little-endian, 24 kHz, mono. Every send raises CallClosedError once the
    call is over. Receiving is safe to cancel.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._speaking_response = ""
        self._closed: Closed | None = None

    @property
    def closed(self) -> Closed | None:
        """How the call ended, once that was received."""
        return self._closed

    async def __aiter__(self) -> AsyncIterator[Event]:
        while self._closed is None:
            yield await self.receive()

    async def receive(self) -> Event:
        """Waits for the next event; after the last one, gives `Closed` again."""
        if self._closed is not None:
            return self._closed
        try:
            message = await self._socket.recv()
        except ConnectionClosed:
            self._closed = self._how_it_closed()
            return self._closed
        if isinstance(message, bytes):
            return AgentAudio(message, self._speaking_response)
        event = parse_message(message)
        match event:
            case Status("agent_speaking", response_id):
                self._speaking_response = response_id or ""
            case AgentAudioEnd():
                self._speaking_response = ""
            case _:
                pass
        return event

    async def send_audio(self, pcm: bytes) -> None:
        """Sends caller speech as one binary frame; 20 ms (960 bytes) is best, 64 KiB the most."""
        await self._send(pcm)

    async def send_text(self, text: str) -> None:
        """Types instead of speaking."""
        await self._send_message(type="text", text=text)

    async def barge_in(self) -> None:
        """Interrupts the agent by hand."""
        await self._send_message(type="barge_in")

    async def report_playback(self, response_id: str, played_ms: int) -> None:
        """Tells how much of a response was truly heard: when it finished, or at once on `ClearPlayback`."""
        await self._send_message(type="playback", response_id=response_id, played_ms=played_ms)

    async def ping(self) -> None:
        """Asks for a `Pong`."""
        await self._send_message(type="ping")

    async def end(self) -> None:
        """Hangs up: the gateway answers `SessionEnded` and closes; go on receiving until `Closed`."""
        await self._send_message(type="end")

    async def _send_message(self, **message: object) -> None:
        await self._send(json.dumps(message))

    async def _send(self, frame: str | bytes) -> None:
        try:
            await self._socket.send(frame)
        except ConnectionClosed:
            raise CallClosedError(self._closed or self._how_it_closed()) from None

    def _how_it_closed(self) -> Closed:
        code = self._socket.close_code
        return Closed(_ABNORMAL_CLOSURE if code is None else code, self._socket.close_reason or "")


def _refusal(response: Response) -> CallRefusedError:
    code, message = None, response.reason_phrase
    try:
        error = json.loads(response.body)["error"]
        code, message = str(error["code"]), str(error["message"])
    except (ValueError, KeyError, TypeError):
        pass  # not a gateway's answer: a proxy, or another service
    retry_after = response.headers.get("Retry-After", "")
    return CallRefusedError(
        response.status_code, code, message, int(retry_after) if retry_after.isdecimal() else None
    )
