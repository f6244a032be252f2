"""One call on `/ws/voice`, from the first word to the last, over as many connections as it takes.

While the call is open, a task of its own follows it: reads events, plays them by the clock and reports what
was heard, and takes the call up again when its connection breaks.
"""

import asyncio
import json
import random
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from voicelive_client.connection import (
    LOST,
    CallClosedError,
    CallRefusedError,
    CallUnreachableError,
    Connection,
)
from voicelive_client.events import (
    AgentText,
    AgentTranscript,
    AgentTranscriptDelta,
    Closed,
    Event,
    Played,
    Reconnecting,
    Resumed,
    SessionStarted,
    UserTranscript,
)
from voicelive_client.playout import PlayoutClock

MAX_WAITING_EVENTS: Final = 256
"""What the application has not received yet; past this the gateway is made to wait."""

MAX_WAITING_TEXTS: Final = 10
"""Typed while the connection is lost; past this the oldest are dropped."""

MAX_KNOWN_TEXTS: Final = 1024

FIRST_WAIT_S: Final = 0.25
LONGEST_WAIT_S: Final = 4.0
"""Between two tries to come back. Each wait is twice the one before, less up to half of it by chance."""

FIRST_SERVER_FAULT: Final = 500


class VoiceLiveCall:
    """A call: `async with VoiceLiveCall(url) as call`, then `async for event in call`. Single use.

    Speech both ways is PCM16 little-endian, 24 kHz, mono. The last event is always `Closed`, and every send
    raises CallClosedError once the call is over. Receiving is safe to cancel.

    The agent is taken to be played as it arrives, by a clock that holds and clears when the gateway says so:
    `playout` knows what was heard, which is reported to the gateway and told as `Played`.

    A connection that breaks without a close frame is replaced where the gateway gave a token for it: told as
    `Reconnecting`, then `Resumed`, or `Closed` when nothing helps.
    """

    def __init__(
        self,
        url: str,
        *,
        ticket: str | None = None,
        open_timeout_s: float = 10.0,
        resume_within_s: float = 20.0,
    ) -> None:
        """`url`: `ws://…/ws/voice` or `wss://…`. `resume_within_s`: how long to try to come back (0: not).

        `ticket`: for a gateway that requires one; good for one call, and for some seconds only.
        """
        self.playout: Final = PlayoutClock()
        self._url = url
        self._ticket = ticket
        self._open_timeout_s = open_timeout_s
        self._resume_within_s = resume_within_s
        self._events: asyncio.Queue[Event] = asyncio.Queue(MAX_WAITING_EVENTS)
        self._follower: asyncio.Task[None] | None = None
        self._connection: Connection | None = None
        self._closed: Closed | None = None
        self._resume_token: str | None = None
        self._lost_at: float | None = None
        self._hung_up = asyncio.Event()
        self._texts: deque[str] = deque(maxlen=MAX_WAITING_TEXTS)
        self._known_texts: deque[tuple[type[Event], str, int]] = deque(maxlen=MAX_KNOWN_TEXTS)

    async def __aenter__(self) -> Self:
        """Calls. Raises CallRefusedError when the gateway says no, CallUnreachableError otherwise."""
        if self._follower is not None:
            raise RuntimeError("a VoiceLiveCall is one call: make another one")
        self._connection = await Connection.open(
            self._url, ticket=self._ticket, timeout_s=self._open_timeout_s
        )
        # Not in a task group: that would wrap whatever the caller's block raises.
        self._follower = asyncio.create_task(self._follow(self._connection))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the call, if it is not over."""
        if self._follower is None:
            return
        self._follower.cancel()
        await asyncio.wait([self._follower])
        if self._connection is not None:
            await self._connection.close()
        if not self._follower.cancelled():
            self._follower.result()

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
        event = await self._events.get()
        if isinstance(event, Closed):
            self._closed = event
        return event

    async def send_audio(self, pcm: bytes) -> None:
        """Sends caller speech as one binary frame; 20 ms (960 bytes) is best, 64 KiB the most.

        While the connection is lost it is dropped: late, it would only push the conversation back.
        """
        await self._send(pcm)

    async def send_text(self, text: str) -> None:
        """Types instead of speaking. While the connection is lost, the last ten texts wait for its return."""
        if not await self._send_message(type="text", text=text):
            self._texts.append(text)

    async def barge_in(self) -> None:
        """Interrupts the agent by hand."""
        await self._send_message(type="barge_in")

    async def ping(self) -> None:
        """Asks for a `Pong`."""
        await self._send_message(type="ping")

    async def end(self) -> None:
        """Hangs up: the gateway answers `SessionEnded` and closes; go on receiving until `Closed`.

        While the connection is lost this ends the tries to come back.
        """
        self._hung_up.set()
        await self._send_message(type="end")

    # --------------------------------------------------------------------------------------------- sending

    async def _send_message(self, **message: object) -> bool:
        return await self._send(json.dumps(message))

    async def _send(self, frame: str | bytes) -> bool:
        """False while the connection is lost. Raises CallClosedError when the call is over."""
        connection = self._connection
        if connection is None:
            if self._follower is not None and not self._follower.done():
                return False
            raise CallClosedError(self._closed or Closed(LOST, ""))
        try:
            await connection.send(frame)
        except CallClosedError as error:
            if not self._may_resume(error.closed):
                raise
            return False
        return True

    # ----------------------------------------------------------------------------------- following the call

    async def _follow(self, connection: Connection) -> None:
        try:
            closed = await self._follow_connection(connection)
            while self._may_resume(closed):
                self._connection = None
                await self._lose()
                self._connection = await self._come_back()
                if self._connection is None:
                    break
                closed = await self._follow_connection(self._connection)
        except Exception:
            await self._events.put(Closed(LOST, ""))
            raise
        await self._events.put(closed)

    async def _follow_connection(self, connection: Connection) -> Closed:
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(connection.keep_alive())
            try:
                return await self._read(connection)
            finally:
                watch.cancel()

    async def _read(self, connection: Connection) -> Closed:
        """Tells what happens on this connection until it is closed."""
        while True:
            event: Event | None = None
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self.playout.next_due()):
                    event = await connection.receive()
            match event:
                case None:
                    await self._report(connection, self.playout.tick(_clock()))
                case Closed():
                    return event
                case SessionStarted(resume_token=token):
                    self._resume_token = token
                    await self._events.put(self._started(event))
                    await self._send_waiting(connection)
                case _ if not self._is_known(event):
                    await self._report(connection, self.playout.receive(event, _clock()))
                    await self._events.put(event)

    async def _report(self, connection: Connection, over: list[Played]) -> None:
        for played in over:
            if played.response_id:
                report = {
                    "type": "playback",
                    "response_id": played.response_id,
                    "played_ms": played.played_ms,
                }
                with suppress(CallClosedError):  # the event that follows says so
                    await connection.send(json.dumps(report))
            await self._events.put(played)

    async def _lose(self) -> None:
        self._lost_at = _clock()
        for played in self.playout.receive(Reconnecting(), self._lost_at):
            await self._events.put(played)
        await self._events.put(Reconnecting())

    def _started(self, event: SessionStarted) -> SessionStarted | Resumed:
        if self._lost_at is None:
            return event
        return Resumed(event.session_id, round(_clock() - self._lost_at, 3))

    def _is_known(self, event: Event) -> bool:
        """Whether this is a text that was told before: after a return, some come twice."""
        index = 0
        match event:
            case UserTranscript(item_id=str(name)):
                pass
            case AgentTranscript(response_id=str(name)) | AgentText(response_id=str(name)):
                pass
            case AgentTranscriptDelta(response_id=str(name), index=int(index)):
                pass
            case _:
                return False
        text = (type(event), name, index)
        if text in self._known_texts:
            return True
        self._known_texts.append(text)
        return False

    async def _send_waiting(self, connection: Connection) -> None:
        with suppress(CallClosedError):
            while self._texts:
                await connection.send(json.dumps({"type": "text", "text": self._texts[0]}))
                self._texts.popleft()

    # ---------------------------------------------------------------------------------------- coming back

    def _may_resume(self, closed: Closed) -> bool:
        may = closed.code == LOST and self._resume_token is not None
        return may and not self._hung_up.is_set() and self._resume_within_s > 0

    async def _come_back(self) -> Connection | None:
        """Tries again and again; None when the gateway does not know the call any more, or time is up."""
        deadline = _clock() + self._resume_within_s
        wait_s = FIRST_WAIT_S
        while not self._hung_up.is_set() and (left_s := deadline - _clock()) > 0:
            try:
                timeout_s = min(self._open_timeout_s, left_s)
                return await Connection.open(self._url, f"resume.{self._resume_token}", timeout_s=timeout_s)
            except CallRefusedError as refusal:
                if refusal.status < FIRST_SERVER_FAULT:
                    return None
            except CallUnreachableError:
                pass
            pause_s = min(wait_s * random.uniform(0.5, 1), left_s)  # noqa: S311 - spreads callers
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._hung_up.wait()
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
        return None


def _clock() -> float:
    return asyncio.get_running_loop().time()
