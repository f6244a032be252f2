"""The conversation of one session: items in order, what was heard of the spoken ones, the history.

Pure. Items show themselves as the live service does; what a client may put in is checked in
`item_requests`.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from voicelive_emulator.agents import Entry, FunctionCalled, FunctionReturned, Message
from voicelive_emulator.events import ClientError, Event
from voicelive_emulator.mcp_items import McpCallItem, McpItem

if TYPE_CHECKING:
    from voicelive_emulator.synthesis import Word

ROOT: Final = "root"
"""As `previous_item_id` it puts an item first."""

Role = Literal["system", "user", "assistant"]
_SPEECH_AND_ITS_MARKS: Final = re.compile(r"\S*")


@dataclass(slots=True)
class MessageItem:
    """Something said or written. `parts` are the content parts as they are shown."""

    item_id: str
    role: Role
    parts: list[Event] = field(default_factory=list)
    status: str = "completed"
    words: "list[Word]" = field(default_factory=list)
    """Where each word lies in the item's audio, as far as it was spoken."""
    audio_ms: float = 0.0
    """Length of the audio that was sent for the item."""
    understood: str = ""
    """The caller's words, for the model; they are shown only where the session transcribes."""
    truncated: bool = False
    phase: str | None = None
    """Some native models label their messages."""
    appended: str = ""
    """What the model is told after the words that were heard; no client sees it."""

    def echo(self) -> Event:
        """Return the item as events show it."""
        shown: Event = {
            "id": self.item_id,
            "object": "realtime.item",
            "type": "message",
            "status": self.status,
            "role": self.role,
            "content": [dict(part) for part in self.parts],
        }
        return shown if self.phase is None else {**shown, "phase": self.phase}

    @property
    def text(self) -> str:
        """All text of the item; of speech what was heard."""
        texts = (part.get("text", part.get("transcript")) for part in self.parts)
        return " ".join(text for text in texts if text) or self.understood

    def truncate(self, audio_end_ms: float) -> None:
        """Forget what was spoken after `audio_end_ms` of the item's audio."""
        self.truncated = True
        for part in self.parts:
            if part["type"] == "audio":
                part["transcript"] = heard_text(part["transcript"], self.words, audio_end_ms, self.audio_ms)


@dataclass(slots=True)
class FunctionCallItem:
    """The model asks the client to call a function."""

    item_id: str
    name: str
    call_id: str
    arguments: str = ""
    status: str = "completed"

    def echo(self) -> Event:
        """Return the item as events show it."""
        return {
            "id": self.item_id,
            "object": "realtime.item",
            "type": "function_call",
            "status": self.status,
            "name": self.name,
            "call_id": self.call_id,
            "arguments": self.arguments,
        }


@dataclass(slots=True)
class FunctionOutputItem:
    """What a called function gave."""

    item_id: str
    call_id: str
    output: str

    def echo(self) -> Event:
        """Return the item as events show it; it has no status (recorded)."""
        return {
            "id": self.item_id,
            "object": "realtime.item",
            "type": "function_call_output",
            "call_id": self.call_id,
            "output": self.output,
        }


Item = MessageItem | FunctionCallItem | FunctionOutputItem | McpItem


