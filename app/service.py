"""VoiceLiveSessionManager: runs one call, from its first byte to its one orderly end.

The shell around the pure parts: tasks, sockets, the clock and time-outs live here, the rules do not. The
call's task group belongs to the process: it reads and writes Voice Live and watches every limit. The route
only attaches a caller's socket to it and waits, so that a caller whose connection broke can come back. The
first reason that ends the call counts.
"""

import asyncio
import contextlib
import time
import uuid
from collections import deque
from dataclasses import dataclass
from typing import Final

import structlog
from starlette.websockets import WebSocket

from app.caller_audio import CallerAudioBuffer
from app.caller_link import LOST, CallerLink, LinkClosedError, close_code_of
from app.calls import Calls
from app.config import ClassicAgent, FoundryAgent, Model, Settings
from app.conversation import Conversation
from app.interruption import InterruptionPolicy
from app.lifecycle import Lifecycle
from app.limits import BadMessages, CallLimits, SilencePolicy
from app.messages import (
    BYTES_PER_MS,
    CATALOGUE,
    BadMessageError,
    ClientMessage,
    ErrorCode,
    ServerMessage,
    SessionEnded,
    SessionEnding,
    SessionStarted,
    error_message,
)
from app.playout import Playout
from app.recent import RecentTranscripts
from app.turns import Effect, End, Send, SendUpstream
from app.voicelive.connection import VoiceLiveClosedError, VoiceLiveConnection
from app.voicelive.endpoint import OpeningFailedError, OpenSession, VoiceLiveEndpoint, loggable
from app.voicelive.events import MalformedEventError, ServiceError
from app.voicelive.session import ClientEvent, greeting, say

log = structlog.get_logger(__name__)

WATCH_PERIOD_S: Final = 0.5
UPSTREAM_WRITE_TIMEOUT_S: Final = 5.0
SLOW_CONSUMER_S: Final = 10.0
MAX_QUEUED_MESSAGES: Final = 1_000
MAX_MALFORMED_EVENTS: Final = 10
EXPIRY_NOTICE_S: Final = 60
PROTOCOL_CLOSE_CODES: Final = (1002, 1003, 1007, 1009)


@dataclass(frozen=True, slots=True)
class CallEnd:
    """Why a call is over. `code` None is the normal end."""

    code: ErrorCode | None
    caller_left: bool = False
    param: str | None = None
    retry_after_ms: int | None = None

    def __str__(self) -> str:
        return "caller_left" if self.caller_left else self.code.value if self.code else "ended"


class CallOverError(Exception):
    """Ends the task groups of a call that is over."""


