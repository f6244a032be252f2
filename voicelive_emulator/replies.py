"""The responses of one session: at most one in the conversation at a time, and some beside it.

Pure. It knows which response goes on, what of it the caller can have heard by now, and what an
interruption does. The shell reports the words and the audio that it makes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from voicelive_emulator.agents import Entry, Message, Request
from voicelive_emulator.conversation import Conversation, FunctionCallItem, MessageItem, entries
from voicelive_emulator.effects import CallMcpTool, CancelReply, Effect, Send, StartReply
from voicelive_emulator.events import ClientError, Event, Events
from voicelive_emulator.interim import chosen_interim
from voicelive_emulator.mcp_items import McpApprovalRequestItem, McpCallItem
from voicelive_emulator.response_requests import Offer
from voicelive_emulator.responses import OutputItem, Prompt, Response, ResponseOptions
from voicelive_emulator.session_config import SessionConfig

if TYPE_CHECKING:
    from voicelive_emulator.synthesis import Word

_MOST_BESIDE: Final = 4
"""Responses outside the conversation that may go on at once."""
_CALL_ID_LENGTH: Final = 16
_MOST_MCP_CALLS: Final = 8
"""Calls of servers' tools in one response; then it must end with words."""


@dataclass(frozen=True, slots=True)
class ReplyRequest:
    """What a response is to be made from, besides the conversation."""

    verbatim: str | None = None
    offer: Offer = field(default_factory=Offer)
    instructions: str | None = None
    history: tuple[Entry, ...] | None = None
    """Replaces the conversation's history."""


@dataclass(slots=True)
class _Playback:
    """An item's audio in the client's loudspeaker, supposing that it plays without a break."""

    item: MessageItem
    started_at: float

    @property
    def ends_at(self) -> float:
        return self.started_at + self.item.audio_ms / 1_000


