"""VoiceLiveSessionManager: runs one call, from its first byte to its one orderly end.

The shell around the pure parts: tasks, sockets, the clock and time-outs live here, the rules do not. Two
relays run, each a reader and a writer with a bounded buffer between them, and one watchdog for every limit of
the call. Whoever notices that the call is over raises; the first reason counts.
"""

import asyncio
import uuid
from collections import deque
from typing import Final, NoReturn

import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect

from app.caller_audio import CallerAudioBuffer
from app.config import Settings
from app.conversation import Conversation
from app.interruption import InterruptionPolicy
from app.lifecycle import Lifecycle
from app.limits import CallLimits
from app.messages import (
    BYTES_PER_MS,
    CATALOGUE,
    BadMessageError,
    CallerAudio,
    ErrorCode,
    ServerMessage,
    SessionEnded,
    encode_server_message,
    error_message,
    parse_client_message,
)
from app.playout import Playout
from app.turns import Effect, End, Send, SendUpstream
from app.voicelive.connection import VoiceLiveClosedError, VoiceLiveConnection
from app.voicelive.endpoint import OpeningFailedError, VoiceLiveEndpoint, loggable
from app.voicelive.events import MalformedEventError, ServiceError
from app.voicelive.session import ClientEvent, greeting

log = structlog.get_logger(__name__)

WATCH_PERIOD_S: Final = 0.5
UPSTREAM_WRITE_TIMEOUT_S: Final = 5.0
SLOW_CONSUMER_S: Final = 10.0
CLOSE_TIMEOUT_S: Final = 15.0
"""A client on a slow link needs this long to read what is on its way before the terminal message."""
MAX_QUEUED_MESSAGES: Final = 1_000
MAX_MALFORMED_EVENTS: Final = 10
MAX_BAD_MESSAGES: Final = 20
BAD_MESSAGE_WINDOW_S: Final = 60.0


class CallEndedError(Exception):
    """The call is over. `code` None is the normal end."""

    def __init__(self, code: ErrorCode | None, *, caller_left: bool = False) -> None:
        super().__init__(code.value if code else "ended")
        self.code = code
        self.caller_left = caller_left
        self.param: str | None = None
        self.retry_after_ms: int | None = None


