"""Who speaks; barge-in; what was heard.

Pure: no await, no clock, no socket. Every method takes the time (seconds of one monotonic clock) and returns
the effects in the order in which the shell must carry them out. Nothing that a peer can send raises: what
comes out of turn is ignored and counted in `ignored`.

The states and their transitions are tables in `turns`; their coupling is in this one place.
"""

from collections import Counter, deque
from collections.abc import Sequence
from typing import Final

from app.heard import SpokenWord, heard_part
from app.messages import (
    AgentAudioEnd,
    AgentText,
    AgentTranscript,
    AgentTranscriptDelta,
    BargeIn,
    CallerAudio,
    ClearPlayback,
    ClientMessage,
    ErrorCode,
    HangUp,
    Ping,
    PlaybackReport,
    Pong,
    ServerMessage,
    SessionStarted,
    Status,
    StatusName,
    TypedText,
    UserTranscript,
    UserTranscriptDelta,
    error_message,
)
from app.playout import InOrder, Playout, PlayoutOverflowError
from app.turns import (
    INPUT_TRANSITIONS,
    REPLY_TRANSITIONS,
    Cleared,
    Committed,
    Draining,
    Effect,
    End,
    Ended,
    Generating,
    InputState,
    Quiet,
    Reply,
    ReplyState,
    Send,
    SendUpstream,
    Speaking,
)
from app.voicelive import events as service
from app.voicelive.session import ClientEvent, response_cancel, response_create, truncate, typed_message

HEARD_WAIT_S: Final = 0.3
"""How long after `clear_playback` the client's `playback` is awaited."""

ACKNOWLEDGEMENT_WAIT_S: Final = 1.0
"""How long after the play clock a client that has acknowledged before may still report the end."""

MAX_SILENT_TURNS: Final = 3
MAX_EARLY_TEXTS: Final = 10
MAX_ENDED_IDS: Final = 64


