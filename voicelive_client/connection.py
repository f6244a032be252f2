"""One WebSocket to `/ws/voice`: open, receive, send, close. What a call is, and its return, is in `call`."""

import asyncio
import json
from typing import Final, Self

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websocket_connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI, SecurityError
from websockets.http11 import Response
from websockets.typing import Subprotocol

from voicelive_client.events import AgentAudio, AgentAudioEnd, Closed, Message, Status, parse_message

SUBPROTOCOL: Final = "voice-live.v1"
MAX_MESSAGE_BYTES: Final = 1024 * 1024
MAX_WAITING_MESSAGES: Final = 256
"""What nobody has received yet; past this the gateway is made to wait."""

WRITE_BUFFER_BYTES: Final = 64 * 1024
"""Past this (1.3 s of speech) sending waits for the network."""

PING_S: Final = 5.0
PONG_S: Final = 10.0
"""A gateway that answers no WebSocket ping for this long is gone; this bounds every send and receive."""

CLOSE_TIMEOUT_S: Final = 5.0

LOST: Final = 1006
"""The code of a connection that broke without a close frame (RFC 6455, 7.1.5)."""


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


class Connection:
    """An open socket, and which response the agent's audio on it belongs to."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._speaking_response = ""

    @classmethod
    async def open(cls, url: str, *subprotocols: str, ticket: str | None = None, timeout_s: float) -> Self:
        """Connects, offering `subprotocols` besides the protocol's own, with `ticket` in a header.

        Raises CallRefusedError when the gateway says no, CallUnreachableError when there is none.
        """
        try:
            socket = await websocket_connect(
                url,
                subprotocols=[Subprotocol(name) for name in (SUBPROTOCOL, *subprotocols)],
                additional_headers={"Authorization": f"Bearer {ticket}"} if ticket else None,
                compression=None,
                proxy=None,
                open_timeout=timeout_s,
                close_timeout=CLOSE_TIMEOUT_S,
                ping_interval=None,
                max_size=MAX_MESSAGE_BYTES,
                max_queue=MAX_WAITING_MESSAGES,
                write_limit=WRITE_BUFFER_BYTES,
            )
        except InvalidStatus as error:
            raise _refusal(error.response) from None
        except InvalidURI as error:
            raise CallUnreachableError(f"{error}") from None
        except TimeoutError:
            raise CallUnreachableError(f"no answer within {timeout_s:g} s") from None
        except (OSError, InvalidHandshake, SecurityError) as error:
            raise CallUnreachableError(str(error) or type(error).__name__) from None
        return cls(socket)

    async def receive(self) -> Message | AgentAudio | Closed:
        """Waits for the next message. Safe to cancel."""
        try:
            message = await self._socket.recv()
        except ConnectionClosed:
            return self.how_it_closed()
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

    async def send(self, frame: str | bytes) -> None:
        """Sends a frame. Raises CallClosedError."""
        try:
            await self._socket.send(frame)
        except ConnectionClosed:
            raise CallClosedError(self.how_it_closed()) from None

    async def keep_alive(self) -> None:
        """Watches the connection until it is closed, and drops it when it is dead.

        Without a close frame, unlike the library's own watch: to the gateway that would be a hang-up.
        """
        try:
            while True:
                await asyncio.sleep(PING_S)
                pong = await self._socket.ping()
                async with asyncio.timeout(PONG_S):
                    await pong
        except TimeoutError:
            self._socket.transport.abort()
        except ConnectionClosed:
            pass

    async def close(self) -> None:
        """Closes with 1000, or leaves it at how it closed before."""
        await self._socket.close()

    def how_it_closed(self) -> Closed:
        """The close frame of the gateway, or that there was none."""
        code = self._socket.close_code
        return Closed(LOST if code is None else code, self._socket.close_reason or "")


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