class Conversation:
    """Items in order. Unknown ids raise ClientError."""

    def __init__(self, earlier: Sequence[Entry] = ()) -> None:
        """`earlier` is what was said in the sessions before; it counts as history and is not shown."""
        self._earlier = tuple(earlier)
        self._items: list[Item] = []

    @property
    def last_id(self) -> str | None:
        """Id of the last item; None while there is none."""
        return self._items[-1].item_id if self._items else None

    def add(self, item: Item, after: str | None = None) -> None:
        """Put `item` after the item `after`: None is the end, `root` the beginning."""
        if any(known.item_id == item.item_id for known in self._items):
            raise ClientError("item_already_exists", "An item with this id exists.", "item.id")
        if after is None:
            self._items.append(item)
        elif after == ROOT:
            self._items.insert(0, item)
        else:
            self._items.insert(self._index(after, "previous_item_id") + 1, item)

    def get(self, item_id: str) -> Item:
        """Return the item; raises ClientError when it does not exist."""
        return self._items[self._index(item_id, "item_id")]

    def delete(self, item_id: str) -> None:
        """Remove the item; raises ClientError when it does not exist."""
        del self._items[self._index(item_id, "item_id")]

    def truncate(self, item_id: str, content_index: int, audio_end_ms: int) -> None:
        """Cut an assistant's speech to what was heard.

        Voice Live answers a second truncation with `item_already_truncated`, and one beyond the
        audio with an error.
        """
        item = self.get(item_id)
        if not isinstance(item, MessageItem) or item.role != "assistant":
            raise ClientError("invalid_value", "Only messages of the assistant can be truncated.", "item_id")
        if content_index >= len(item.parts) or item.parts[content_index]["type"] != "audio":
            raise ClientError("invalid_value", "There is no audio at this index.", "content_index")
        if item.truncated:
            raise ClientError("item_already_truncated", "The item was truncated before.", "item_id")
        if audio_end_ms > math.ceil(item.audio_ms):
            raise ClientError(
                "invalid_value",
                f"The audio of the item is {round(item.audio_ms)} ms long, shorter than {audio_end_ms} ms.",
                "audio_end_ms",
            )
        item.truncate(audio_end_ms)

    def __contains__(self, item: Item) -> bool:
        """Whether the item is there, by identity."""
        return any(known is item for known in self._items)

    @property
    def last_is_speech_of_user(self) -> bool:
        """Whether the last item is something that the caller said aloud."""
        last = self._items[-1] if self._items else None
        return (
            isinstance(last, MessageItem) and last.role == "user" and last.parts[0]["type"] == "input_audio"
        )

    @property
    def caller_audio_ms(self) -> float:
        """How long the caller has spoken in all."""
        spoken = (item for item in self._items if isinstance(item, MessageItem) and item.role == "user")
        return sum(item.audio_ms for item in spoken)

    def history(self) -> tuple[Entry, ...]:
        """Return what an agent may know: messages with text, calls of functions and what they gave."""
        return (*self._earlier, *entries(self._items))

    def _index(self, item_id: str, param: str) -> int:
        for index, item in enumerate(self._items):
            if item.item_id == item_id:
                return index
        raise ClientError("item_not_found", "There is no item with this id.", param)


def entries(items: Sequence[Item]) -> tuple[Entry, ...]:
    """Return items as an agent takes them; messages without text are left out."""
    told: list[Entry] = []
    for item in items:
        match item:
            case MessageItem(role=role):
                text = f"{item.text} {item.appended}".strip()
                if text:
                    told.append(Message(role, text))
            case FunctionCallItem(call_id=call_id, name=name, arguments=arguments):
                told.append(FunctionCalled(call_id, name, arguments))
            case FunctionOutputItem(call_id=call_id, output=output):
                told.append(FunctionReturned(call_id, output))
            case McpCallItem(item_id=call_id, name=name, arguments=arguments, result=str() as result):
                told += (FunctionCalled(call_id, name, arguments), FunctionReturned(call_id, result))
    return tuple(told)


def heard_text(transcript: str, words: "Sequence[Word]", heard_ms: float, audio_ms: float) -> str:
    """Return the beginning of `transcript` that was spoken within `heard_ms`.

    A word counts as heard when more than half of it was. Without word positions the text is cut in
    proportion to the audio, at a space.
    """
    if heard_ms >= audio_ms:
        return transcript
    if not words:
        cut = int(len(transcript) * heard_ms / audio_ms)
        return transcript[:cut].rpartition(" ")[0]
    end = 0
    for word in words:
        if word.offset_ms + word.duration_ms / 2 >= heard_ms:
            break
        start = transcript.find(word.text, end)
        if start >= 0:
            found = _SPEECH_AND_ITS_MARKS.match(transcript, start + len(word.text))
            end = found.end() if found else start + len(word.text)
    return transcript[:end]
