"""The bodies of client events that are more than a type, as the client must send them."""

from typing import Annotated, Any

from pydantic import Field

from voicelive_emulator.validation import Strict

Index = Annotated[int, Field(ge=0)]


class ClientEvent(Strict):
    """Any client event. `event_id` is optional and comes back in an `error` only."""

    type: str
    event_id: str | None = None


class SessionUpdate(ClientEvent):
    """`session.update`."""

    session: dict[str, Any]


class ItemCreate(ClientEvent):
    """`conversation.item.create`."""

    item: dict[str, Any]
    previous_item_id: str | None = None


class ItemReference(ClientEvent):
    """`conversation.item.retrieve` and `.delete`."""

    item_id: str


class ItemTruncate(ClientEvent):
    """`conversation.item.truncate`."""

    item_id: str
    content_index: Index
    audio_end_ms: Index


class ResponseCreate(ClientEvent):
    """`response.create`."""

    response: dict[str, Any] | None = None
    additional_instructions: str | None = None


class ResponseCancel(ClientEvent):
    """`response.cancel`."""

    response_id: str | None = None


class InputTextDelta(ClientEvent):
    """`input_text.delta`: typed text in pieces."""

    id: str = Field(min_length=1, max_length=128)
    delta: str
    content_index: Index = 0


class InputTextDone(ClientEvent):
    """`input_text.done`."""

    id: str
    content_index: Index = 0
