"""A whole call in virtual time: the conversation with its playout, and what both peers would have seen."""

from dataclasses import dataclass, field

from app.conversation import Conversation
from app.interruption import BY_SERVICE, InterruptionPolicy
from app.messages import (
    AgentTranscript,
    ClearPlayback,
    ClientMessage,
    PlaybackReport,
    ServerMessage,
    SessionStarted,
    Status,
)
from app.playout import Playout
from app.turns import Effect, End, Send, SendUpstream
from app.voicelive import events as service
from app.voicelive.session import ClientEvent

BYTES_PER_MS = 48


@dataclass
class VirtualCall:
    """Drives one Conversation; time moves only when told to. Audio of a response is its number, repeated."""

    lead_ms: int = 1000
    response_timeout_s: float = 15.0
    interruption: InterruptionPolicy = BY_SERVICE
    greeting: list[ClientEvent] = field(default_factory=list)
    now: float = 100.0
    is_lost: bool = False
    to_client: list[ServerMessage | bytes] = field(default_factory=list)
    sent_at: list[float] = field(default_factory=list)
    upstream: list[ClientEvent] = field(default_factory=list)
    ended: list[End] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.conversation = Conversation(
            Playout(self.lead_ms),
            greeting=self.greeting,
            response_timeout_s=self.response_timeout_s,
            interruption=self.interruption,
        )

    def start(self) -> None:
        self._carry_out(self.conversation.start("sess_1", 1740, self.now))

    def client(self, message: ClientMessage) -> None:
        self._carry_out(self.conversation.receive_client(message, self.now))

    def service(self, *events: service.ServerEvent) -> None:
        for event in events:
            self._carry_out(self.conversation.receive_upstream(event, self.now))

    def advance(self, seconds: float) -> None:
        """Let time pass, waking the conversation exactly when it asks to be woken."""
        until = self.now + seconds
        for _ in range(100_000):
            wake_at = self.conversation.next_wake_at()
            if wake_at > until:
                break
            self._move_clock(max(self.now, wake_at))
            self._carry_out(self.conversation.tick(self.now))
        else:
            raise AssertionError("the conversation asks to be woken without end")
        self._move_clock(until)
        self._carry_out(self.conversation.tick(self.now))

    def _move_clock(self, to: float) -> None:
        """The microphone is open all the time, so the session's audio clock moves along."""
        self.conversation.caller_audio_bytes += round((to - self.now) * 1000) * BYTES_PER_MS
        self.now = to

    def caller_starts(self, item_id: str) -> None:
        """The caller begins to speak now."""
        audio_clock_ms = self.conversation.caller_audio_bytes // BYTES_PER_MS
        self.service(service.SpeechStarted(item_id, audio_clock_ms - 300))

    def caller_stops(self, item_id: str, text: str) -> None:
        self.service(
            service.SpeechStopped(item_id),
            service.SpeechCommitted(item_id),
            service.CallerTranscript(item_id, text),
        )

    def client_is_lost_for(self, seconds: float) -> None:
        """The connection breaks and comes back; what is sent meanwhile reaches nobody."""
        self.conversation.client_lost(self.now)
        self.is_lost = True
        self.advance(seconds)
        self.is_lost = False
        self._to_client(SessionStarted("sess_1", 1740, resumed=True))
        self._carry_out(self.conversation.client_returned(self.now))

    def caller_says(self, item_id: str, text: str) -> None:
        self.caller_starts(item_id)
        self.caller_stops(item_id, text)

    def agent_speaks(self, response_id: str, text: str, ms: int) -> None:
        """A response as the service sends it: created, transcript, audio; not yet done."""
        self.service(
            service.ResponseCreated(response_id),
            service.AgentTranscriptDelta(response_id, text),
            service.AudioDelta(response_id, f"msg_{response_id}", speech(response_id, ms)),
        )

    def agent_finishes(self, response_id: str, text: str, status: str = "completed") -> None:
        self.service(
            service.AgentTranscriptDone(response_id, text),
            service.ResponseDone(response_id, status, calls_function=False),
        )

    def client_reports(self, response_id: str, played_ms: int) -> None:
        self.client(PlaybackReport(response_id, played_ms))

    # ------------------------------------------------------------------------------------ what was seen

    @property
    def messages(self) -> list[ServerMessage]:
        return [sent for sent in self.to_client if not isinstance(sent, bytes)]

    @property
    def statuses(self) -> list[str]:
        return [message.status for message in self.messages if isinstance(message, Status)]

    @property
    def agent_transcripts(self) -> list[AgentTranscript]:
        return [message for message in self.messages if isinstance(message, AgentTranscript)]

    @property
    def cleared(self) -> list[str]:
        return [message.response_id for message in self.messages if isinstance(message, ClearPlayback)]

    def upstream_types(self) -> list[str]:
        return [event["type"] for event in self.upstream]

    def heard_ms(self, response_id: str) -> int:
        """How much audio of this response was sent to the client."""
        mark = speech(response_id, 1)[:2]
        return sum(len(sent) for sent in self.to_client if isinstance(sent, bytes) and sent[:2] == mark) // (
            BYTES_PER_MS
        )

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(message):
                    self._to_client(message)
                case SendUpstream(event):
                    self.upstream.append(event)
                case End():
                    self.ended.append(effect)
        while (released := self.conversation.release(self.now)) is not None:
            self._to_client(released)

    def _to_client(self, sent: ServerMessage | bytes) -> None:
        if self.is_lost and isinstance(sent, Status):
            return
        self.to_client.append(sent)
        self.sent_at.append(self.now)


def speech(response_id: str, ms: int) -> bytes:
    """Audio that says which response it is of."""
    number = 1 + int("".join(filter(str.isdigit, response_id)) or 0)
    return number.to_bytes(2, "little") * (ms * BYTES_PER_MS // 2)
