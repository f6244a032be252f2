"""The agent's responses, from the first event to what the caller heard of them. Pure.

Voice Live generates one response at a time, but one may still be playing while the next is generated. The
order in which they play, and what waits, is `playout`'s; what a response is and how it ends is decided here.
"""

from collections import Counter
from typing import Final

from app.errors import ErrorCode
from app.heard import SpokenWord, heard_part
from app.latest import Latest
from app.messages import (
    AgentAudioEnd,
    AgentText,
    AgentTranscript,
    AgentTranscriptDelta,
    ClearPlayback,
    Status,
)
from app.playout import NEVER, Playout, PlayoutOverflowError
from app.turns import (
    REPLY_TRANSITIONS,
    Cleared,
    Draining,
    Effect,
    End,
    Ended,
    Generating,
    Reply,
    ReplyState,
    Send,
    SendUpstream,
)
from app.voicelive import events as service
from app.voicelive.session import response_cancel, truncate

HEARD_WAIT_S: Final = 0.3
"""How long after `clear_playback` the client's `playback` is awaited."""

ACKNOWLEDGEMENT_WAIT_S: Final = 1.0
"""How long after the play clock a client that has acknowledged before may still report the end."""

MAX_ENDED_IDS: Final = 64


class Replies:
    """The responses of one call that have not ended for the caller."""

    def __init__(self, playout: Playout, response_timeout_s: float, ignored: Counter[str]) -> None:
        self.active: str | None = None
        """The response that Voice Live generates, as far as we know."""
        self.speaking: str | None = None
        """The response that the caller hears, or None while none is to be heard."""
        self.last_ended_at = 0.0

        self._playout = playout
        self._response_timeout_s = response_timeout_s
        self._ignored = ignored
        self._replies: dict[str, Reply] = {}
        self._ended_ids: Latest[str] = Latest(MAX_ENDED_IDS)
        self._client_acknowledges = False

    def __bool__(self) -> bool:
        """Whether any response has not ended."""
        return bool(self._replies)

    def uncleared(self) -> list[Reply]:
        """The responses that have neither ended nor been cut off, in the order in which they play."""
        return [reply for reply in self._replies.values() if not isinstance(reply.state, Cleared)]

    def is_audible(self) -> bool:
        """Whether there is a response with audio to interrupt."""
        return any(self._playout.received_ms(reply.response_id) > 0 for reply in self.uncleared())

    def is_generating(self, response_id: str) -> bool:
        """Whether this response is still being generated and was not cut off."""
        return self._generating(response_id) is not None

    def has_ended(self, response_id: str) -> bool:
        """Whether this response has ended for the caller."""
        return response_id in self._ended_ids

    # ---------------------------------------------------------------------------------- from Voice Live

    def created(self, response_id: str, now: float) -> list[Effect]:
        """A response begins."""
        if response_id in self._replies or response_id in self._ended_ids:
            return self._ignore("response created twice")
        # Voice Live has one active response at a time: where one is left, its end was lost.
        effects = self.finish(self.active, now) if self.active is not None else []
        self.active = response_id
        self._replies[response_id] = Reply(response_id, now)
        return effects

    def audio(self, event: service.AudioDelta, now: float) -> list[Effect]:
        """Audio of the response that is being generated; of any other it comes too late."""
        reply = self._replies.get(event.response_id)
        if reply is None or event.response_id != self.active or not isinstance(reply.state, Generating):
            return self._ignore("late audio")
        if reply.item_id is None:
            reply.item_id = event.item_id
            self._playout.add_message(event.response_id, Status("agent_speaking", event.response_id))
            for text in reply.early_captions:
                self._caption(reply, text)
        reply.last_event_at = now
        try:
            self._playout.add_audio(event.response_id, event.pcm)
        except PlayoutOverflowError:
            return [End(ErrorCode.UPSTREAM_PROTOCOL)]
        return []

    def transcript_delta(self, event: service.AgentTranscriptDelta, now: float) -> list[Effect]:
        """Part of what the agent says."""
        reply = self._replies.get(event.response_id)
        if reply is None:
            return self._ignore("late transcript")
        reply.last_event_at = now
        if isinstance(reply.state, Generating):
            reply.spoken_so_far.append(event.text)
            if reply.item_id is None:
                # Captions travel with their audio, and the service sends text first.
                reply.early_captions.append(event.text)
            else:
                self._caption(reply, event.text)
        return []

    def transcript(self, event: service.AgentTranscriptDone, now: float) -> list[Effect]:
        """What the agent says in full."""
        reply = self._replies.get(event.response_id)
        if reply is None:
            return self._ignore("late transcript")
        reply.last_event_at = now
        reply.spoken_in_full = f"{reply.spoken_in_full} {event.text}".strip()
        return []

    def text(self, event: service.AgentTextDelta, now: float) -> list[Effect]:
        """Part of a text-only response."""
        reply = self._generating(event.response_id)
        if reply is None:
            return self._ignore("late text")
        reply.last_event_at = now
        reply.written += event.text
        return []

    def word(self, event: service.WordTimestamp) -> list[Effect]:
        """Where a word is in the audio. It may come after the response was cut off."""
        reply = self._replies.get(event.response_id)
        if reply is None:
            return self._ignore("late word")
        reply.words.append(SpokenWord(event.text, event.offset_ms, event.duration_ms))
        return []

    def finish(self, response_id: str, now: float) -> list[Effect]:
        """Nothing more comes of this response: it plays to its end, or ends at once if there is no audio.

        The effects are what it said in writing, if anything.
        """
        reply = self._generating(response_id)
        if reply is None:
            return []
        total_ms = self._playout.received_ms(response_id)
        if total_ms:
            self._playout.add_message(response_id, AgentAudioEnd(response_id, total_ms))
            self._move(reply, "generated", Draining())
            return []
        self._end(reply, "nothing to play", now)
        text = reply.written or reply.transcript
        return [Send(AgentText(text, response_id))] if text else []

    # --------------------------------------------------------------------------------- towards the caller

    def announced(self, response_id: str) -> None:
        """The client has been told that this response speaks."""
        self._replies[response_id].announced = True
        self.speaking = response_id

    def cut_off(self, now: float, *, only_audible: bool, cancel: bool) -> list[Effect]:
        """Cut off every response, or those with audio only; `cancel` the one that is still generated."""
        effects: list[Effect] = []
        for reply in self.uncleared():
            if only_audible and self._playout.received_ms(reply.response_id) == 0:
                continue
            if reply.announced:
                effects.append(Send(ClearPlayback(reply.response_id)))
            cleared = Cleared(
                released_ms=self._playout.released_ms(reply.response_id),
                played_ms=self._playout.played_ms(reply.response_id, now),
                until=now + HEARD_WAIT_S if reply.announced else now,
            )
            self._move(reply, "cut off", cleared)
            if cancel and reply.response_id == self.active:
                effects.append(SendUpstream(response_cancel(reply.response_id)))
        self._playout.clear(now)
        self.speaking = None
        return effects

    def reported(self, response_id: str, played_ms: int, now: float) -> list[Effect]:
        """The client says how much of a response was heard."""
        reply = self._replies.get(response_id)
        match reply:
            case Reply(state=Cleared(released_ms=released_ms)):
                self._client_acknowledges = True
                return self._heard(reply, min(played_ms, released_ms), "heard known", now)
            case Reply(state=Draining()) if self._playout.is_released(response_id):
                self._client_acknowledges = True
                return self._played(reply, now)
            case _:
                return self._ignore("playback out of turn")

    # ------------------------------------------------------------------------------------- as time passes

    def tick(self, now: float) -> list[Effect]:
        """Responses are played to their end, and waits run out."""
        effects: list[Effect] = []
        for reply in list(self._replies.values()):
            if now < self._due_at(reply):
                continue
            match reply.state:
                case Cleared(played_ms=played_ms):
                    effects += self._heard(reply, played_ms, "heard known", now)
                case Draining():
                    effects += self._played(reply, now)
                case _:
                    effects += self._stalled(reply, now)
        return effects

    def next_due_at(self) -> float:
        """When `tick` will have something to do; NEVER where that depends on something else."""
        due_at = NEVER
        for reply in self._replies.values():
            if (at := self._due_at(reply)) < due_at:
                due_at = at
        return due_at

    def close(self, now: float) -> list[Effect]:
        """The call ends: what is still playing ends here, with what was heard of it so far."""
        effects: list[Effect] = []
        for reply in list(self._replies.values()):
            if isinstance(reply.state, Cleared):
                effects += self._heard(reply, reply.state.played_ms, "heard known", now)
            elif reply.announced:
                heard_ms = self._playout.played_ms(reply.response_id, now)
                effects += self._heard(reply, heard_ms, "call ended", now)
        return effects

    # ----------------------------------------------------------------------------------------------- rules

    def _played(self, reply: Reply, now: float) -> list[Effect]:
        self._end(reply, "played", now)
        return [Send(AgentTranscript(reply.transcript, reply.response_id))]

    def _heard(self, reply: Reply, heard_ms: int, trigger: str, now: float) -> list[Effect]:
        """What was heard of a response that was cut off is known: tell Voice Live once, and the client."""
        total_ms = self._playout.received_ms(reply.response_id)
        heard_ms = min(heard_ms, total_ms)
        part = heard_part(reply.transcript, reply.words, heard_ms, total_ms)
        self._end(reply, trigger, now)
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
        self._ignored["response without end"] += 1
        self.active = None
        return [SendUpstream(response_cancel(reply.response_id)), *self.finish(reply.response_id, now)]

    def _due_at(self, reply: Reply) -> float:
        match reply.state:
            case Generating():
                return self._stalled_at(reply)
            case Draining():
                return self._played_at(reply)
            case Cleared(until=until):
                return until
            case Ended():
                return NEVER

    def _played_at(self, reply: Reply) -> float:
        if not self._playout.is_released(reply.response_id):
            return NEVER
        wait_s = ACKNOWLEDGEMENT_WAIT_S if self._client_acknowledges else 0.0
        return self._playout.plays_until(reply.response_id) + wait_s

    def _stalled_at(self, reply: Reply) -> float:
        heard_at = self._playout.plays_until(reply.response_id)
        since = max(heard_at, reply.last_event_at)
        return since + self._response_timeout_s

    def _caption(self, reply: Reply, text: str) -> None:
        caption = AgentTranscriptDelta(text, reply.response_id, reply.captions)
        reply.captions += 1
        self._playout.add_message(reply.response_id, caption)

    def _generating(self, response_id: str) -> Reply | None:
        reply = self._replies.get(response_id)
        return reply if reply is not None and isinstance(reply.state, Generating) else None

    def _move(self, reply: Reply, trigger: str, to: ReplyState) -> None:
        if REPLY_TRANSITIONS[type(reply.state)].get(trigger) is not type(to):
            raise RuntimeError(f"a response cannot go from {reply.state} to {to}")
        reply.state = to

    def _end(self, reply: Reply, trigger: str, now: float) -> None:
        self._move(reply, trigger, Ended())
        self.last_ended_at = now
        del self._replies[reply.response_id]
        self._playout.forget([reply.response_id])
        self._ended_ids.append(reply.response_id)
        if self.speaking == reply.response_id:
            self.speaking = None

    def _ignore(self, what: str) -> list[Effect]:
        self._ignored[what] += 1
        return []