class VoiceLiveSessionManager:
    """Runs one call on an accepted WebSocket. Single use."""

    def __init__(self, websocket: WebSocket, settings: Settings) -> None:
        """The application's state holds what calls share: `endpoint` and `lifecycle`."""
        self._websocket = websocket
        self._settings = settings
        self._endpoint: VoiceLiveEndpoint = websocket.app.state.endpoint
        self._lifecycle: Lifecycle = websocket.app.state.lifecycle
        self._clock = asyncio.get_running_loop().time
        self._call_id = uuid.uuid4().hex
        self._log = log.bind(call_id=self._call_id)

        self._conversation = Conversation(
            Playout(settings.playout_lead_ms),
            greeting=greeting(settings),
            response_timeout_s=settings.response_timeout_s,
            interruption=InterruptionPolicy(
                by_gateway=settings.interruption_policy == "gateway",
                min_speech_ms=settings.interruption_min_speech_ms,
                prefix_padding_ms=settings.vad_prefix_padding_ms,
            ),
        )
        self._limits = CallLimits(settings.max_call_duration_s, settings.idle_timeout_s, self._clock())
        self._caller_audio = CallerAudioBuffer()
        self._to_caller: deque[ServerMessage] = deque()
        self._to_upstream: deque[ClientEvent] = deque()
        self._caller_wake = asyncio.Event()
        self._upstream_wake = asyncio.Event()
        self._connection: asyncio.Future[VoiceLiveConnection] = asyncio.get_running_loop().create_future()
        self._bad_messages_at: deque[float] = deque(maxlen=MAX_BAD_MESSAGES)
        self._caller_busy_since: float | None = None
        self._upstream_busy_since: float | None = None
        self._first_end: CallEndedError | None = None

    async def run(self) -> None:
        """Run the call to its end. Returns when both sockets are closed; raises only when cancelled."""
        if self._first_end is not None or self._connection.done():
            raise RuntimeError("a session manager runs one call")
        started_at = self._clock()
        self._log.info("call.started")
        try:
            async with asyncio.TaskGroup() as call:
                call.create_task(self._read_caller())
                call.create_task(self._write_caller())
                call.create_task(self._read_upstream())
                call.create_task(self._write_upstream())
                call.create_task(self._watch())
        except* CallEndedError:
            pass
        except* Exception:  # noqa: BLE001 - a fault of ours ends this call, is told, and leaves a traceback
            self._log.exception("call.failed")
        ended = self._first_end or CallEndedError(ErrorCode.INTERNAL)
        await self._close_caller(ended)
        self._log.info(
            "call.ended",
            reason="caller_left" if ended.caller_left else str(ended),
            duration_s=round(self._clock() - started_at, 1),
            ignored=dict(self._conversation.ignored),
            refused_audio_bytes=self._caller_audio.refused_bytes,
        )

    # ------------------------------------------------------------------------------- caller → Voice Live

    async def _read_caller(self) -> None:
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                self._end(CallEndedError(None, caller_left=True))
            if (data := message.get("bytes")) is not None:
                self._hear(data)
                continue
            try:
                parsed = parse_client_message(message.get("text") or "")
            except BadMessageError as bad:
                self._complain(bad)
                continue
            if isinstance(parsed, CallerAudio):
                self._hear(parsed.pcm)
            else:
                self._perform(self._conversation.receive_client(parsed, self._clock()))

    def _hear(self, data: bytes) -> None:
        self._caller_audio.add(data)
        self._upstream_wake.set()

    def _complain(self, bad: BadMessageError) -> None:
        """A bad message is answered and the call goes on; too many of them end it."""
        now = self._clock()
        full = len(self._bad_messages_at) == MAX_BAD_MESSAGES
        if full and now - self._bad_messages_at[0] < BAD_MESSAGE_WINDOW_S:
            ended = CallEndedError(ErrorCode.BAD_REQUEST)
            ended.param = bad.param
            self._end(ended)
        self._bad_messages_at.append(now)
        complaint = error_message(
            ErrorCode.BAD_REQUEST, fatal=False, ref=self._call_id, param=bad.param, message=bad.message
        )
        self._perform([Send(complaint)])

    async def _write_upstream(self) -> None:
        connection = await asyncio.shield(self._connection)
        try:
            while True:
                self._upstream_wake.clear()
                self._upstream_busy_since = self._clock()
                while self._to_upstream:
                    await connection.send(self._to_upstream.popleft())
                while pcm := self._caller_audio.take():
                    await connection.send_audio(pcm)
                    self._conversation.caller_audio_ms += len(pcm) // BYTES_PER_MS
                self._upstream_busy_since = None
                await self._upstream_wake.wait()
        except VoiceLiveClosedError:
            # The reader is told the close code, and ends the call with it.
            await asyncio.Event().wait()

    # ------------------------------------------------------------------------------- Voice Live → caller

    async def _read_upstream(self) -> None:
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                session = await self._endpoint.open_session()
        except OpeningFailedError as failed:
            self._log.error("upstream.not_opened", reason=failed.reason)
            ended = CallEndedError(failed.code)
            ended.retry_after_ms = int(failed.retry_after_s * 1000) if failed.retry_after_s else None
            self._end(ended)
        except TimeoutError:
            self._log.error("upstream.not_opened", reason="CONNECT_TIMEOUT_S has passed")
            self._end(CallEndedError(ErrorCode.UPSTREAM_LOST))
        try:
            self._log.info("upstream.opened", session_id=loggable(session.session_id))
            now = self._clock()
            self._perform(
                self._conversation.start(session.session_id, self._settings.max_call_duration_s, now)
            )
            self._connection.set_result(session.connection)
            await self._relay_events(session.connection)
        finally:
            await session.connection.close()

    async def _relay_events(self, connection: VoiceLiveConnection) -> None:
        malformed = 0
        while True:
            try:
                event = await connection.receive()
            except VoiceLiveClosedError as closed:
                self._log.warning("upstream.closed", code=closed.code)
                too_strange = closed.code in (1002, 1003, 1007, 1009)
                self._end(
                    CallEndedError(ErrorCode.UPSTREAM_PROTOCOL if too_strange else ErrorCode.UPSTREAM_LOST)
                )
            except MalformedEventError as error:
                malformed += 1
                self._log.warning("upstream.malformed_event", reason=str(error))
                if malformed > MAX_MALFORMED_EVENTS:
                    self._end(CallEndedError(ErrorCode.UPSTREAM_PROTOCOL))
                continue
            if isinstance(event, ServiceError):
                self._log.warning("upstream.error", code=loggable(event.code))
            self._perform(self._conversation.receive_upstream(event, self._clock()))
            self._caller_wake.set()

    async def _write_caller(self) -> None:
        """The only writer of the client's socket: messages overtake audio, and audio keeps its pace."""
        while True:
            self._caller_wake.clear()
            self._perform(self._conversation.tick(self._clock()))
            self._caller_busy_since = self._clock()
            while (outgoing := self._next_to_caller()) is not None:
                await self._send_to_caller(outgoing)
            self._caller_busy_since = None
            wake_at = self._conversation.next_wake_at()
            try:
                async with asyncio.timeout_at(wake_at):
                    await self._caller_wake.wait()
            except TimeoutError:
                pass

    def _next_to_caller(self) -> bytes | ServerMessage | None:
        if self._to_caller:
            return self._to_caller.popleft()
        return self._conversation.release(self._clock())

    async def _send_to_caller(self, outgoing: bytes | ServerMessage) -> None:
        try:
            if isinstance(outgoing, bytes):
                await self._websocket.send_bytes(outgoing)
            else:
                await self._websocket.send_text(encode_server_message(outgoing))
        except (WebSocketDisconnect, RuntimeError):
            # Starlette raises RuntimeError for a socket that the client has closed meanwhile.
            self._end(CallEndedError(None, caller_left=True))

    # --------------------------------------------------------------------------------------- the whole call

    async def _watch(self) -> None:
        """Every limit in time that is not the conversation's own."""
        while True:
            await asyncio.sleep(WATCH_PERIOD_S)
            now = self._clock()
            if self._lifecycle.is_draining:
                self._end(CallEndedError(ErrorCode.SERVER_DRAINING))
            if self._caller_busy_since is not None and now - self._caller_busy_since > SLOW_CONSUMER_S:
                self._end(CallEndedError(ErrorCode.SLOW_CONSUMER))
            busy_since = self._upstream_busy_since
            if busy_since is not None and now - busy_since > UPSTREAM_WRITE_TIMEOUT_S:
                self._end(CallEndedError(ErrorCode.UPSTREAM_LOST))
            if self._connection.done():
                self._perform(self._limits.tick(self._conversation.active_at(now), now))

    def _perform(self, effects: list[Effect]) -> None:
        """Carry out effects in their order. Never waits, so nothing can come between them."""
        for effect in effects:
            match effect:
                case Send(message):
                    if len(self._to_caller) >= MAX_QUEUED_MESSAGES:
                        self._end(CallEndedError(ErrorCode.SLOW_CONSUMER))
                    self._to_caller.append(message)
                    self._caller_wake.set()
                case SendUpstream(event):
                    if len(self._to_upstream) >= MAX_QUEUED_MESSAGES:
                        self._end(CallEndedError(ErrorCode.UPSTREAM_LOST))
                    self._to_upstream.append(event)
                    self._upstream_wake.set()
                case End(code):
                    self._end(CallEndedError(code))

    def _end(self, ended: CallEndedError) -> NoReturn:
        """End the call; the first reason counts."""
        if self._first_end is None:
            self._first_end = ended
        raise ended

    async def _close_caller(self, ended: CallEndedError) -> None:
        """What was due, then exactly one terminal message, then the close frame."""
        if ended.caller_left:
            return
        for effect in self._conversation.finish(self._clock()):
            if isinstance(effect, Send):
                self._to_caller.append(effect.message)
        if ended.code is None:
            self._to_caller.append(SessionEnded("ended"))
        else:
            self._to_caller.append(
                error_message(
                    ended.code,
                    fatal=True,
                    ref=self._call_id,
                    param=ended.param,
                    retry_after_ms=ended.retry_after_ms,
                )
            )
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                for message in self._to_caller:
                    await self._websocket.send_text(encode_server_message(message))
                await self._websocket.close(CATALOGUE[ended.code].close_code if ended.code else 1000)
        except (TimeoutError, WebSocketDisconnect, RuntimeError):
            self._log.info("call.not_told", reason="the client is gone or does not read")