class VoiceLiveSessionManager:
    """Runs one call on an accepted WebSocket. Single use."""

    def __init__(self, websocket: WebSocket, settings: Settings) -> None:
        """The application's state holds what calls share: `endpoint`, `lifecycle` and `calls`."""
        loop = asyncio.get_running_loop()
        self._websocket = websocket
        self._settings = settings
        self._endpoint: VoiceLiveEndpoint = websocket.app.state.endpoint
        self._lifecycle: Lifecycle = websocket.app.state.lifecycle
        self._calls: Calls[VoiceLiveSessionManager] = websocket.app.state.calls
        self._clock = loop.time
        self._call_id = uuid.uuid4().hex
        self._log = log.bind(call_id=self._call_id)

        self._conversation = Conversation(
            Playout(settings.playout_lead_ms, takes_back=settings.resume_window_s > 0),
            greeting=greeting(settings),
            response_timeout_s=settings.response_timeout_s,
            interruption=InterruptionPolicy(
                by_gateway=settings.interruption_policy == "gateway",
                min_speech_ms=settings.interruption_min_speech_ms,
                prefix_padding_ms=settings.vad_prefix_padding_ms,
                silence_duration_ms=settings.vad_silence_duration_ms,
            ),
        )
        silence = SilencePolicy(
            settings.idle_timeout_s,
            settings.reprompt_after_s,
            reprompt=say(settings, settings.reprompt_text),
            goodbye=say(settings, settings.goodbye_text) if settings.goodbye_text else (),
        )
        self._limits = CallLimits(settings.max_call_duration_s, silence, self._clock())
        self._bad_messages = BadMessages()
        self._caller_audio = CallerAudioBuffer()
        self._recent = RecentTranscripts()
        self._to_caller: deque[ServerMessage] = deque()
        self._to_upstream: deque[ClientEvent] = deque()
        self._upstream_wake = asyncio.Event()
        self._upstream_busy_since: float | None = None
        self._session: OpenSession | None = None
        self._conversation_id: str | None = None
        self._upstream_retried = False
        self._handing_over = False
        self._expiry_told = False

        self._started = False
        self._over: asyncio.Future[CallEnd] = loop.create_future()
        self._link: CallerLink | None = None
        self._lost_at: float | None = None
        self._lost_call = contextlib.ExitStack()
        self._resume_token: str | None = None

    async def run(self) -> None:
        """Run the call. Returns when this caller's socket is done with."""
        if self._started:
            raise RuntimeError("a session manager runs one call")
        self._started = True
        call = self._calls.start(self._live)
        await self._attach(self._websocket)
        if self._over.done():
            await asyncio.wait([call])

    async def resume(self, websocket: WebSocket) -> None:
        """Take the call up again on another socket. Returns when that one is done with."""
        now = self._clock()
        if self._link is not None:
            # The caller is back before we noticed that the old connection is dead.
            self._link.replace()
            self._link = None
            self._lose_caller(now)
        lost_at, self._lost_at = self._lost_at or now, None
        self._lost_call.close()
        self._log.info("call.resumed", after_s=round(now - lost_at, 1))
        self._to_caller.clear()
        session_id = self._session.session_id if self._session else ""
        self._to_caller.append(
            SessionStarted(session_id, self._settings.max_call_duration_s, self._new_token(), resumed=True)
        )
        self._to_caller.extend(self._recent.since(lost_at))
        self._perform(self._conversation.client_returned(now))
        await self._attach(websocket)

    # ----------------------------------------------------------------------------- the caller's socket

    async def _attach(self, websocket: WebSocket) -> None:
        """Serve one socket of the caller until it closes, is replaced, or the call is over."""
        link = CallerLink(websocket, self)
        self._link = link
        close_code = None
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(link.run())
                tasks.create_task(self._until_over())
        except* CallOverError:
            pass
        except* LinkClosedError as closed:
            close_code = close_code_of(closed)
        except* Exception:  # noqa: BLE001 - a fault of ours ends this call, is told, and leaves a traceback
            self._log.exception("call.failed")
            self._end(CallEnd(ErrorCode.INTERNAL))
        if self._link is not link:
            return
        self._link = None
        if self._over.done():
            await self._say_goodbye(link, self._over.result())
        elif close_code == LOST and self._resume_token is not None:
            self._lose_caller(self._clock())
        else:
            self._end(CallEnd(None, caller_left=True))

    def hear(self, pcm: bytes) -> None:
        """Caller speech: PCM16 LE, 24 kHz, mono, any length."""
        self._caller_audio.add(pcm)
        self._upstream_wake.set()

    def receive(self, message: ClientMessage) -> None:
        """A message of the client."""
        self._perform(self._conversation.receive_client(message, self._clock()))

    def complain(self, bad: BadMessageError) -> None:
        """A bad message is answered and the call goes on; too many of them end it."""
        if self._bad_messages.is_one_too_many(self._clock()):
            self._end(CallEnd(ErrorCode.BAD_REQUEST, param=bad.param))
            return
        complaint = error_message(
            ErrorCode.BAD_REQUEST, fatal=False, ref=self._call_id, param=bad.param, message=bad.message
        )
        self._perform([Send(complaint)])

    def next_outgoing(self) -> bytes | ServerMessage | None:
        """What goes to the caller now: messages overtake audio, and audio keeps its pace."""
        if self._to_caller:
            return self._to_caller.popleft()
        return self._conversation.release(self._clock())

    def tick(self) -> None:
        """Let the conversation notice what time it is."""
        self._perform(self._conversation.tick(self._clock()))

    def next_wake_at(self) -> float | None:
        """When `tick` or `next_outgoing` is due at the latest."""
        return self._conversation.next_wake_at()

    def _lose_caller(self, now: float) -> None:
        self._log.info("call.caller_lost", window_s=self._settings.resume_window_s)
        self._lost_at = now
        self._lost_call.enter_context(self._lifecycle.call())
        self._conversation.client_lost(now)

    def _new_token(self) -> str | None:
        if self._settings.resume_window_s:
            self._resume_token = self._calls.offer(self)
        return self._resume_token

    async def _say_goodbye(self, link: CallerLink, end: CallEnd) -> None:
        """What was due, then exactly one terminal message, then the close frame."""
        self._to_caller.extend(
            effect.message for effect in self._conversation.finish(self._clock()) if isinstance(effect, Send)
        )
        if end.code is None:
            self._to_caller.append(SessionEnded("ended"))
        else:
            self._to_caller.append(
                error_message(
                    end.code,
                    fatal=True,
                    ref=self._call_id,
                    param=end.param,
                    retry_after_ms=end.retry_after_ms,
                )
            )
        if not await link.finish(self._to_caller, CATALOGUE[end.code].close_code if end.code else 1000):
            self._log.info("call.not_told", reason="the client is gone or does not read")

    # -------------------------------------------------------------------------------------- Voice Live

    async def _live(self) -> None:
        """The call itself, in the process's task group. Never raises, so that no other call suffers."""
        started_at = self._clock()
        self._log.info("call.started")
        try:
            async with asyncio.TaskGroup() as call:
                call.create_task(self._talk())
                call.create_task(self._write_upstream())
                call.create_task(self._watch())
                call.create_task(self._until_over())
        except* CallOverError:
            pass
        except* Exception:  # noqa: BLE001 - a fault of ours ends this call, is told, and leaves a traceback
            self._log.exception("call.failed")
            self._end(CallEnd(ErrorCode.INTERNAL))
        finally:
            self._lost_call.close()
            if self._resume_token is not None:
                self._calls.withdraw(self._resume_token)
        self._log.info(
            "call.ended",
            reason=str(self._over.result()),
            duration_s=round(self._clock() - started_at, 1),
            ignored=dict(self._conversation.ignored),
            refused_audio_bytes=self._caller_audio.refused_bytes,
        )

    async def _talk(self) -> None:
        """Open the upstream session and relay its events; when it is lost, take it up again once."""
        session = await self._open(None)
        if session is None:
            return
        now = self._clock()
        token = self._new_token()
        self._perform(
            self._conversation.start(session.session_id, self._settings.max_call_duration_s, now, token)
        )
        while session is not None:
            code = await self._relay(session)
            if not self._may_continue(code):
                strange = code in PROTOCOL_CLOSE_CODES
                self._end(CallEnd(ErrorCode.UPSTREAM_PROTOCOL if strange else ErrorCode.UPSTREAM_LOST))
                return
            self._upstream_retried = self._upstream_retried or not self._handing_over
            self._handing_over = False
            self._to_upstream.clear()
            self._perform(self._conversation.upstream_lost(self._clock()))
            session = await self._open(session.conversation_id)
            if session is not None:
                replays = isinstance(self._settings.agent_mode, Model)
                self._perform(self._conversation.upstream_restored(self._clock(), replays=replays))

    async def _open(self, conversation_id: str | None) -> OpenSession | None:
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                session = await self._endpoint.open_session(conversation_id)
        except OpeningFailedError as failed:
            self._log.error("upstream.not_opened", reason=failed.reason)
            retry_after_ms = int(failed.retry_after_s * 1000) if failed.retry_after_s else None
            self._end(CallEnd(failed.code, retry_after_ms=retry_after_ms))
            return None
        except TimeoutError:
            self._log.error("upstream.not_opened", reason="CONNECT_TIMEOUT_S has passed")
            self._end(CallEnd(ErrorCode.UPSTREAM_LOST))
            return None
        self._log.info("upstream.opened", session_id=loggable(session.session_id))
        return session

    async def _relay(self, session: OpenSession) -> int:
        """Carry events to the conversation until the session is over; its close code."""
        self._session = session
        self._conversation_id = session.conversation_id
        self._conversation.caller_audio_ms = 0
        self._upstream_wake.set()
        malformed = 0
        try:
            while True:
                try:
                    event = await session.connection.receive()
                except MalformedEventError as error:
                    malformed += 1
                    self._log.warning("upstream.malformed_event", reason=str(error))
                    if malformed > MAX_MALFORMED_EVENTS:
                        return PROTOCOL_CLOSE_CODES[0]
                    continue
                if isinstance(event, ServiceError):
                    self._log.warning("upstream.error", code=loggable(event.code))
                self._perform(self._conversation.receive_upstream(event, self._clock()))
                self._wake_link()
        except VoiceLiveClosedError as closed:
            self._log.warning("upstream.closed", code=closed.code)
            return closed.code
        finally:
            self._session = None
            await session.connection.close()

    async def _write_upstream(self) -> None:
        while True:
            self._upstream_wake.clear()
            if self._session is not None:
                self._upstream_busy_since = self._clock()
                with contextlib.suppress(VoiceLiveClosedError):  # the reader is told so, and acts on it
                    await self._flush(self._session.connection)
                self._upstream_busy_since = None
            await self._upstream_wake.wait()

    async def _flush(self, connection: VoiceLiveConnection) -> None:
        while self._to_upstream:
            await connection.send(self._to_upstream.popleft())
        while pcm := self._caller_audio.take():
            await connection.send_audio(pcm)
            self._conversation.caller_audio_ms += len(pcm) // BYTES_PER_MS

    def _may_continue(self, close_code: int | None) -> bool:
        """Whether a new upstream session can take up the conversation where the old one left it."""
        if close_code in PROTOCOL_CLOSE_CODES or (self._upstream_retried and not self._handing_over):
            return False
        match self._settings.agent_mode:
            case Model():
                return True
            case FoundryAgent() if self._conversation_id is not None:
                return True
            case FoundryAgent() | ClassicAgent():
                return not self._conversation.has_begun

    # ------------------------------------------------------------------------------------ the whole call

    async def _until_over(self) -> None:
        await asyncio.shield(self._over)
        raise CallOverError

    async def _watch(self) -> None:
        """Every limit in time that is not the conversation's own."""
        while True:
            await asyncio.sleep(WATCH_PERIOD_S)
            now = self._clock()
            if self._lifecycle.is_draining:
                self._end(CallEnd(ErrorCode.SERVER_DRAINING))
            if self._lost_at is not None and now - self._lost_at > self._settings.resume_window_s:
                self._end(CallEnd(None, caller_left=True))
            link_busy_since = self._link.busy_since if self._link else None
            if link_busy_since is not None and now - link_busy_since > SLOW_CONSUMER_S:
                self._end(CallEnd(ErrorCode.SLOW_CONSUMER))
            busy_since = self._upstream_busy_since
            if busy_since is not None and now - busy_since > UPSTREAM_WRITE_TIMEOUT_S:
                self._end(CallEnd(ErrorCode.UPSTREAM_LOST))
            if self._link is None:
                self.tick()
            if self._session is not None:
                active_at = self._conversation.active_at(now)
                caller_active_at = self._conversation.caller_active_at(now)
                self._perform(self._limits.tick(active_at, caller_active_at, now))
                await self._foresee_expiry(self._session)

    async def _foresee_expiry(self, session: OpenSession) -> None:
        """Voice Live ends every session some day: move to a fresh one in a pause, or tell the caller."""
        if session.expires_at is None or (left_s := session.expires_at - time.time()) > EXPIRY_NOTICE_S:
            return
        if left_s <= 0:
            self._end(CallEnd(ErrorCode.SESSION_EXPIRED))
        elif self._may_continue(None):
            if self._conversation.is_in_pause and not self._handing_over:
                self._handing_over = True
                await session.connection.close()
        elif not self._expiry_told:
            self._expiry_told = True
            self._perform([Send(SessionEnding("session_expired", round(left_s)))])

    def _perform(self, effects: list[Effect]) -> None:
        """Carry out effects in their order. Never waits, so nothing can come between them."""
        for effect in effects:
            match effect:
                case Send(message):
                    self._recent.note(message, self._clock())
                    if len(self._to_caller) >= MAX_QUEUED_MESSAGES:
                        self._end(CallEnd(ErrorCode.SLOW_CONSUMER))
                        return
                    if self._lost_at is None:
                        self._to_caller.append(message)
                    self._wake_link()
                case SendUpstream(event):
                    if len(self._to_upstream) >= MAX_QUEUED_MESSAGES:
                        self._end(CallEnd(ErrorCode.UPSTREAM_LOST))
                        return
                    self._to_upstream.append(event)
                    self._upstream_wake.set()
                case End(code):
                    self._end(CallEnd(code))
                    return

    def _wake_link(self) -> None:
        if self._link is not None:
            self._link.wake()

    def _end(self, end: CallEnd) -> None:
        """End the call; the first reason counts."""
        if not self._over.done():
            self._over.set_result(end)