class Conversation:
    """The conversation of one call."""

    def __init__(
        self, playout: Playout, *, greeting: Sequence[ClientEvent] = (), response_timeout_s: float = 15.0
    ) -> None:
        self.ignored: Counter[str] = Counter()
        self.status: StatusName | None = None

        self._playout = playout
        self._greeting = list(greeting)
        self._response_timeout_s = response_timeout_s
        self._input: InputState = Quiet()
        self._replies: dict[str, Reply] = {}
        self._active: str | None = None
        self._speaking: str | None = None
        self._request_wanted = False
        self._live = False
        self._last_activity_at = 0.0
        self._early_texts: list[str] = []
        self._ended_ids: deque[str] = deque(maxlen=MAX_ENDED_IDS)
        self._transcribed_ids: deque[str] = deque(maxlen=MAX_ENDED_IDS)
        self._silent_turns = 0
        self._client_acknowledges = False

    # -------------------------------------------------------------------------------------- what happens

    def start(self, session_id: str, max_duration_s: int, now: float) -> list[Effect]:
        """The upstream session is configured: the call is live, and the agent greets once."""
        self._live = True
        self._last_activity_at = now
        effects: list[Effect] = [Send(SessionStarted(session_id, max_duration_s))]
        effects += [SendUpstream(event) for event in self._greeting]
        self._greeting.clear()
        for text in self._early_texts:
            effects += self._typed(text, now)
        self._early_texts.clear()
        return self._with_status(effects)

    def receive_client(self, message: ClientMessage, now: float) -> list[Effect]:
        """A message of the client."""
        match message:
            case Ping():
                return [Send(Pong())]
            case HangUp():
                return [End(None)]
            case TypedText(text) if self._live:
                self._last_activity_at = now
                return self._with_status([*self._interrupt(now, by_client=True), *self._typed(text, now)])
            case TypedText(text) if len(self._early_texts) < MAX_EARLY_TEXTS:
                self._early_texts.append(text)
                return []
            case BargeIn() if self._live and self._is_audible():
                self._last_activity_at = now
                return self._with_status(self._interrupt(now, by_client=True))
            case PlaybackReport(response_id, played_ms):
                return self._with_status(self._playback(response_id, played_ms, now))
            case CallerAudio() | TypedText() | BargeIn():
                return self._ignore("client message out of turn")

    def receive_upstream(self, event: service.ServerEvent, now: float) -> list[Effect]:
        """An event of Voice Live, after `start`."""
        if isinstance(event, service.AudioDelta):
            return self._audio(event.response_id, event.item_id, event.pcm, now)
        match event:
            case service.SpeechStarted(item_id):
                self._last_activity_at = now
                effects = self._interrupt(now, by_client=False)
                self._move_input("speech started", Speaking(item_id))
            case service.SpeechStopped() | service.SpeechCommitted():
                effects = []
                if isinstance(self._input, Speaking):
                    self._last_activity_at = now
                    self._move_input("speech stopped", Committed(now))
            case service.CallerTranscriptDelta(item_id, text):
                effects = [Send(UserTranscriptDelta(text, item_id))] if text else []
            case service.CallerTranscript(item_id, text):
                effects = self._caller_transcript(item_id, text)
            case service.ResponseCreated(response_id):
                effects = self._response_created(response_id, now)
            case service.AgentTranscriptDelta() | service.AgentTranscriptDone():
                effects = self._agent_transcript(event, now)
            case service.AgentTextDelta(response_id, text):
                effects = []
                if reply := self._generating(response_id):
                    reply.last_event_at = now
                    reply.written += text
            case service.WordTimestamp(response_id, text, offset_ms, duration_ms):
                effects = []
                if reply := self._generating(response_id):
                    reply.words.append(SpokenWord(text, offset_ms, duration_ms))
            case service.ResponseDone(response_id, status, calls_function):
                effects = self._response_done(response_id, status, calls_function, now)
            case service.ServiceError(code):
                effects = self._service_error(code)
            case _:
                effects = self._ignore("event without effect")
        return self._with_status(effects)

    def tick(self, now: float) -> list[Effect]:
        """Time has passed: responses are played to their end, waits run out."""
        effects: list[Effect] = []
        for reply in list(self._replies.values()):
            match reply.state:
                case Cleared(played_ms=played_ms, until=until) if now >= until:
                    effects += self._heard(reply, played_ms)
                case Draining() if now >= self._played_at(reply):
                    effects += self._played(reply, now)
                case Generating() if now >= self._stalled_at(reply):
                    effects += self._stalled(reply, now)
                case _:
                    pass
        if isinstance(self._input, Committed) and not self._replies and now >= self._silent_at(self._input):
            effects += self._agent_silent()
        return self._with_status(effects)

    def release(self, now: float) -> bytes | ServerMessage | None:
        """The next audio frame or in-order message that may go to the client now, or None."""
        held = self._playout.release(now)
        if held is None:
            return None
        if not isinstance(held, InOrder):
            return held.pcm
        if isinstance(held.message, Status):
            self._replies[held.response_id].announced = True
            self._speaking = held.response_id
            self._silent_turns = 0
            self._move_input("agent began", Quiet())
            self.status = "agent_speaking"
        return held.message

    def next_wake_at(self) -> float | None:
        """When `tick` or `release` must be called at the latest if nothing happens before."""
        times: list[float] = []
        if (release_at := self._playout.next_release_at()) is not None:
            times.append(release_at)
        for reply in self._replies.values():
            match reply.state:
                case Cleared(until=until):
                    times.append(until)
                case Draining() if (played_at := self._played_at(reply)) != float("inf"):
                    times.append(played_at)
                case Generating():
                    times.append(self._stalled_at(reply))
                case _:
                    pass
        if isinstance(self._input, Committed) and not self._replies:
            times.append(self._silent_at(self._input))
        return min(times, default=None)

    def finish(self, now: float) -> list[Effect]:
        """The call ends: what is still playing ends here, with what was heard of it so far."""
        effects: list[Effect] = []
        for reply in list(self._replies.values()):
            if isinstance(reply.state, Cleared):
                effects += self._heard(reply, reply.state.played_ms)
            elif reply.announced:
                heard_ms = self._playout.played_ms(reply.response_id, now)
                effects += self._heard(reply, heard_ms, "call ended")
        return effects

    def active_at(self, now: float) -> float:
        """When somebody last spoke or typed: `now` while the caller speaks or a response is under way."""
        busy = isinstance(self._input, Speaking) or self._replies
        return now if busy else self._last_activity_at

    # ------------------------------------------------------------------------------------ the caller's side

    def _typed(self, text: str, now: float) -> list[Effect]:
        self._move_input("typed", Committed(now))
        return [SendUpstream(typed_message(text)), *self._request_response()]

    def _request_response(self) -> list[Effect]:
        """Voice Live refuses a request while a response is active, so then it waits for the end of that."""
        self._request_wanted = self._active is not None
        return [] if self._request_wanted else [SendUpstream(response_create())]

    def _caller_transcript(self, item_id: str, text: str) -> list[Effect]:
        if item_id in self._transcribed_ids:
            return self._ignore("second transcript of a turn")
        self._transcribed_ids.append(item_id)
        if not text.strip():
            # Nothing was said after all, so no answer is due.
            if self._active is None:
                self._move_input("no answer due", Quiet())
            return []
        return [Send(UserTranscript(text, item_id))]

    def _interrupt(self, now: float, *, by_client: bool) -> list[Effect]:
        """Cut off every response that has not ended.

        The service stops its own response when it hears speech (`interrupt_response`), so we cancel only when
        the client interrupts; a response that is not audible yet is left alone then.
        """
        effects: list[Effect] = []
        for reply in self._replies.values():
            has_audio = self._playout.received_ms(reply.response_id) > 0
            if isinstance(reply.state, Cleared) or (by_client and not has_audio):
                continue
            if reply.announced:
                effects.append(Send(ClearPlayback(reply.response_id)))
            cleared = Cleared(
                released_ms=self._playout.released_ms(reply.response_id),
                played_ms=self._playout.played_ms(reply.response_id, now),
                until=now + HEARD_WAIT_S if reply.announced else now,
            )
            self._move_reply(reply, "cut off", cleared)
            if by_client and reply.response_id == self._active:
                effects.append(SendUpstream(response_cancel(reply.response_id)))
        self._playout.clear(now)
        self._speaking = None
        return effects

    def _playback(self, response_id: str, played_ms: int, now: float) -> list[Effect]:
        reply = self._replies.get(response_id)
        match reply:
            case Reply(state=Cleared(released_ms=released_ms)):
                self._client_acknowledges = True
                return self._heard(reply, min(played_ms, released_ms))
            case Reply(state=Draining()) if self._playout.is_released(response_id):
                self._client_acknowledges = True
                return self._played(reply, now)
            case _:
                return self._ignore("playback out of turn")

    # ------------------------------------------------------------------------------------ the agent's side

    def _response_created(self, response_id: str, now: float) -> list[Effect]:
        if response_id in self._replies or response_id in self._ended_ids:
            return self._ignore("response created twice")
        # Voice Live has one active response at a time: where one is left, its end was lost.
        effects = self._finish(self._active, now) if self._active is not None else []
        self._active = response_id
        self._replies[response_id] = Reply(response_id, now)
        return effects

    def _audio(self, response_id: str, item_id: str, pcm: bytes, now: float) -> list[Effect]:
        reply = self._generating(response_id)
        if reply is None or response_id != self._active:
            return self._ignore("late audio")
        if reply.item_id is None:
            reply.item_id = item_id
            self._playout.add_message(response_id, Status("agent_speaking", response_id))
            for text in reply.early_captions:
                self._playout.add_message(response_id, AgentTranscriptDelta(text, response_id))
        reply.last_event_at = now
        try:
            self._playout.add_audio(response_id, pcm)
        except PlayoutOverflowError:
            return [End(ErrorCode.UPSTREAM_PROTOCOL)]
        return []

    def _agent_transcript(
        self, event: service.AgentTranscriptDelta | service.AgentTranscriptDone, now: float
    ) -> list[Effect]:
        reply = self._replies.get(event.response_id)
        if reply is None:
            return self._ignore("late transcript")
        reply.last_event_at = now
        if isinstance(event, service.AgentTranscriptDone):
            reply.spoken_in_full = f"{reply.spoken_in_full} {event.text}".strip()
        elif isinstance(reply.state, Generating):
            reply.spoken += event.text
            if reply.item_id is None:
                # Captions travel with their audio, and the service sends text first.
                reply.early_captions.append(event.text)
            else:
                caption = AgentTranscriptDelta(event.text, event.response_id)
                self._playout.add_message(event.response_id, caption)
        return []

    def _response_done(self, response_id: str, status: str, calls_function: bool, now: float) -> list[Effect]:
        if response_id == self._active:
            self._active = None
        effects: list[Effect] = []
        if self._generating(response_id):
            effects += self._finish(response_id, now)
            if calls_function:
                self._move_input("answer requested", Committed(now))
            elif status != "cancelled" and response_id in self._ended_ids:
                effects += self._agent_silent()
        if self._active is None and self._request_wanted:
            effects += self._request_response()
            self._move_input("answer requested", Committed(now))
        return effects

    def _finish(self, response_id: str, now: float) -> list[Effect]:
        """Nothing more comes of this response: it plays to its end, or ends at once if there is no audio."""
        reply = self._generating(response_id)
        if reply is None:
            return []
        total_ms = self._playout.received_ms(response_id)
        if total_ms:
            self._playout.add_message(response_id, AgentAudioEnd(response_id, total_ms))
            self._move_reply(reply, "generated", Draining())
            return []
        self._end_reply(reply, "nothing to play")
        text = reply.written or reply.transcript
        if not text:
            return []
        self._last_activity_at = now
        self._move_input("agent began", Quiet())
        self._silent_turns = 0
        return [Send(AgentText(text, response_id))]

    def _played(self, reply: Reply, now: float) -> list[Effect]:
        self._last_activity_at = now
        self._end_reply(reply, "played")
        return [Send(AgentTranscript(reply.transcript, reply.response_id))]

    def _heard(self, reply: Reply, heard_ms: int, trigger: str = "heard known") -> list[Effect]:
        """What was heard of a response that was cut off is known: tell Voice Live once, and the client."""
        total_ms = self._playout.received_ms(reply.response_id)
        heard_ms = min(heard_ms, total_ms)
        part = heard_part(reply.transcript, reply.words, heard_ms, total_ms)
        self._end_reply(reply, trigger)
        effects: list[Effect] = []
        if reply.item_id is not None:
            effects.append(SendUpstream(truncate(reply.item_id, heard_ms)))
        if reply.item_id is not None or reply.transcript:
            message = AgentTranscript(
                reply.transcript,
                reply.response_id,
                interrupted=True,
                heard_text=part.text,
                heard_estimated=part.estimated or None,
            )
            effects.append(Send(message))
        return effects

    def _stalled(self, reply: Reply, now: float) -> list[Effect]:
        """Voice Live began a response and never ended it: it ends here, and is cancelled there."""
        self.ignored["response without end"] += 1
        self._active = None
        return [SendUpstream(response_cancel(reply.response_id)), *self._finish(reply.response_id, now)]

    def _agent_silent(self) -> list[Effect]:
        """A caller's turn stays without an answer: say so instead of waiting for ever."""
        if not isinstance(self._input, Committed):
            return []
        self._move_input("agent silent", Quiet())
        self._active = None
        self._silent_turns += 1
        if self._silent_turns >= MAX_SILENT_TURNS:
            return [End(ErrorCode.AGENT_SILENT)]
        return [Send(error_message(ErrorCode.AGENT_SILENT, fatal=False))]

    def _service_error(self, code: str) -> list[Effect]:
        match code:
            case "session_expired":
                return [End(ErrorCode.SESSION_EXPIRED)]
            case "conversation_already_has_active_response" if isinstance(self._input, Committed):
                # Our request met a response that the service had begun by itself: ask again after that one.
                self._request_wanted = True
                return []
            case _:
                return self._ignore("service error")

    # ----------------------------------------------------------------------------------------------- rules

    def _with_status(self, effects: list[Effect]) -> list[Effect]:
        """Tell the client what the call is doing when that changed; `agent_speaking` goes with its audio."""
        if not self._live:
            return effects
        status: StatusName
        if self._speaking is not None:
            status = "agent_speaking"
        elif isinstance(self._input, Speaking):
            status = "listening"
        elif isinstance(self._input, Committed):
            status = "processing"
        else:
            status = "ready"
        if status != self.status:
            self.status = status
            effects.append(Send(Status(status)))
        return effects

    def _move_input(self, trigger: str, to: InputState) -> None:
        if INPUT_TRANSITIONS[type(self._input)].get(trigger) is type(to):
            self._input = to

    def _move_reply(self, reply: Reply, trigger: str, to: ReplyState) -> None:
        if REPLY_TRANSITIONS[type(reply.state)].get(trigger) is not type(to):
            raise RuntimeError(f"a response cannot go from {reply.state} to {to}")
        reply.state = to

    def _end_reply(self, reply: Reply, trigger: str) -> None:
        self._move_reply(reply, trigger, Ended())
        del self._replies[reply.response_id]
        self._playout.forget([reply.response_id])
        self._ended_ids.append(reply.response_id)
        if self._speaking == reply.response_id:
            self._speaking = None

    def _generating(self, response_id: str) -> Reply | None:
        reply = self._replies.get(response_id)
        return reply if reply is not None and isinstance(reply.state, Generating) else None

    def _is_audible(self) -> bool:
        return any(
            not isinstance(reply.state, Cleared) and self._playout.received_ms(reply.response_id) > 0
            for reply in self._replies.values()
        )

    def _played_at(self, reply: Reply) -> float:
        if not self._playout.is_released(reply.response_id):
            return float("inf")
        wait_s = ACKNOWLEDGEMENT_WAIT_S if self._client_acknowledges else 0.0
        return self._playout.plays_until(reply.response_id) + wait_s

    def _stalled_at(self, reply: Reply) -> float:
        heard_at = self._playout.plays_until(reply.response_id)
        return max(reply.last_event_at, heard_at) + self._response_timeout_s

    def _silent_at(self, committed: Committed) -> float:
        return committed.since + self._response_timeout_s

    def _ignore(self, what: str) -> list[Effect]:
        self.ignored[what] += 1
        return []
