"""The Voice Live side of one call: its session, what goes there and what comes back.

A session that is lost, or that is about to expire, is replaced by another one where the conversation can go
on there. What the events mean is the conversation's matter.
"""

import asyncio
import time
from typing import Final, Protocol

import structlog

from app.call_end import CallEnd
from app.caller_audio import CallerAudioBuffer
from app.caller_pace import BURST_BYTES, CallerAudioPace
from app.config import ClassicAgent, FoundryAgent, Model, Settings
from app.conversation import Conversation
from app.errors import ErrorCode
from app.messages import SessionEnding, error_message
from app.turns import Effect, Send
from app.voicelive.connection import PROTOCOL_CLOSE_CODES, VoiceLiveConnection
from app.voicelive.endpoint import OpenSession, VoiceLiveEndpoint, loggable
from app.voicelive.events import MalformedEventError, ServerEvent, ServiceError
from app.voicelive.opening import OpeningFailedError
from app.voicelive.session import ClientEvent
from app.websocket.frame_link import Payload

WRITE_TIMEOUT_S: Final = 5.0
MAX_QUEUED_EVENTS: Final = 1_000
MAX_MALFORMED_EVENTS: Final = 10
EXPIRY_NOTICE_S: Final = 60
TIMER_STEP_S: Final = 0.001
"""Event loops keep time in milliseconds."""


class AgentSide(Protocol):
    """What the upstream needs of its call. None of these waits."""

    def begin(self, session_id: str) -> None:
        """The first session is configured."""

    def perform(self, effects: list[Effect]) -> None:
        """Carry out what the conversation wants; it may have audio for the caller besides."""

    def listen(self, reading: bool, /) -> None:
        """Whether the caller's socket is to be read."""

    def end(self, end: CallEnd) -> None:
        """The call cannot go on."""


