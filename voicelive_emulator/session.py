"""One Voice Live session: what it answers to client events, to the caller's speech, and to its models.

Pure: no await, no clock, no socket, no model. Every method takes one event, and the time in seconds
where it matters, and returns the effects in the order in which the shell must carry them out.
Nothing that a client sends raises.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from voicelive_emulator.agents import Entry, Request
from voicelive_emulator.client_events import (
    InputTextDelta,
    InputTextDone,
    ItemCreate,
    ItemReference,
    ItemTruncate,
    ResponseCancel,
    ResponseCreate,
    SessionUpdate,
)
from voicelive_emulator.conversation import ROOT, Conversation, Item, MessageItem, entries
from voicelive_emulator.effects import Close, ConfigureHearing, Effect, ForgetAudio, Hear, Send
from voicelive_emulator.events import ClientError, Event, Events, check_size, event_id_of
from voicelive_emulator.item_requests import decoded_audio, requested_item
from voicelive_emulator.mcp_items import McpApprovalResponseItem
from voicelive_emulator.mcp_tools import McpTools
from voicelive_emulator.replies import Replies, ReplyRequest
from voicelive_emulator.response_requests import (
    offered_tools,
    requested_items,
    requested_response,
    response_options,
    verbatim_text,
)
from voicelive_emulator.session_config import SessionConfig
from voicelive_emulator.turns import Turns
from voicelive_emulator.validation import validate

if TYPE_CHECKING:
    from voicelive_emulator.synthesis import Word

_UNAVAILABLE: Final = {
    "session.avatar.connect": "Avatars are not available here.",
    "output_audio_buffer.clear": "There is no output buffer without an avatar.",
    "mcp_approval_response": "Approve with conversation.item.create.",
    "transcription_session.update": "A session transcribes through session.update.",
    "input_audio.turn.start": "Turns are found in the input audio buffer.",
    "input_audio.turn.append": "Turns are found in the input audio buffer.",
    "input_audio.turn.end": "Turns are found in the input audio buffer.",
    "input_audio.turn.cancel": "Turns are found in the input audio buffer.",
    "input_audio.clear": "Use input_audio_buffer.clear.",
}
_MOST_TYPED_TEXTS: Final = 16
_LONGEST_TYPED_TEXT: Final = 100_000


class Session:
    """A session from `open` to the end of its socket."""

    def __init__(self, events: Events, config: SessionConfig, earlier: Sequence[Entry] = ()) -> None:
        """`earlier` is the history of a conversation with an agent that is taken up again."""
        self._events = events
        self._config = config
        self._conversation = Conversation(earlier)
        self._replies = Replies(events, config, self._conversation)
        self._mcp = McpTools(events, self._conversation)
        self._turns = Turns(events, config, self._conversation, self._replies, self._mcp)
        self._buffered_ms = 0.0
        self._awaiting_words: Mapping[str, Any] | None = None
        self._typed: dict[str, str] = {}
        self._handlers: dict[str, Callable[[Mapping[str, Any]], list[Effect]]] = {
            "session.update": self._update,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
            "conversation.item.create": self._create_item,
            "conversation.item.retrieve": self._retrieve_item,
            "conversation.item.truncate": self._truncate_item,
            "conversation.item.delete": self._delete_item,
            "response.create": self._create_response,
            "response.cancel": self._cancel_response,
            "input_text.delta": self._type_text,
            "input_text.done": self._finish_typing,
        }

    def open(self) -> list[Effect]:
        """The socket is open: Voice Live speaks first."""
        created = self._events.event("session.created", session=self._config.echo())
        return [Send(created), ConfigureHearing(self._config.hearing())]

    def history(self) -> tuple[Entry, ...]:
        """Return what was said so far, as far as it was heard."""
        return self._conversation.history()

    def receive(self, event: object) -> list[Effect]:
        """Take one client event, as parsed from JSON."""
        if not isinstance(event, Mapping):
            return self.reject(ClientError("invalid_value", "An event must be a JSON object."))
        try:
            return self._handler(event.get("type"))(event)
        except ClientError as error:
            return self.reject(error, event_id_of(event))

    def reject(self, error: ClientError, event_id: str | None = None) -> list[Effect]:
        """Answer a message that is not an event, or none of Voice Live."""
        return [Send(self._events.error(error, event_id))]

    def expire(self) -> list[Effect]:
        """The session has reached its age."""
        error = self._events.server_error("session_expired", "The session has reached its maximum duration.")
        return [Send(error), Close(1001, "session_expired")]

    def _handler(self, event_type: object) -> Callable[[Mapping[str, Any]], list[Effect]]:
        if not isinstance(event_type, str):
            raise ClientError("missing_required_parameter", "An event must have a type.", "type")
        if event_type in _UNAVAILABLE:
            raise ClientError("unsupported_event", _UNAVAILABLE[event_type], "type")
        if event_type not in self._handlers:
            raise ClientError("invalid_value", "There is no client event of this type.", "type")
        return self._handlers[event_type]

    # What was heard of the caller

    def speech_started(self, audio_start_ms: int, now: float) -> list[Effect]:
        """The caller speaks, from this position of the session's audio; a response may be interrupted."""
        started = self._turns.start(audio_start_ms)
        return [*started, *self._turns.release(), *self._replies.interrupt(now)]

    def speech_stopped(self, audio_end_ms: int) -> list[Effect]:
        """The caller's turn is over. Its words come with `transcribed`."""
        self._buffered_ms = 0.0
        return self._turns.stop(audio_end_ms)

    def expected_request(self, text: str) -> Request | None:
        """What the agent would be asked if the turn ended now with these words; changes nothing."""
        return self._turns.expected_request(text)

    def transcribed(self, text: str) -> list[Effect]:
        """The words of the oldest turn that waits for them; empty where there are none."""
        return [*self._turns.transcribed(text), *self._create_awaiting_response()]

    def transcription_failed(self) -> list[Effect]:
        """The words of the oldest turn that waits for them cannot be found."""
        return [*self._turns.failed(), *self._create_awaiting_response()]

    # What was made of a response

    def reply_text(self, response_id: str, text: str) -> list[Effect]:
        """The next words."""
        return [*self._replies.add_text(response_id, text), *self._turns.release()]

    def reply_words(self, response_id: str, words: "Sequence[Word]") -> list[Effect]:
        """Where the words lie in the audio that follows."""
        return self._replies.add_words(response_id, words)

    def reply_audio(self, response_id: str, audio: bytes, duration_ms: float, now: float) -> list[Effect]:
        """The next audio, in the response's output format."""
        return self._replies.add_audio(response_id, audio, duration_ms, now)

    def reply_call(self, response_id: str, name: str, arguments: str) -> list[Effect]:
        """The response calls a function; `reply_finished` ends it."""
        return [*self._turns.release(), *self._replies.call_function(response_id, name, arguments)]

    def mcp_called(self, response_id: str, output: str) -> list[Effect]:
        """The tool of a server gave this text to the response."""
        return self._replies.call_returned(response_id, output)

    def mcp_call_failed(self, response_id: str, error: Event) -> list[Effect]:
        """The tool of a server gave the response nothing; `error` has `type` and `message`."""
        return self._replies.call_failed(response_id, error)

    def mcp_tools_listed(self, item_id: str, tools: Sequence[Event]) -> list[Effect]:
        """A server said what it offers: objects with `name`, `description` and `input_schema`."""
        return self._mcp.listed(item_id, tools)

    def mcp_tools_not_listed(self, item_id: str) -> list[Effect]:
        """A server did not say what it offers."""
        return self._mcp.failed(item_id)

    def reply_finished(self, response_id: str, *, cut_short: bool = False) -> list[Effect]:
        """The response is complete, or was cut short at its limit of tokens."""
        return [*self._turns.release(), *self._replies.finish(response_id, cut_short=cut_short)]

    def reply_failed(self, response_id: str, *, out_of_quota: bool = False) -> list[Effect]:
        """The response cannot be made, because something broke or the tokens of this minute are spent."""
        if out_of_quota:
            code, message = "rate_limit_exceeded", "The tokens of this minute are spent."
        else:
            code, message = "internal_error", "The response could not be generated."
        failed = self._replies.fail(response_id, code, message)
        return [*self._turns.release(), *failed]

    # Client events

    def _update(self, event: Mapping[str, Any]) -> list[Effect]:
        body = validate(SessionUpdate, event).session
        heard_before = self._config.hearing()
        ignored = self._config.update(body, voice_is_fixed=self._replies.has_spoken)
        effects: list[Effect] = [Send(self._warning(name)) for name in ignored]
        effects.append(Send(self._events.event("session.updated", session=self._config.echo())))
        if self._config.hearing() != heard_before:
            effects.append(ConfigureHearing(self._config.hearing()))
        return [*effects, *self._mcp.update(self._config.mcp_servers)]

    def _warning(self, name: str) -> dict[str, Any]:
        warning = {
            "message": "The agent decides this; the value is ignored.",
            "code": "ignored_parameter",
            "param": f"session.{name}",
        }
        return self._events.event("warning", warning=warning)

    def _append(self, event: Mapping[str, Any]) -> list[Effect]:
        audio = decoded_audio(event.get("audio"))
        self._buffered_ms += len(audio) / self._config.input_bytes_per_ms()
        return [Hear(audio)] if audio else []

    def _commit(self, event: Mapping[str, Any]) -> list[Effect]:  # noqa: ARG002 (the event has no fields)
        if self._buffered_ms == 0.0:
            raise ClientError("input_audio_buffer_commit_empty", "The input audio buffer is empty.")
        committed = self._turns.commit(self._buffered_ms)
        self._buffered_ms = 0.0
        return committed

    def _clear(self, event: Mapping[str, Any]) -> list[Effect]:  # noqa: ARG002 (the event has no fields)
        self._buffered_ms = 0.0
        self._turns.forget()
        return [ForgetAudio(), Send(self._events.event("input_audio_buffer.cleared"))]

    def _create_item(self, event: Mapping[str, Any]) -> list[Effect]:
        request = validate(ItemCreate, event)
        item = requested_item(request.item, self._events)
        if not isinstance(item, McpApprovalResponseItem):
            return self._add_item(item, request.previous_item_id)
        self._replies.check_approval(item.approval_request_id)
        added = self._add_item(item, request.previous_item_id)
        return [*added, *self._replies.decide(item.approval_request_id, approve=item.approve)]

    def _add_item(self, item: Item, after: str | None) -> list[Effect]:
        check_size(item.echo(), "item")
        previous_id = (self._conversation.last_id if after is None else after) or None
        if not self._config.profile.linked_items and after is None:
            previous_id = ""
        self._conversation.add(item, after or None)
        shown_id = None if after == ROOT else previous_id
        created = self._events.event("conversation.item.created", previous_item_id=shown_id, item=item.echo())
        return [Send(created)]

    def _retrieve_item(self, event: Mapping[str, Any]) -> list[Effect]:
        item = self._conversation.get(validate(ItemReference, event).item_id)
        return [Send(self._events.event("conversation.item.retrieved", item=item.echo()))]

    def _delete_item(self, event: Mapping[str, Any]) -> list[Effect]:
        item_id = validate(ItemReference, event).item_id
        self._conversation.delete(item_id)
        return [Send(self._events.event("conversation.item.deleted", item_id=item_id))]

    def _truncate_item(self, event: Mapping[str, Any]) -> list[Effect]:
        request = validate(ItemTruncate, event)
        self._conversation.truncate(request.item_id, request.content_index, request.audio_end_ms)
        cut = self._replies.truncated(request.item_id, request.content_index, request.audio_end_ms)
        return [Send(cut)]

    def _create_response(self, event: Mapping[str, Any]) -> list[Effect]:
        if self._turns.waiting:
            if self._awaiting_words is not None:
                raise ClientError(
                    "conversation_already_has_active_response", "A response waits for the caller's words."
                )
            validate(ResponseCreate, event)
            self._awaiting_words = event
            return []
        envelope = validate(ResponseCreate, event)
        request = requested_response(envelope.response)
        verbatim = verbatim_text(request, self._events)
        offer = offered_tools(request, self._config, self._mcp)
        appended = requested_items(request.append_input_items, self._events, "append_input_items")
        context = requested_items(request.input_items, self._events, "input_items")
        options = response_options(request, self._config)
        effects: list[Effect] = []
        if request.cancel_previous and options.in_conversation and self._replies.active_id is not None:
            effects += [*self._turns.release(), *self._replies.cancel(None)]
        instructions = [text for text in (request.instructions, envelope.additional_instructions) if text]
        self._replies.check_free(options)
        for item in appended:
            effects += self._add_item(item, None)
        response_id, created = self._replies.create(
            options,
            ReplyRequest(
                verbatim=verbatim,
                offer=offer,
                instructions="\n".join(instructions) or None,
                history=None if request.input_items is None else entries(context),
            ),
        )
        return [*effects, *created, *self._replies.launch(response_id)]

    def _create_awaiting_response(self) -> list[Effect]:
        if self._turns.waiting or self._awaiting_words is None:
            return []
        event, self._awaiting_words = self._awaiting_words, None
        return self.receive(event)

    def _cancel_response(self, event: Mapping[str, Any]) -> list[Effect]:
        request = validate(ResponseCancel, event)
        if self._awaiting_words is not None and request.response_id is None:
            self._awaiting_words = None
            return []
        cancelled = self._replies.cancel(request.response_id)
        return [*self._turns.release(), *cancelled]

    def _type_text(self, event: Mapping[str, Any]) -> list[Effect]:
        request = validate(InputTextDelta, event)
        text = self._typed.get(request.id, "") + request.delta
        if len(text) > _LONGEST_TYPED_TEXT or len(self._typed) > _MOST_TYPED_TEXTS:
            raise ClientError("invalid_value", "Too much text is being typed.", "delta")
        self._typed[request.id] = text
        return []

    def _finish_typing(self, event: Mapping[str, Any]) -> list[Effect]:
        request = validate(InputTextDone, event)
        if request.id not in self._typed:
            raise ClientError("item_not_found", "No text with this id is being typed.", "id")
        part = {"type": "input_text", "text": self._typed.pop(request.id)}
        return self._add_item(MessageItem(request.id, "user", [part]), None)
