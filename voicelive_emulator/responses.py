"""One response: its events from `response.created` to `response.done`, in the recorded order.

Pure. The order is: created, item added, item created, part added, deltas, the closing events of
what was opened, done. A response that is cut off closes everything that it opened.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pybase64

from voicelive_emulator.conversation import FunctionCallItem, MessageItem
from voicelive_emulator.events import Event, Events
from voicelive_emulator.mcp_items import McpCallItem
from voicelive_emulator.profiles import Profile
from voicelive_emulator.session_fields import InterimResponse
from voicelive_emulator.usage import usage
from voicelive_emulator.visemes import visemes

if TYPE_CHECKING:
    from voicelive_emulator.synthesis import Word

OutputItem = MessageItem | FunctionCallItem | McpCallItem
"""What a response consists of."""

_DELTA: Final = re.compile(r"\s*\S+(?:\s+\Z)?")
_ARGUMENTS_DELTA_LENGTH: Final = 6


@dataclass(frozen=True, slots=True)
class ResponseOptions:
    """How a response is given: the session's configuration with what `response.create` overrides."""

    modalities: tuple[str, ...]
    voice: Event
    output_audio_format: str
    temperature: float | None
    max_output_tokens: int | str
    metadata: dict[str, str] | None
    with_word_timestamps: bool
    with_visemes: bool
    parallel_calls: bool
    """Whether one response may call several functions."""
    interim: InterimResponse | None
    in_conversation: bool
    """False for `conversation: "none"`: its items are not added to the conversation."""


@dataclass(slots=True)
class Prompt:
    """What the usage counts as input."""

    text: str = ""
    audio_ms: float = 0.0


