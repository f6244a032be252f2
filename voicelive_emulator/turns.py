"""The caller's turns: from speech that was heard to an item with its words, and the answer to it.

Pure. Models of both kinds differ most here: in a cascade the words come first and the item shows
them; a native model's item comes at once, its response is announced, and the words follow after the
response has begun (all recorded).
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from voicelive_emulator.agents import Request
from voicelive_emulator.conversation import Conversation, MessageItem
from voicelive_emulator.effects import Effect, Send, Transcribe
from voicelive_emulator.events import ClientError, Event, Events
from voicelive_emulator.fillers import without_fillers
from voicelive_emulator.mcp_tools import McpTools
from voicelive_emulator.replies import Replies, ReplyRequest
from voicelive_emulator.response_requests import ResponseRequest, offered_tools, response_options
from voicelive_emulator.session_config import SessionConfig
from voicelive_emulator.session_fields import SemanticVad

_LANGUAGE: Final = "en-US"


@dataclass(frozen=True, slots=True)
class _Speaking:
    item_id: str
    audio_start_ms: int


@dataclass(slots=True)
class _Turn:
    """A committed turn while its words are being recognised."""

    item: MessageItem
    previous_item_id: str | None
    wants_answer: bool
    response_id: str | None = None
    """The response that waits for the words; only native models announce it before."""


class Turns:
    """Everything between the first sound of the caller and the answer's beginning."""

    def __init__(
        self,
        events: Events,
        config: SessionConfig,
        conversation: Conversation,
        replies: Replies,
        mcp: McpTools,
    ) -> None:
        self._events = events
        self._config = config
        self._conversation = conversation
        self._replies = replies
        self._mcp = mcp
        self._speaking: _Speaking | None = None
        self._waiting: deque[_Turn] = deque()
        self._held: list[Effect] = []

    @property
    def waiting(self) -> bool:
        """Whether words are still being recognised."""
        return bool(self._waiting)

    def start(self, audio_start_ms: int) -> list[Effect]:
        """The caller speaks; the id is that of the item which the turn will become."""
        self._speaking = _Speaking(self._events.new_id("item"), audio_start_ms)
        return [
            self._send(
                "input_audio_buffer.speech_started",
                audio_start_ms=audio_start_ms,
                item_id=self._speaking.item_id,
            )
        ]

    def stop(self, audio_end_ms: int) -> list[Effect]:
        """The turn is over. Without a start, the client has committed or cleared it before."""
        if self._speaking is None:
            return []
        speaking, self._speaking = self._speaking, None
        stopped = self._send(
            "input_audio_buffer.speech_stopped", audio_end_ms=audio_end_ms, item_id=speaking.item_id
        )
        detection = self._config.turn_detection
        wants_answer = detection is not None and detection.create_response
        audio_ms = audio_end_ms - speaking.audio_start_ms
        return [stopped, *self._commit(speaking.item_id, audio_ms, wants_answer)]

    def commit(self, audio_ms: float) -> list[Effect]:
        """The client ends the turn by hand. That starts no response."""
        item_id = self._speaking.item_id if self._speaking is not None else self._events.new_id("item")
        self._speaking = None
        return self._commit(item_id, audio_ms, wants_answer=False)

    def forget(self) -> None:
        """What was said since the last turn does not count."""
        self._speaking = None

    def expected_request(self, text: str) -> Request | None:
        """What the agent would be asked if the turn that goes on ended now; None if nothing, or not aloud."""
        detection = self._config.turn_detection
        answers = detection is not None and detection.create_response
        text = self._understood(text)
        if not (
            answers and text and self._speaking is not None and "audio" in self._config.get("modalities")
        ):
            return None
        try:
            offer = offered_tools(ResponseRequest(), self._config, self._mcp)
        except ClientError:
            return None
        return self._replies.expected(ReplyRequest(offer=offer), text)

    def transcribed(self, text: str) -> list[Effect]:
        """The words of the oldest turn that waits; empty where there are none.

        Sound without words becomes an item but is not answered: a cough is no turn.
        """
        turn = self._waiting.popleft()
        text = turn.item.understood = self._understood(text)
        if self._config.transcribes:
            turn.item.parts[0]["transcript"] = text
        if self._config.profile.transcript_first:
            effects = [*self._words_of(turn, text), *self._add_item(turn)]
            if turn.wants_answer and text and self._speaking is None:
                answered, response_id = self._answer()
                effects += answered
                effects += self._replies.launch(response_id) if response_id is not None else []
            return effects
        if turn.response_id is None or not self._replies.is_going_on(turn.response_id):
            return self._words_of(turn, text)
        self._held += self._words_of(turn, text)
        if text:
            return self._replies.launch(turn.response_id)
        return [*self.release(), *self._replies.finish(turn.response_id)]

    def failed(self) -> list[Effect]:
        """The words of the oldest turn that waits cannot be found."""
        turn = self._waiting.popleft()
        error = {
            "type": "server_error",
            "code": "transcription_failed",
            "message": "The audio could not be transcribed.",
            "param": None,
        }
        effects: list[Effect] = [
            self._send(
                "conversation.item.input_audio_transcription.failed",
                item_id=turn.item.item_id,
                content_index=0,
                error=error,
            )
        ]
        if self._config.profile.transcript_first:
            effects += self._add_item(turn)
        if turn.response_id is not None:
            effects += self._replies.fail(turn.response_id, "transcription_failed", "No words were found.")
        return effects

    def release(self) -> list[Effect]:
        """Return the words that were held back until a native model's response has begun."""
        held, self._held = self._held, []
        return held

    def _understood(self, text: str) -> str:
        detection = self._config.turn_detection
        removes = isinstance(detection, SemanticVad) and detection.remove_filler_words
        return without_fillers(text) if removes else text

    def _commit(self, item_id: str, audio_ms: float, wants_answer: bool) -> list[Effect]:
        previous_id = self._waiting[-1].item.item_id if self._waiting else self._conversation.last_id
        part: Event = {"type": "input_audio", "transcript": None}
        item = MessageItem(item_id, "user", [part], audio_ms=audio_ms)
        turn = _Turn(item, previous_id, wants_answer)
        effects: list[Effect] = [
            self._send("input_audio_buffer.committed", previous_item_id=previous_id, item_id=item_id)
        ]
        if not self._config.profile.transcript_first:
            effects += self._add_item(turn)
            if wants_answer:
                answered, turn.response_id = self._answer()
                effects += answered
        self._waiting.append(turn)
        return [*effects, Transcribe(item_id)]

    def _add_item(self, turn: _Turn) -> list[Effect]:
        self._conversation.add(turn.item)
        shown = {"previous_item_id": turn.previous_item_id, "item": turn.item.echo()}
        created = self._send("conversation.item.created", **shown)
        if self._config.profile.transcript_first:
            return [created]
        return [created, self._send("conversation.item.done", **shown)]

    def _words_of(self, turn: _Turn, text: str) -> list[Effect]:
        if not self._config.transcribes:
            return []
        name = "conversation.item.input_audio_transcription"
        about = {"item_id": turn.item.item_id, "content_index": 0}
        if self._config.profile.transcript_first:
            return [self._send(f"{name}.completed", **about, transcript=text, language=_LANGUAGE)]
        completed = self._send(f"{name}.completed", **about, transcript=text)
        return [self._send(f"{name}.delta", **about, delta=text), completed] if text else [completed]

    def _answer(self) -> tuple[list[Effect], str | None]:
        request = ResponseRequest()
        try:
            offer = offered_tools(request, self._config, self._mcp)
            options = response_options(request, self._config)
            response_id, effects = self._replies.create(options, ReplyRequest(offer=offer))
        except ClientError as error:
            return [Send(self._events.error(error, None))], None
        return effects, response_id

    def _send(self, event_type: str, **fields: object) -> Send:
        return Send(self._events.event(event_type, **fields))