class Replies:
    """Responses from their creation to their end. Unknown and ended ones are ignored: their work is late."""

    def __init__(self, events: Events, config: SessionConfig, conversation: Conversation) -> None:
        self._events = events
        self._config = config
        self._conversation = conversation
        self._going_on: dict[str, tuple[Response, ReplyRequest]] = {}
        self._active_id: str | None = None
        self._playing: list[_Playback] = []
        length = config.profile.id_length
        self._conversation_id = events.new_id("conv", length) if config.profile.has_conversation_id else ""
        self.has_spoken = False
        """Whether any audio was sent: from then on the voice cannot change."""

    @property
    def active_id(self) -> str | None:
        """The response in the conversation that goes on; None when there is none."""
        return self._active_id

    def is_going_on(self, response_id: str) -> bool:
        """Whether the response was created and has not ended."""
        return response_id in self._going_on

    def create(self, options: ResponseOptions, request: ReplyRequest) -> tuple[str, list[Effect]]:
        """Announce a response; its work starts with `launch`. Returns its id and the effects.

        Raises ClientError while another goes on: Voice Live refuses a second one with
        `conversation_already_has_active_response`.
        """
        self.check_free(options)
        response = Response(
            events=self._events,
            profile=self._config.profile,
            options=options,
            response_id=self._events.new_id("resp", self._config.profile.id_length),
            conversation_id=self._conversation_id,
            prompt=Prompt(),
        )
        self._going_on[response.response_id] = (response, request)
        if options.in_conversation:
            self._active_id = response.response_id
        return response.response_id, _sends(response.created())

    def check_free(self, options: ResponseOptions) -> None:
        """Raise ClientError if no such response can be created now."""
        if options.in_conversation and self._active_id is not None:
            raise ClientError(
                "conversation_already_has_active_response", "The conversation has a response that goes on."
            )
        if len(self._going_on) > _MOST_BESIDE:
            raise ClientError("rate_limit_exceeded", "Too many responses go on at once.")

    def expected(self, request: ReplyRequest, said: str) -> Request:
        """Return what the agent would be asked if the caller's turn ended with these words."""
        history = (*self._history(request), Message("user", said))
        return Request(history, request.offer.tools, request.offer.must_call)

    def launch(self, response_id: str) -> list[Effect]:
        """Start the work on a response, from the conversation as it is now."""
        if response_id not in self._going_on:
            return []
        response, request = self._going_on[response_id]
        history = self._history(request)
        if request.history is not None or not response.options.in_conversation:
            history = (*history, *entries(response.items))
        limit = response.options.max_output_tokens
        response.prompt = Prompt(
            text=" ".join(entry.text for entry in history),
            audio_ms=self._conversation.caller_audio_ms,
        )
        return [
            StartReply(
                response_id=response_id,
                request=Request(history, request.offer.tools, request.offer.must_call),
                verbatim=request.verbatim,
                audio_format=response.options.output_audio_format if response.speaks else None,
                max_tokens=limit if isinstance(limit, int) else None,
                parallel_calls=response.options.parallel_calls,
                interim=chosen_interim(response.options.interim, self._events.choose)
                if request.verbatim is None
                else None,
            )
        ]

    def add_text(self, response_id: str, text: str) -> list[Effect]:
        """The next words were found; their audio follows."""
        if response_id not in self._going_on or not text:
            return []
        response, _ = self._going_on[response_id]
        events: list[Event] = []
        if not isinstance(response.item, MessageItem):
            item_id = self._new_item_id()
            status = self._config.profile.open_item_status
            events += self._open(
                response, MessageItem(item_id, "assistant", status=status, phase=self._config.phase)
            )
        return _sends([*events, *response.add_text(text)])

    def add_words(self, response_id: str, words: "Sequence[Word]") -> list[Effect]:
        """The audio that follows has these words; `offset_ms` counts from the beginning of that audio."""
        if response_id not in self._going_on:
            return []
        response, _ = self._going_on[response_id]
        if not isinstance(response.item, MessageItem):
            return []
        spoken_ms = round(response.item.audio_ms)
        placed = [replace(word, offset_ms=word.offset_ms + spoken_ms) for word in words]
        return _sends(response.add_words(placed))

    def add_audio(self, response_id: str, audio: bytes, duration_ms: float, now: float) -> list[Effect]:
        """The next audio was made, in the output format."""
        if response_id not in self._going_on:
            return []
        response, _ = self._going_on[response_id]
        if not isinstance(response.item, MessageItem):
            return []
        if response.item.audio_ms == 0:
            self._playing = [playback for playback in self._playing if playback.ends_at > now]
            started_at = max([now, *(playback.ends_at for playback in self._playing)])
            self._playing.append(_Playback(response.item, started_at))
            self.has_spoken = True
        return _sends(response.add_audio(audio, duration_ms))

    def call_function(self, response_id: str, name: str, arguments: str) -> list[Effect]:
        """The answer is, or goes on with, a function call. Several may follow each other.

        A call of a server's tool is the last: the agent is asked again when it has returned.
        """
        if response_id not in self._going_on:
            return []
        response, request = self._going_on[response_id]
        if isinstance(response.item, McpCallItem):
            return []
        if (server := request.offer.servers.get(name)) is not None:
            call = McpCallItem(self._new_item_id(), server.server_label, name, status="in_progress")
            return _sends([*self._open(response, call), *response.add_arguments(arguments)])
        call_id = self._events.new_id("call", _CALL_ID_LENGTH)
        status = self._config.profile.open_item_status
        item = FunctionCallItem(self._new_item_id(), name, call_id, status=status)
        events = self._open(response, item)
        return _sends([*events, *response.add_arguments(arguments), *response.close()])

    def finish(self, response_id: str, *, cut_short: bool = False) -> list[Effect]:
        """Everything was said, or as much as the limit of tokens allows; a call of a tool may be left."""
        if response_id in self._going_on:
            response, request = self._going_on[response_id]
            if isinstance(response.item, McpCallItem):
                return self._ask_or_call(response, response.item, request)
        if cut_short:
            details = {"type": "incomplete", "reason": "max_output_tokens"}
            return self._end(response_id, "incomplete", details)
        return self._end(response_id, "completed")

    def check_approval(self, approval_request_id: str) -> None:
        """Raise ClientError unless a call waits for the client's answer to this request."""
        self._awaiting(approval_request_id)

    def decide(self, approval_request_id: str, *, approve: bool) -> list[Effect]:
        """The client allows the call that it was asked about, or does not."""
        response, item, request = self._awaiting(approval_request_id)
        item.awaits_approval = False
        if approve:
            return self._call(response, item, request)
        error = {"type": "tool_execution_error", "message": "The call was not approved."}
        return self.call_failed(response.response_id, error)

    def call_returned(self, response_id: str, output: str) -> list[Effect]:
        """The tool of a server gave this; the answer goes on."""
        return self._end_call(response_id, output, None)

    def call_failed(self, response_id: str, error: Event) -> list[Effect]:
        """The tool of a server gave nothing; the answer goes on."""
        return self._end_call(response_id, None, error)

    def fail(self, response_id: str, code: str, message: str) -> list[Effect]:
        """The response cannot be made."""
        error = {"type": "server_error", "code": code, "message": message}
        return self._end(response_id, "failed", {"type": "failed", "error": error})

    def cancel(self, response_id: str | None) -> list[Effect]:
        """Stop a response because the client says so; None is the one in the conversation.

        Voice Live answers a cancellation without a response with `response_cancel_not_active`.
        """
        wanted = self._active_id if response_id is None else response_id
        if wanted is None or wanted not in self._going_on:
            raise ClientError("response_cancel_not_active", "There is no such response to cancel.")
        return self._cut_off(wanted, "client_cancelled")

    def interrupt(self, now: float) -> list[Effect]:
        """The caller began to speak: stop the active response, forget what was not heard of the last ones."""
        detection = self._config.turn_detection
        if detection is None:
            return []
        effects: list[Effect] = []
        if detection.interrupt_response and self._active_id is not None:
            effects += self._cut_off(self._active_id, "turn_detected")
        if detection.auto_truncate:
            effects += self._truncate_unheard(now, detection.appended_text_after_truncation or "")
        return effects

    def _awaiting(self, approval_request_id: str) -> tuple[Response, McpCallItem, ReplyRequest]:
        for response, request in self._going_on.values():
            item = response.item
            if not isinstance(item, McpCallItem) or not item.awaits_approval:
                continue
            if item.approval_request_id == approval_request_id:
                return response, item, request
        raise ClientError("item_not_found", "No call waits for this approval.", "item.approval_request_id")

    def _ask_or_call(self, response: Response, item: McpCallItem, request: ReplyRequest) -> list[Effect]:
        if not request.offer.servers[item.name].needs_approval(item.name):
            return self._call(response, item, request)
        asked = McpApprovalRequestItem(
            self._events.new_id("mcpr"), item.server_label, item.name, item.arguments
        )
        item.approval_request_id = asked.item_id
        item.awaits_approval = True
        previous_id = self._previous_id()
        self._conversation.add(asked)
        created = self._events.event(
            "conversation.item.created", previous_item_id=previous_id, item=asked.echo()
        )
        return [Send(created)]

    def _call(self, response: Response, item: McpCallItem, request: ReplyRequest) -> list[Effect]:
        server = request.offer.servers[item.name]
        call = CallMcpTool(response.response_id, server, item.name, item.arguments)
        return [Send(response.about_call("in_progress")), call]

    def _end_call(self, response_id: str, output: str | None, error: Event | None) -> list[Effect]:
        if response_id not in self._going_on:
            return []
        response, request = self._going_on[response_id]
        if not isinstance(response.item, McpCallItem):
            return []
        response.item.output, response.item.error = output, error
        events = [response.about_call("completed" if error is None else "failed")]
        events += response.close("completed" if error is None else "failed")
        if any(isinstance(item, FunctionCallItem) for item in response.items):
            return [*_sends(events), *self._end(response_id, "completed")]
        calls = sum(isinstance(item, McpCallItem) for item in response.items)
        offer = replace(request.offer, must_call=False) if calls < _MOST_MCP_CALLS else Offer()
        self._going_on[response_id] = (response, replace(request, offer=offer))
        return [*_sends(events), *self.launch(response_id)]

    def _cut_off(self, response_id: str, reason: str) -> list[Effect]:
        ended = self._end(response_id, "cancelled", {"type": "cancelled", "reason": reason})
        return [CancelReply(response_id), *ended]

    def _end(self, response_id: str, status: str, details: Event | None = None) -> list[Effect]:
        if response_id not in self._going_on:
            return []
        response, _ = self._going_on.pop(response_id)
        if self._active_id == response_id:
            self._active_id = None
        return _sends(response.finish(status, details))

    def _truncate_unheard(self, now: float, appended: str) -> list[Effect]:
        effects: list[Effect] = []
        for playback in self._playing:
            item = playback.item
            heard_ms = max(0, int((now - playback.started_at) * 1_000))
            if heard_ms < item.audio_ms and not item.truncated and item in self._conversation:
                item.truncate(heard_ms)
                item.appended = appended
                effects.append(Send(self.truncated(item.item_id, 0, heard_ms)))
        self._playing = []
        return effects

    def truncated(self, item_id: str, content_index: int, audio_end_ms: int) -> Event:
        """Return the event that says that an item was cut."""
        return self._events.event(
            "conversation.item.truncated",
            item_id=item_id,
            content_index=content_index,
            audio_end_ms=audio_end_ms,
        )

    def _previous_id(self) -> str | None:
        if not self._config.profile.linked_items and not self._conversation.last_is_speech_of_user:
            return ""
        return self._conversation.last_id

    def _open(self, response: Response, item: OutputItem) -> list[Event]:
        previous_id = self._previous_id()
        if response.options.in_conversation:
            self._conversation.add(item)
        return response.open(item, previous_id)

    def _new_item_id(self) -> str:
        profile = self._config.profile
        return self._events.new_id(profile.assistant_prefix, profile.id_length)

    def _history(self, request: ReplyRequest) -> tuple[Entry, ...]:
        history = self._conversation.history() if request.history is None else request.history
        if self._config.instructions:
            history = (Message("system", self._config.instructions), *history)
        if request.instructions:
            history = (*history, Message("system", request.instructions))
        return history


def _sends(events: Sequence[Event]) -> list[Effect]:
    return [Send(event) for event in events]
