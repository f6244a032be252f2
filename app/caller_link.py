"""One socket of a caller, attached to a call: it carries frames both ways and knows no rule of the call."""

import asyncio
from collections.abc import Iterable
from typing import Final, Protocol

from app.call_end import CallOverError
from app.messages import (
    BadMessageError,
    CallerAudio,
    ClientMessage,
    ServerMessage,
    encode_server_message,
    parse_client_message,
)
from app.pacer import STEP_S, Alarm, Pacer
from app.playout import NEVER
from app.websocket.frame_link import LOST, FrameLink, LinkLostError, Payload

__all__ = ["LOST", "CallSide", "CallerLink"]

CLOSE_TIMEOUT_S: Final = 15.0
"""A client on a slow link needs this long to read what is on its way before the terminal message."""


class CallSide(Protocol):
    """What a link needs of its call. None of these waits."""

    def hear(self, pcm: Payload, last_in_read: bool, /) -> None:
        """Caller speech, any length; a memoryview is valid during this call only.

        `last_in_read` is false while more that came with it follows at once; with empty `pcm` there is
        nothing to hear, only nothing more that follows.
        """

    def receive(self, message: ClientMessage) -> None:
        """A message of the client."""

    def complain(self, bad: BadMessageError) -> None:
        """A message that could not be understood."""

    def flooded(self) -> None:
        """The client sends more messages than any client needs; the rest is not read."""

    def silent(self) -> bool:
        """The client does not answer pings. False: its connection is lost."""

    def tick(self, now: float, /) -> None:
        """Time has passed. Like all times here, `now` is the event loop's clock."""

    def next_outgoing(self, now: float, /) -> bytes | ServerMessage | None:
        """The next thing to send now."""

    def next_wake_at(self) -> float:
        """When to ask again at the latest; NEVER if nothing happens before."""


class CallerLink:
    """Carries frames between one socket and its call; the call says so when it has something to send."""

    def __init__(self, frames: FrameLink, call: CallSide, pacer: Pacer) -> None:
        self.busy_since: float | None = None
        """Since when there is more to send than the client takes: how far it is behind."""

        self.on_binary = call.hear
        """A binary message of the client: speech, without a stop in between."""

        self._frames = frames
        self._call = call
        self._loop = asyncio.get_running_loop()
        self._running = False
        self._flush_is_due = False
        self._pacer = pacer
        self._alarm: Alarm | None = None
        self._due_at = 0.0

    async def run(self) -> int:
        """Serve the socket until it is closed; the caller's close code, LOST without a close frame.

        Raises CallOverError after `stop`.
        """
        self._running = True
        try:
            self._flush()
            return await self._frames.serve(self)
        finally:
            self._running = False
            self._wake_at(NEVER)

    def flush_soon(self) -> None:
        """Send what is due, as far as the client keeps up, when all that came together has been looked at."""
        if not self._flush_is_due and self._running:
            self._flush_is_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_is_due = True  # what is added meanwhile needs no further turn
        try:
            if self._running:
                self._send_what_is_due()
        except Exception as error:  # noqa: BLE001 - it is raised by `run`
            self._frames.abandon(error)
        finally:
            self._flush_is_due = False

    def _send_what_is_due(self) -> None:
        now = self._loop.time()
        if now >= self._due_at:
            self._call.tick(now)
        while self._frames.writable:
            outgoing = self._call.next_outgoing(now)
            if outgoing is None:
                self.busy_since = None
                self._wake_at(self._call.next_wake_at())
                return
            if isinstance(outgoing, bytes):
                self._frames.send_bytes(outgoing)
            else:
                self._frames.send_text(encode_server_message(outgoing))
        self.busy_since = self.busy_since or now

    def stop(self) -> None:
        """The call is over: the socket is served no more, only finished."""
        if self._running:
            self._frames.abandon(CallOverError())

    def replace(self) -> None:
        """The caller is back on another socket: this one is done with, and sends nothing more."""
        self._running = False
        self._frames.abandon()

    def drop(self) -> None:
        """The client is gone, although its connection is not: `run` returns LOST."""
        self._frames.abandon()

    def pause_reading(self) -> None:
        """Let the client wait: nothing more is heard or received."""
        self._frames.pause_reading()

    def resume_reading(self) -> None:
        """Listen to the client again."""
        self._frames.resume_reading()

    async def finish(self, messages: Iterable[ServerMessage], close_code: int) -> bool:
        """Send these, then the close frame. False when the client is gone or does not read."""
        texts = [encode_server_message(message) for message in messages]
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._frames.finish(texts, close_code)
        except (TimeoutError, LinkLostError):
            return False
        return True

    # ------------------------------------------------------------------------------- called by the socket

    def on_text(self, payload: Payload) -> None:
        """A text message of the client."""
        try:
            message = parse_client_message(payload)
        except BadMessageError as bad:
            self._call.complain(bad)
            return
        if isinstance(message, CallerAudio):
            self._call.hear(message.pcm, False)
        else:
            self._call.receive(message)

    def on_writable(self) -> None:
        """The client has caught up."""
        self._flush()

    def on_flood(self) -> None:
        """The client sends too much."""
        self._call.flooded()

    def on_silent(self) -> bool:
        """The client does not answer."""
        return self._call.silent()

    # ------------------------------------------------------------------------------------------- the alarm

    def _wake_at(self, at: float) -> None:
        """See to it that what is due then is sent then; an alarm that rings too early is set again."""
        self._due_at = at
        alarm = self._alarm
        if alarm is not None:
            if alarm.at <= at < NEVER:
                return
            alarm.cancel()
            self._alarm = None
        if at < NEVER:
            self._alarm = self._pacer.call_at(max(at, self._loop.time() + STEP_S), self._on_alarm)

    def _on_alarm(self) -> None:
        self._alarm = None
        self._flush()