@dataclass(slots=True)
class Response:
    """A response while it is generated. Every method returns events in the order in which they are sent."""

    events: Events
    profile: Profile
    options: ResponseOptions
    response_id: str
    conversation_id: str
    prompt: Prompt
    status: str = "in_progress"
    item: OutputItem | None = None
    """The item that is being generated; None before the first and between two."""
    items: list[OutputItem] = field(default_factory=list)
    text: str = ""
    """The text of `item` so far."""
    output_text: str = ""
    """Everything that was written: texts and arguments."""
    output_audio_ms: float = 0.0

    @property
    def speaks(self) -> bool:
        """Whether the answer is audio with a transcript, or text alone."""
        return "audio" in self.options.modalities

    def created(self) -> list[Event]:
        """Begin."""
        return [self.events.event("response.created", response=self._echo(None, None))]

    def open(self, item: OutputItem, previous_item_id: str | None) -> list[Event]:
        """Begin the item that the model's next words are for; the one before is closed."""
        events = self.close()
        self.item = item
        self.items.append(item)
        self.text = ""
        events.append(self._about_item("response.output_item.added", item))
        if self.options.in_conversation:
            events.append(
                self.events.event(
                    "conversation.item.created", previous_item_id=previous_item_id, item=item.echo()
                )
            )
        if isinstance(item, MessageItem):
            part = {"type": "audio", "transcript": ""} if self.speaks else {"type": "text", "text": ""}
            events.append(self._about_part("response.content_part.added", part=part))
            item.parts.append(dict(part))
        return events

    def add_text(self, text: str) -> list[Event]:
        """Go on with text: word by word, as a model writes."""
        self.text += text
        self.output_text += text
        name = "response.audio_transcript.delta" if self.speaks else "response.text.delta"
        item = self._message()
        if not item.truncated:
            item.parts[0]["transcript" if self.speaks else "text"] = self.text
        return [self._about_part(name, delta=delta) for delta in _DELTA.findall(text) or [text]]

    def add_words(self, words: "Sequence[Word]") -> list[Event]:
        """Say where words lie in the audio of the item; `offset_ms` counts from its beginning."""
        self._message().words.extend(words)
        events: list[Event] = []
        if self.options.with_word_timestamps:
            events += [
                self._about_part(
                    "response.audio_timestamp.delta",
                    audio_offset_ms=word.offset_ms,
                    audio_duration_ms=word.duration_ms,
                    text=word.text,
                    timestamp_type="word",
                )
                for word in words
            ]
        if self.options.with_visemes:
            events += [
                self._about_part(
                    "response.animation_viseme.delta", audio_offset_ms=offset_ms, viseme_id=shape
                )
                for word in words
                for offset_ms, shape in visemes(word)
            ]
        return events

    def add_audio(self, audio: bytes, duration_ms: float) -> list[Event]:
        """Go on with audio in the output format."""
        self.output_audio_ms += duration_ms
        self._message().audio_ms += duration_ms
        delta = pybase64.b64encode(audio).decode("ascii")
        return [self._about_part("response.audio.delta", delta=delta)]

    def add_arguments(self, arguments: str) -> list[Event]:
        """Give the arguments of a call, in pieces and then whole."""
        item = self.item
        if not isinstance(item, FunctionCallItem | McpCallItem):
            raise TypeError("arguments belong to a call that was opened")
        item.arguments = arguments
        self.output_text += arguments
        head: dict[str, Any] = {
            "response_id": self.response_id,
            "item_id": item.item_id,
            "output_index": self._output_index,
        }
        is_mcp = isinstance(item, McpCallItem)
        name = "response.mcp_call_arguments" if is_mcp else "response.function_call_arguments"
        whole: dict[str, Any] = {"arguments": arguments}
        if isinstance(item, FunctionCallItem):
            head["call_id"] = item.call_id
            whole = {"name": item.name, "arguments": arguments}
        pieces = [
            arguments[start : start + _ARGUMENTS_DELTA_LENGTH]
            for start in range(0, len(arguments), _ARGUMENTS_DELTA_LENGTH)
        ]
        events = [self.events.event(f"{name}.delta", **head, delta=piece) for piece in pieces]
        events.append(self.events.event(f"{name}.done", **head, **whole))
        return events

    def about_call(self, what: str) -> Event:
        """Say how a call of a server's tool goes: `in_progress`, `completed` or `failed`."""
        item_id = self.item.item_id if self.item is not None else ""
        return self.events.event(
            f"response.mcp_call.{what}", item_id=item_id, output_index=self._output_index
        )

    def close(self, status: str = "completed") -> list[Event]:
        """End the item that is being generated, if there is one."""
        item, events = self.item, []
        if item is not None:
            item.status = "completed" if status == "completed" else "incomplete"
            if isinstance(item, MessageItem):
                events += self._close_part(item)
            events.append(self._about_item("response.output_item.done", item))
        self.item = None
        return events

    def finish(self, status: str, status_details: Event | None = None) -> list[Event]:
        """End with `completed`, `cancelled`, `incomplete` or `failed`; nothing of the response follows."""
        self.status = status
        events = self.close(status)
        spent = usage(
            input_text=self.prompt.text,
            input_audio_ms=self.prompt.audio_ms,
            output_text=self.output_text,
            output_audio_ms=self.output_audio_ms,
        )
        events.append(self.events.event("response.done", response=self._echo(status_details, spent)))
        return events

    def _close_part(self, item: MessageItem) -> list[Event]:
        if not self.speaks:
            part_text = self.text if self.profile.full_text_part else ""
            return [
                self._about_part("response.text.done", text=self.text),
                self._about_part("response.content_part.done", part={"type": "text", "text": part_text}),
            ]
        events = [self._about_part("response.audio.done")]
        if self.options.with_visemes:
            events.insert(0, self._about_part("response.animation_viseme.done"))
        if self.options.with_word_timestamps:
            events.insert(0, self._about_part("response.audio_timestamp.done"))
        return [
            *events,
            self._about_part("response.audio_transcript.done", transcript=self.text),
            self._about_part("response.content_part.done", part=dict(item.parts[0])),
        ]

    def _about_part(self, event_type: str, **fields: Any) -> Event:
        item_id = self.item.item_id if self.item is not None else ""
        return self.events.event(
            event_type,
            response_id=self.response_id,
            item_id=item_id,
            output_index=self._output_index,
            content_index=0,
            **fields,
        )

    def _about_item(self, event_type: str, item: OutputItem) -> Event:
        return self.events.event(
            event_type, response_id=self.response_id, output_index=self._output_index, item=item.echo()
        )

    @property
    def _output_index(self) -> int:
        return len(self.items) - 1

    def _message(self) -> MessageItem:
        if not isinstance(self.item, MessageItem):
            raise TypeError("text and audio belong to a message that was opened")
        return self.item

    def _echo(self, status_details: Event | None, spent: Event | None) -> Event:
        options = self.options
        output = [] if self.status == "in_progress" else [item.echo() for item in self.items]
        return {
            "object": "realtime.response",
            "id": self.response_id,
            "status": self.status,
            "status_details": status_details,
            "output": output,
            "usage": spent,
            "conversation_id": self.conversation_id,
            "modalities": list(options.modalities),
            "voice": options.voice,
            "output_audio_format": options.output_audio_format,
            "temperature": options.temperature,
            "max_output_tokens": options.max_output_tokens if self.profile.linked_items else None,
            "metadata": options.metadata,
        }
