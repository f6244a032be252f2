"""VoiceLiveSessionManager: runs one call, from its first byte to its one orderly end.

The shell around the pure parts: tasks, the clock and time-outs live here, the rules do not. The call's task
group belongs to the process: it keeps the `Upstream`, the Voice Live side, and watches every limit. The route
only attaches a caller's socket to it and waits, so that a caller whose connection broke can come back. The
first reason that ends the call counts.
"""

import asyncio
import contextlib
import math
import uuid
from collections.abc import Callable
from typing import Final

import structlog
from starlette.websockets import WebSocket

from app.call_end import CallEnd, CallOverError
from app.call_rules import CallRules
from app.caller_link import LOST, CallerLink
from app.calls import Calls
from app.config import Settings
from app.conversation import Conversation
from app.errors import CATALOGUE, ErrorCode
from app.lifecycle import Lifecycle
from app.limits import MAX_BAD_MESSAGES, CallLimits, Quota
from app.messages import (
    BadMessageError,
    ClientMessage,
    ServerMessage,
    SessionEnded,
    SessionStarted,
    error_message,
)
from app.playout import Playout
from app.recent import RecentTranscripts
from app.turns import Effect, End, Send, SendUpstream
from app.upstream import Upstream
from app.websocket.frame_link import link_of

log = structlog.get_logger(__name__)

SLOW_CONSUMER_S: Final = 10.0
MAX_QUEUED_MESSAGES: Final = 1_000