class Upstream:
    """The session of one call, and its successors."""

    def __init__(
        self,
        settings: Settings,
        endpoint: VoiceLiveEndpoint,
        conversation: Conversation,
        call: AgentSide,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        self.session: OpenSession | None = None
        """The configured session; None while there is none."""

        self._settings = settings
        self._endpoint = endpoint
        self._conversation = conversation
        self._call = call
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._clock = self._loop.time
        self._caller_audio = CallerAudioBuffer()
        self._unobstructed: VoiceLiveConnection | None = None
        """Where caller speech may go without a look at what waits, since nothing does."""

        self._pace = CallerAudioPace(settings.caller_audio_max_rate, self._clock())
        self._pacing: asyncio.TimerHandle | None = None
        self._stopped = False
        self._told_too_fast = False
        self._events: list[ClientEvent] = []
        self._malformed = 0
        self._busy_since: float | None = None
        self._conversation_id: str | None = None
        self._retried = False
        self._handing_over = False
        self._expiry_told = False

    @property
    def refused_bytes(self) -> int:
        """How much caller audio could not be kept."""
        return self._caller_audio.refused_bytes

    def hear(self, pcm: Payload, last_in_read: bool) -> None:
        """Caller speech: PCM16 LE, 24 kHz, mono, any length. It goes on at once where it can.

        What came together goes on together: `last_in_read` is false while more follows at once.
        """
        connection = self._unobstructed
        if connection is not None and last_in_read and connection.writable:
            size = len(pcm)
            pace = self._pace
            if size > pace.allowance:
                pace.refill(self._clock())
            if size <= pace.allowance and not size & 1:
                if size:
                    connection.send_audio(pcm)
                    pace.allowance -= size
                    self._conversation.caller_audio_bytes += size
                return
        self._unobstructed = None
        self._caller_audio.add(pcm)
        if last_in_read:
            self._flush()
            self._stop_who_is_too_fast()

    def caller_lost(self) -> None:
        """The caller's connection is lost, perhaps in the middle of a sample."""
        self._caller_audio.break_off()

    def let_go(self) -> None:
        """The call is over, and told nothing more. It holds this: held by it, both would wait for the garbage
        collector.
        """
        del self._call

    def send(self, event: ClientEvent) -> bool:
        """Send an event, or queue it until it can be sent. False when too many wait already."""
        if len(self._events) >= MAX_QUEUED_EVENTS:
            return False
        self._events.append(event)
        self._flush()
        return True

    def watch(self, now: float) -> None:
        """Notice what has taken too long, and what is about to expire."""
        if self.session is None:
            return
        if self.session.connection.writable:
            self._busy_since = None
        elif self._busy_since is None:
            self._busy_since = now
        elif now - self._busy_since > WRITE_TIMEOUT_S:
            self._call.end(CallEnd(ErrorCode.UPSTREAM_LOST))
        self._foresee_expiry(self.session)

    async def run(self) -> None:
        """Open a session and relay its events; when it is lost, take it up again once.

        Ends the call when no session can be had any more.
        """
        session = await self._open(None)
        if session is None:
            return
        self._call.begin(session.session_id)
        while session is not None:
            code = await self._relay(session)
            if not self._may_continue(code):
                strange = code in PROTOCOL_CLOSE_CODES
                self._call.end(CallEnd(ErrorCode.UPSTREAM_PROTOCOL if strange else ErrorCode.UPSTREAM_LOST))
                return
            self._retried = self._retried or not self._handing_over
            self._handing_over = False
            self._events.clear()
            self._call.perform(self._conversation.upstream_lost(self._clock()))
            session = await self._open(session.conversation_id)
            if session is not None:
                replays = isinstance(self._settings.agent_mode, Model)
                self._call.perform(self._conversation.upstream_restored(self._clock(), replays=replays))

    async def _open(self, conversation_id: str | None) -> OpenSession | None:
        try:
            session = await self._endpoint.open_session(conversation_id)
        except OpeningFailedError as failed:
            self._log.error("upstream.not_opened", reason=failed.reason)
            retry_after_ms = int(failed.retry_after_s * 1000) if failed.retry_after_s else None
            self._call.end(CallEnd(failed.code, retry_after_ms=retry_after_ms))
            return None
        self._log.info("upstream.opened", session_id=loggable(session.session_id))
        return session

    async def _relay(self, session: OpenSession) -> int:
        """Carry events to the conversation until the session is over; its close code."""
        self._conversation_id = session.conversation_id
        self._conversation.caller_audio_bytes = 0
        self._busy_since = None
        self.session = session
        self._pace.catch_up(self._clock())
        try:
            self._flush()
            code = await session.connection.deliver(self)
        finally:
            self.session = self._unobstructed = None
            if self._pacing is not None:
                self._pacing.cancel()
                self._pacing = None
            await session.connection.close()
        self._log.warning("upstream.closed", code=code)
        return code

    def _flush(self) -> None:
        """Send what waits, as far as Voice Live keeps up; events go before audio."""
        if self.session is None:
            return
        connection = self.session.connection
        while self._events and connection.writable:
            connection.send(self._events.pop(0))
        while connection.writable and (pcm := self._caller_audio.take(self._pace.allowance)):
            connection.send_audio(pcm)
            self._pace.allowance -= len(pcm)
            self._conversation.caller_audio_bytes += len(pcm)
        self._unobstructed = None if self._events or self._caller_audio else connection
        if len(self._caller_audio) and connection.writable and self._pacing is None:
            self._pacing = self._loop.call_later(
                self._pace.wait_s(len(self._caller_audio)) + TIMER_STEP_S, self._flush_at_pace
            )
        if self._stopped and len(self._caller_audio) < BURST_BYTES / 2:
            self._stopped = False
            self._call.listen(True)

    def _flush_at_pace(self) -> None:
        self._pacing = None
        self._pace.refill(self._clock())
        self._flush()

    def _stop_who_is_too_fast(self) -> None:
        """A caller who is far ahead is not read for a while; one who goes on like this is not served."""
        if self.session is None or len(self._caller_audio) < BURST_BYTES:
            return
        self._call.listen(False)
        if self._stopped:
            return
        self._stopped = True
        if not self.session.connection.writable:
            return  # it is the service that does not keep up
        if self._pace.stopped(self._clock()):
            self._call.end(CallEnd(ErrorCode.RATE_LIMITED))
        elif not self._told_too_fast:
            self._told_too_fast = True
            self._call.perform([Send(error_message(ErrorCode.RATE_LIMITED, fatal=False))])

    # --------------------------------------------------------------------- called by the connection

    def on_event(self, event: ServerEvent) -> None:
        """The next event of Voice Live."""
        if isinstance(event, ServiceError):
            self._log.warning("upstream.error", code=loggable(event.code))
        self._call.perform(self._conversation.receive_upstream(event, self._clock()))

    def on_malformed(self, error: MalformedEventError) -> None:
        """Voice Live sent something that is no event."""
        self._malformed += 1
        self._log.warning("upstream.malformed_event", reason=str(error))
        if self._malformed > MAX_MALFORMED_EVENTS and self.session is not None:
            self.session.connection.abandon(PROTOCOL_CLOSE_CODES[0])

    def on_writable(self) -> None:
        """Voice Live has caught up."""
        self._flush()

    # ----------------------------------------------------------------------------------------- rules

    def _may_continue(self, close_code: int | None) -> bool:
        """Whether a new session can take up the conversation where the old one left it."""
        if close_code in PROTOCOL_CLOSE_CODES or (self._retried and not self._handing_over):
            return False
        match self._settings.agent_mode:
            case Model():
                return True
            case FoundryAgent() if self._conversation_id is not None:
                return True
            case FoundryAgent() | ClassicAgent():
                return not self._conversation.has_begun

    def _foresee_expiry(self, session: OpenSession) -> None:
        """Voice Live ends every session some day: move to a fresh one in a pause, or tell the caller."""
        if session.expires_at is None or (left_s := session.expires_at - time.time()) > EXPIRY_NOTICE_S:
            return
        if left_s <= 0:
            self._call.end(CallEnd(ErrorCode.SESSION_EXPIRED))
        elif self._may_continue(None):
            if self._conversation.is_in_pause and not self._handing_over:
                self._handing_over = True
                session.connection.abandon()
        elif not self._expiry_told:
            self._expiry_told = True
            self._call.perform([Send(SessionEnding("session_expired", round(left_s)))])
