"""Who speaks; barge-in; what was heard.

Pure: no await, no clock, no socket. Every method takes the time (seconds of one monotonic clock) and returns
the effects in the order in which the shell must carry them out. Nothing that a peer can send raises: what
comes out of turn is ignored and counted in `ignored`.

The states and their transitions are tables in `turns`; their coupling is in this one place.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from app.errors import ErrorCode
from app.interruption import BY_SERVICE, HOLD_LIMIT_S, Hold, InterruptionPolicy, is_acknowledgement
from app.latest import Latest
from app.messages import (
    BYTES_PER_MS,
    AgentText,
    AgentTranscript,
    AgentTranscriptDelta,
    BargeIn,
    CallerAudio,
    ClientMessage,
    HangUp,
    HoldPlayback,
    Ping,
    PlaybackReport,
    Pong,
    ResumePlayback,
    SessionStarted,
    Status,
    StatusName,
    TypedText,
    UserTranscript,
    UserTranscriptDelta,
    error_message,
)
from app.playout import NEVER, HoldReason, Outgoing, Playout
from app.replies import Replies
from app.turns import (
    INPUT_TRANSITIONS,
    Committed,
    Effect,
    End,
    InputState,
    Quiet,
    Send,
    SendUpstream,
    Speaking,
)
from app.voicelive import events as service
from app.voicelive.session import ClientEvent, Role, remembered, response_create, typed_message

CANCEL_WAIT_S: Final = 2.0
"""How long the end of an active response is awaited before the next one is asked for all the same."""

MAX_REMEMBERED: Final = 200
MAX_SILENT_TURNS: Final = 3
MAX_EARLY_TEXTS: Final = 10
MAX_TRANSCRIBED_IDS: Final = 64


class Conversation:
    """The conversation of one call."""

    def __init__(
        self,
        playout: Playout,
        *,
        greeting: Sequence[ClientEvent] = (),
        response_timeout_s: float = 15.0,
        interruption: InterruptionPolicy = BY_SERVICE,
    ) -> None:
        self.ignored: Counter[str] = Counter()
        self.caller_audio_bytes = 0
        """How much caller audio has gone to this Voice Live session. The shell counts it."""
        self.status: StatusName | None = None

        self._playout = playout
        self._greeting = list(greeting)
        self._response_timeout_s = response_timeout_s
        self._input: InputState = Quiet()
        self._replies = Replies(playout, response_timeout_s, self.ignored)
        self._request_wanted_since: float | None = None
        self._live = False
        self._caller_active_at = 0.0
        self._early_texts: list[str] = []
        self._transcribed_ids: Latest[str] = Latest(MAX_TRANSCRIBED_IDS)
        self._silent_turns = 0
        self._history: Latest[tuple[Role, str]] = Latest(MAX_REMEMBERED)
        self._interruption = interruption
        self._hold: Hold | None = None
        self._due_at: float | None = None
        """When `tick` has something to do, or a time before; None: to be found out.

        Agent speech that comes or goes out only puts it off, so that it is not looked for each time.
        """

    # -------------------------------------------------------------------------------------- what happens

    def start(
        self, session_id: str, max_duration_s: int, now: float, resume_token: str | None = None
    ) -> list[Effect]:
        """The upstream session is configured: the call is live, and the agent greets once."""
        self._live = True
        self._caller_active_at = now
        effects: list[Effect] = [Send(SessionStarted(session_id, max_duration_s, resume_token))]
        effects += [SendUpstream(event) for event in self._greeting]
        self._greeting.clear()
        for text in self._early_texts:
            effects += self._typed(text, now)
        self._early_texts.clear()
        return self._with_status(effects)

    def client_lost(self, now: float) -> None:
        """The client's connection broke: what it had not played yet waits for its return."""
        self._playout.take_back(now)
        self._playout.hold(HoldReason.CLIENT_LOST, now)
        self._due_at = None
        head = self._playout.head()
        if self._replies.speaking is not None and head is not None:
            self._replies.speaking = head

    def client_returned(self, now: float) -> list[Effect]:
        """The client is back: the agent goes on where it was, and the client is told where things stand."""
        self._playout.resume(HoldReason.CLIENT_LOST, now)
        self._due_at = None
        return [Send(Status(self.status, self._replies.speaking))] if self.status else []

    def upstream_lost(self, now: float) -> list[Effect]:
        """The upstream session is gone and another will take over: what was generated is still played."""
        self._request_wanted_since = None
        effects = self._replies.finish(self._replies.active, now) if self._replies.active else []
        self._replies.active = None
        if self._hold is not None:
            effects += self._false_alarm(now)
        self._move_input("upstream lost", Quiet())
        return self._with_status(effects)

    def upstream_restored(self, now: float, *, replays: bool) -> list[Effect]:
        """Another upstream session is configured. `replays` tells it what was said so far."""
        effects: list[Effect] = []
        if replays:
            effects += [SendUpstream(remembered(role, text)) for role, text in self._history if text]
        if isinstance(self._input, Committed):
            self._move_input("answer requested", Committed(now))
            effects += self._request_response(now)
        return self._with_status(effects)

    @property
    def has_begun(self) -> bool:
        """Whether anything was said that a fresh upstream session would not know."""
        return bool(self._history) or bool(self._replies)

    @property
    def is_in_pause(self) -> bool:
        """Whether nobody speaks and nobody waits for an answer."""
        return isinstance(self._input, Quiet) and not self._replies

    def receive_client(self, message: ClientMessage, now: float) -> list[Effect]:
        """A message of the client."""
        match message:
            case Ping():
                return [Send(Pong())]
            case HangUp():
                return [End(None)]
            case TypedText(text) if self._live:
                self._caller_active_at = now
                return self._with_status(
                    [*self._interrupt(now, by_client=True, cancel=True), *self._typed(text, now)]
                )
            case TypedText(text) if len(self._early_texts) < MAX_EARLY_TEXTS:
                self._early_texts.append(text)
                return []
            case BargeIn() if self._live and self._replies.is_audible():
                self._caller_active_at = now
                return self._with_status(self._interrupt(now, by_client=True, cancel=True))
            case PlaybackReport(response_id, played_ms):
                return self._with_status(self._replies.reported(response_id, played_ms, now))
            case CallerAudio() | TypedText() | BargeIn():
                return self._ignore("client message out of turn")

    def receive_upstream(self, event: service.ServerEvent, now: float) -> list[Effect]:
        """An event of Voice Live, after `start`."""
        # Most events are these two, and neither changes the status.
        if isinstance(event, service.AudioDelta):
            return self._replies.audio(event, now)
        if isinstance(event, service.AgentTranscriptDelta):
            return self._replies.transcript_delta(event, now)
        match event:
            case service.SpeechStarted(item_id, audio_start_ms):
                self._caller_active_at = now
                effects = self._speech_started(audio_start_ms, now)
                self._move_input("speech started", Speaking(item_id))
            case service.SpeechStopped() | service.SpeechCommitted():
                effects = []
                if isinstance(self._input, Speaking):
                    self._caller_active_at = now
                    self._move_input("speech stopped", Committed(now))
            case service.CallerTranscriptDelta(item_id, text):
                effects = [Send(UserTranscriptDelta(text, item_id))] if text else []
            case service.CallerTranscript(item_id, text):
                effects = self._caller_transcript(item_id, text, now)
            case service.CallerTranscriptFailed(item_id):
                effects = self._caller_transcript_failed(item_id, now)
            case service.ResponseCreated(response_id):
                effects = self._replies.created(response_id, now)
            case service.AgentTranscriptDone():
                effects = self._replies.transcript(event, now)
            case service.AgentTextDelta():
                effects = self._replies.text(event, now)
            case service.WordTimestamp():
                effects = self._replies.word(event)
            case service.ResponseDone():
                effects = self._response_done(event, now)
            case service.ServiceError(code):
                effects = self._service_error(code, now)
            case _:
                effects = self._ignore("event without effect")
        return self._with_status(effects)

    def tick(self, now: float) -> list[Effect]:
        """Time has passed: responses are played to their end, waits run out."""
        effects: list[Effect] = self._watch_hold(self._hold, now) if self._hold else []
        effects += self._replies.tick(now)
        effects += self._wanted_request(now)
        if isinstance(self._input, Committed) and not self._replies and now >= self._silent_at(self._input):
            effects += self._agent_silent()
        return self._with_status(effects)

    def release(self, now: float) -> Outgoing | None:
        """The next audio frame or in-order message that may go to the client now, or None."""
        outgoing = self._playout.release(now)
        if outgoing is None or isinstance(outgoing, bytes):
            return outgoing
        if not isinstance(outgoing, AgentTranscriptDelta):
            self._due_at = None
        if isinstance(outgoing, Status) and outgoing.response_id is not None:
            self._replies.announced(outgoing.response_id)
            self._agent_began()
            self.status = "agent_speaking"
        return outgoing

    def next_wake_at(self) -> float:
        """When `tick` or `release` must be called at the latest if nothing happens before."""
        if self._due_at is None:
            self._due_at = self._next_due_at()
        return min(self._due_at, self._playout.next_release_at())

    def _next_due_at(self) -> float:
        at = self._replies.next_due_at()
        if isinstance(self._input, Committed) and not self._replies:
            at = min(at, self._silent_at(self._input))
        if self._request_wanted_since is not None:
            at = min(at, self._request_wanted_since + CANCEL_WAIT_S)
        if self._hold is not None:
            at = min(at, self._hold.decide_at, self._hold.until)
        return at

    def finish(self, now: float) -> list[Effect]:
        """The call ends: what is still playing ends here, with what was heard of it so far."""
        return self._replies.close(now)

    def active_at(self, now: float) -> float:
        """When anybody last spoke or typed: `now` while the caller speaks or a response is under way."""
        if self._replies:
            return now
        return max(self.caller_active_at(now), self._replies.last_ended_at)

    def caller_active_at(self, now: float) -> float:
        """When the caller last spoke or typed: `now` while the caller speaks."""
        return now if isinstance(self._input, Speaking) else self._caller_active_at

    # ------------------------------------------------------------------------------------ the caller's side

    @property
    def _audio_clock_ms(self) -> int:
        """The clock of the Voice Live session, which stands still while no audio reaches it."""
        return self.caller_audio_bytes // BYTES_PER_MS

    def _typed(self, text: str, now: float) -> list[Effect]:
        self._move_input("typed", Committed(now))
        self._history.append(("user", text))
        return [SendUpstream(typed_message(text)), *self._request_response(now)]

    def _request_response(self, now: float) -> list[Effect]:
        """Voice Live refuses a request while a response is active, so then it waits for the end of that."""
        if self._replies.active is not None:
            self._request_wanted_since = now
            return []
        self._request_wanted_since = None
        self._move_input("answer requested", Committed(now))
        return [SendUpstream(response_create())]

    def _caller_transcript(self, item_id: str, text: str, now: float) -> list[Effect]:
        if item_id in self._transcribed_ids:
            return self._ignore("second transcript of a turn")
        self._transcribed_ids.append(item_id)
        said: list[Effect] = [Send(UserTranscript(text, item_id))] if text.strip() else []
        if self._hold is not None and is_acknowledgement(text):
            return [*said, *self._false_alarm(now)]
        if not said:
            # Nothing was said after all, so no answer is due.
            if self._replies.active is None:
                self._move_input("no answer due", Quiet())
            return []
        if not self._interruption.by_gateway:
            return said
        interrupted = self._interrupt(now, by_client=False, cancel=True) if self._hold else []
        return [*said, *interrupted, *self._request_response(now)]

    def _caller_transcript_failed(self, item_id: str, now: float) -> list[Effect]:
        if item_id in self._transcribed_ids:
            return self._ignore("second transcript of a turn")
        self._transcribed_ids.append(item_id)
        if self._hold is not None:
            return self._false_alarm(now)
        return self._request_response(now) if self._interruption.by_gateway else []

    def _speech_started(self, audio_start_ms: int, now: float) -> list[Effect]:
        """Speech cuts the agent off at once, or holds it until it is clear that it is an interruption."""
        if not self._interruption.by_gateway:
            return self._interrupt(now, by_client=False, cancel=False)
        if self._hold is not None or not any(self._replies.uncleared()):
            return []
        speech_from_ms = audio_start_ms + self._interruption.prefix_padding_ms
        missing_ms = self._interruption.missing_ms(speech_from_ms, self._audio_clock_ms)
        self._hold = Hold(speech_from_ms, now + max(0, missing_ms) / 1000, now + HOLD_LIMIT_S)
        self._playout.hold(HoldReason.CALLER_SOUND, now)
        self._replies.speaking = None
        return [
            Send(HoldPlayback(reply.response_id)) for reply in self._replies.uncleared() if reply.announced
        ]

    def _watch_hold(self, hold: Hold, now: float) -> list[Effect]:
        if now >= hold.until:
            return self._false_alarm(now)
        if now < hold.decide_at:
            return []
        missing_ms = self._interruption.missing_ms(hold.speech_from_ms, self._audio_clock_ms)
        if not isinstance(self._input, Speaking):
            # The caller has said less than that; the transcript decides.
            self._hold = replace(hold, decide_at=NEVER)
            return []
        if missing_ms > 0:
            self._hold = replace(hold, decide_at=now + missing_ms / 1000)
            return []
        return self._interrupt(now, by_client=False, cancel=True)

    def _false_alarm(self, now: float) -> list[Effect]:
        """The agent goes on where it was held; the caller's sound expects no answer."""
        self._hold = None
        self._playout.resume(HoldReason.CALLER_SOUND, now)
        self._move_input("no answer due", Quiet())
        resumed = [reply.response_id for reply in self._replies.uncleared() if reply.announced]
        if not resumed:
            return []
        # What was announced last is what goes on.
        self._replies.speaking = resumed[-1]
        self.status = "agent_speaking"
        return [*(Send(ResumePlayback(r)) for r in resumed), Send(Status("agent_speaking", resumed[-1]))]

    def _interrupt(self, now: float, *, by_client: bool, cancel: bool) -> list[Effect]:
        """Cut off the agent. What a client cannot hear yet it does not interrupt.

        With `interrupt_response` the service stops its own response when it hears speech, so we `cancel` only
        when the client or our own policy interrupts.
        """
        self._hold = None
        effects = self._replies.cut_off(now, only_audible=by_client, cancel=cancel)
        self._playout.resume(HoldReason.CALLER_SOUND, now)
        return effects

    # ------------------------------------------------------------------------------------ the agent's side

    def _response_done(self, event: service.ResponseDone, now: float) -> list[Effect]:
        if event.response_id == self._replies.active:
            self._replies.active = None
        effects: list[Effect] = []
        if self._replies.is_generating(event.response_id):
            written = self._replies.finish(event.response_id, now)
            effects += written
            if written:
                self._agent_began()
            elif event.calls_function:
                self._move_input("answer requested", Committed(now))
            elif event.status != "cancelled" and self._replies.has_ended(event.response_id):
                effects += self._agent_silent()
        return [*effects, *self._wanted_request(now)]

    def _wanted_request(self, now: float) -> list[Effect]:
        """The request that waited for the end of a response, once that has come or does not come."""
        since = self._request_wanted_since
        if since is None or (self._replies.active is not None and now < since + CANCEL_WAIT_S):
            return []
        self._replies.active = None
        return self._request_response(now)

    def _agent_began(self) -> None:
        self._silent_turns = 0
        self._move_input("agent began", Quiet())

    def _agent_silent(self) -> list[Effect]:
        """A caller's turn stays without an answer: say so instead of waiting for ever."""
        if not isinstance(self._input, Committed):
            return []
        self._move_input("agent silent", Quiet())
        self._replies.active = None
        self._request_wanted_since = None
        self._silent_turns += 1
        if self._silent_turns >= MAX_SILENT_TURNS:
            return [End(ErrorCode.AGENT_SILENT)]
        return [Send(error_message(ErrorCode.AGENT_SILENT, fatal=False))]

    def _service_error(self, code: str, now: float) -> list[Effect]:
        match code:
            case "session_expired":
                return [End(ErrorCode.SESSION_EXPIRED)]
            case "conversation_already_has_active_response" if isinstance(self._input, Committed):
                # Our request met a response that the service had begun by itself: ask again after that one.
                self._request_wanted_since = now
                return []
            case _:
                return self._ignore("service error")

    # ----------------------------------------------------------------------------------------------- rules

    def _with_status(self, effects: list[Effect]) -> list[Effect]:
        """Tell the client what the call is doing when that changed; `agent_speaking` goes with its audio."""
        self._due_at = None
        if effects:
            self._remember(effects)
        if not self._live:
            return effects
        status: StatusName
        if self._replies.speaking is not None:
            status = "agent_speaking"
        elif isinstance(self._input, Speaking):
            status = "listening"
        elif isinstance(self._input, Committed) or self._request_wanted_since is not None:
            status = "processing"
        else:
            status = "ready"
        if status != self.status:
            self.status = status
            effects.append(Send(Status(status)))
        return effects

    def _remember(self, effects: list[Effect]) -> None:
        """Keep what was said, as far as it was heard."""
        for effect in effects:
            match effect:
                case Send(UserTranscript(text=text)):
                    self._history.append(("user", text))
                case Send(AgentTranscript(heard_text=str(heard))):
                    self._history.append(("assistant", heard))
                case Send(AgentTranscript(text=text) | AgentText(text=text)):
                    self._history.append(("assistant", text))
                case _:
                    pass

    def _move_input(self, trigger: str, to: InputState) -> None:
        if INPUT_TRANSITIONS[type(self._input)].get(trigger) is type(to):
            self._input = to

    def _silent_at(self, committed: Committed) -> float:
        return committed.since + self._response_timeout_s

    def _ignore(self, what: str) -> list[Effect]:
        self.ignored[what] += 1
        return []