class VoiceLiveSessionManager:
    """Runs one call on an accepted WebSocket. Single use."""

    def __init__(self, websocket: WebSocket, settings: Settings, max_duration_s: int) -> None:
        """The application's state holds what calls share: `endpoint`, `lifecycle`, `calls`, `rules`, `pacer`.

        `max_duration_s`: of this call, which a ticket may shorten.
        """
        loop = asyncio.get_running_loop()
        rules: CallRules = websocket.app.state.rules
        self._websocket = websocket
        self._settings = settings
        self._max_duration_s = max_duration_s
        self._lifecycle: Lifecycle = websocket.app.state.lifecycle
        self._calls: Calls[VoiceLiveSessionManager] = websocket.app.state.calls
        self._clock = loop.time
        self._call_id = uuid.uuid4().hex
        self._log = log.bind(call_id=self._call_id)

        self._conversation = Conversation(
            Playout(settings.playout_lead_ms, takes_back=settings.resume_window_s > 0),
            greeting=rules.greeting,
            response_timeout_s=settings.response_timeout_s,
            interruption=rules.interruption,
        )
        self._limits = CallLimits(max_duration_s, rules.silence, self._clock())
        self._messages = Quota(settings.max_messages_per_minute)
        self._bad_messages = Quota(MAX_BAD_MESSAGES)
        self._upstream = Upstream(settings, websocket.app.state.endpoint, self._conversation, self, self._log)
        self.hear = self._upstream.hear
        """Caller speech: PCM16 LE, 24 kHz, mono, any length."""

        self._recent = RecentTranscripts()
        self._to_caller: list[ServerMessage] = []

        self._started = False
        self._end: CallEnd | None = None
        self._over: asyncio.Future[None] = loop.create_future()
        """Wakes the call's own task at the end."""

        self._link: CallerLink | None = None
        self._heard_before_busy: int | None = None
        self._lost_at: float | None = None
        self._lost_call: contextlib.ExitStack | None = None
        """A call whose caller is lost counts as live by itself."""

        self._resume_token: str | None = None

    async def run(self, when_over: Callable[[], None] = lambda: None) -> None:
        """Run the call, and `when_over` after it. Returns when this caller's socket is done with."""
        if self._started:
            raise RuntimeError("a session manager runs one call")
        self._started = True
        call = self._calls.start(self, self._live())
        call.add_done_callback(lambda _: when_over())
        await self._attach(self._websocket)
        if self._end is not None:
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
        self._no_longer_lost()
        self._log.info("call.resumed", after_s=round(now - lost_at, 1))
        self._to_caller.clear()
        session_id = self._upstream.session.session_id if self._upstream.session else ""
        self._to_caller.append(
            SessionStarted(session_id, self._max_duration_s, self._new_token(), resumed=True)
        )
        self._to_caller.extend(self._recent.since(lost_at))
        self._limits.client_returned()
        self.perform(self._conversation.client_returned(now))
        await self._attach(websocket)

    def warn_of_drain(self, ends_at: float) -> None:
        """The call will be closed at `ends_at`: tell the client, as soon as there is a session."""
        self._limits.drain(ends_at)
        self._watch_limits(self._clock())

    def end_for_drain(self) -> bool:
        """End the call. False where it is over already."""
        if self._end is not None:
            return False
        self.end(CallEnd(ErrorCode.SERVER_DRAINING))
        return True

    # ----------------------------------------------------------------------------- the caller's socket

    async def _attach(self, websocket: WebSocket) -> None:
        """Serve one socket of the caller until it closes, is replaced, or the call is over."""
        link = CallerLink(link_of(websocket), self, websocket.app.state.pacer)
        self._link = link
        close_code = None
        try:
            if self._end is None:
                close_code = await link.run()
        except CallOverError:
            pass
        except Exception:  # noqa: BLE001 - a fault of ours ends this call, is told, and leaves a traceback
            self._log.exception("call.failed")
            self.end(CallEnd(ErrorCode.INTERNAL))
        if self._link is not link:
            return
        self._link = None
        if self._end is not None:
            await self._say_goodbye(link, self._end)
        elif close_code == LOST and self._resume_token is not None:
            self._lose_caller(self._clock())
        else:
            self.end(CallEnd(None, caller_left=True))

    def receive(self, message: ClientMessage) -> None:
        """A message of the client."""
        now = self._clock()
        if self._messages.is_exceeded(now):
            retry_after_ms = math.ceil(self._messages.free_in_s(now) * 1000)
            self.end(CallEnd(ErrorCode.RATE_LIMITED, retry_after_ms=retry_after_ms))
            return
        self.perform(self._conversation.receive_client(message, now))

    def listen(self, reading: bool, /) -> None:
        """Whether the caller's socket is to be read."""
        if self._link is not None:
            if reading:
                self._link.resume_reading()
            else:
                self._link.pause_reading()

    def complain(self, bad: BadMessageError) -> None:
        """A bad message is answered and the call goes on; too many of them end it."""
        if self._bad_messages.is_exceeded(self._clock()):
            self.end(CallEnd(ErrorCode.BAD_REQUEST, param=bad.param))
            return
        complaint = error_message(
            ErrorCode.BAD_REQUEST, fatal=False, ref=self._call_id, param=bad.param, message=bad.message
        )
        self.perform([Send(complaint)])

    def flooded(self) -> None:
        """The client sends too many messages."""
        self.end(CallEnd(ErrorCode.RATE_LIMITED))

    def silent(self) -> bool:
        """The client does not answer pings: it may come back on another socket, or else the call is over."""
        if self._resume_token is not None:
            return False
        self.end(CallEnd(ErrorCode.SLOW_CONSUMER))
        return True

    def next_outgoing(self, now: float) -> bytes | ServerMessage | None:
        """What goes to the caller now: messages overtake audio, and audio keeps its pace."""
        if self._to_caller:
            return self._to_caller.pop(0)
        return self._conversation.release(now)

    def tick(self, now: float) -> None:
        """Let the conversation notice what time it is."""
        if effects := self._conversation.tick(now):
            self.perform(effects)

    def next_wake_at(self) -> float:
        """When `tick` or `next_outgoing` is due at the latest."""
        return self._conversation.next_wake_at()

    def _lose_caller(self, now: float) -> None:
        self._log.info("call.caller_lost", window_s=self._settings.resume_window_s)
        self._lost_at = now
        self._upstream.caller_lost()
        self._lost_call = contextlib.ExitStack()
        self._lost_call.enter_context(self._lifecycle.call())
        self._conversation.client_lost(now)

    def _no_longer_lost(self) -> None:
        if self._lost_call is not None:
            self._lost_call.close()
            self._lost_call = None

    def _new_token(self) -> str | None:
        if self._settings.resume_window_s and self._end is None:
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

    def begin(self, session_id: str) -> None:
        """Voice Live is there: the call is live."""
        token = self._new_token()
        self.perform(self._conversation.start(session_id, self._max_duration_s, self._clock(), token))

    # ------------------------------------------------------------------------------------ the whole call

    async def _live(self) -> None:
        """The call itself, in the process's task group. Never raises, so that no other call suffers."""
        started_at = self._clock()
        self._log.info("call.started")
        try:
            async with asyncio.TaskGroup() as call:
                upstream = call.create_task(self._upstream.run())
                await self._over
                upstream.cancel()
        except* Exception:  # noqa: BLE001 - a fault of ours ends this call, is told, and leaves a traceback
            self._log.exception("call.failed")
            self.end(CallEnd(ErrorCode.INTERNAL))
        finally:
            self._no_longer_lost()
            self._upstream.let_go()
        self._log.info(
            "call.ended",
            reason=str(self._end),
            duration_s=round(self._clock() - started_at, 1),
            ignored=dict(self._conversation.ignored),
            refused_audio_bytes=self._upstream.refused_bytes,
        )

    def watch(self, now: float) -> None:
        """Every limit in time that is not the conversation's own. Called twice a second."""
        try:
            self._watch(now)
        except Exception:  # noqa: BLE001 - a fault of ours ends this call, is told, and leaves a traceback
            self._log.exception("call.failed")
            self.end(CallEnd(ErrorCode.INTERNAL))

    def _watch(self, now: float) -> None:
        if self._lost_at is not None and now - self._lost_at > self._settings.resume_window_s:
            self.end(CallEnd(None, caller_left=True))
        if self._link is None:
            self.tick(now)
        else:
            self._watch_link(self._link, now)
        self._watch_limits(now)
        self._upstream.watch(now)

    def _watch_link(self, link: CallerLink, now: float) -> None:
        """Who stays behind for too long is too slow; who is not heard either, and may come back, is gone."""
        heard_bytes = self._conversation.caller_audio_bytes
        if link.busy_since is None:
            self._heard_before_busy = None
        elif self._heard_before_busy is None:
            self._heard_before_busy = heard_bytes
        elif now - link.busy_since > SLOW_CONSUMER_S:
            if self._resume_token is not None and heard_bytes == self._heard_before_busy:
                link.drop()
            else:
                self.end(CallEnd(ErrorCode.SLOW_CONSUMER))

    def _watch_limits(self, now: float) -> None:
        if self._upstream.session is not None:
            active_at = self._conversation.active_at(now)
            caller_active_at = self._conversation.caller_active_at(now)
            if effects := self._limits.tick(active_at, caller_active_at, now):
                self.perform(effects)

    def perform(self, effects: list[Effect]) -> None:
        """Carry out effects in their order. Never waits, so nothing can come between them."""
        for effect in effects:
            match effect:
                case Send(message):
                    self._recent.note(message, self._clock())
                    if len(self._to_caller) >= MAX_QUEUED_MESSAGES:
                        self.end(CallEnd(ErrorCode.SLOW_CONSUMER))
                        return
                    if self._lost_at is None:
                        self._to_caller.append(message)
                case SendUpstream(event):
                    if not self._upstream.send(event):
                        self.end(CallEnd(ErrorCode.UPSTREAM_LOST))
                        return
                case End(code):
                    self.end(CallEnd(code))
                    return
        if self._link is not None:
            self._link.flush_soon()

    def end(self, end: CallEnd) -> None:
        """The call is over; the first reason counts."""
        if self._end is not None:
            return
        self._end = end
        if not self._over.done():
            self._over.set_result(None)
        if self._link is not None:
            self._link.stop()
        if self._resume_token is not None:
            self._calls.withdraw(self._resume_token)
