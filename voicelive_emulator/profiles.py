"""The two kinds of session, by model.

In a cascade, recognition, a text model and synthesis work one after the other; this is also what
an agent gets. A native model hears and speaks by itself. The live service shows the difference in
ids, order of events and defaults; every difference that recordings prove has its field here.
"""

from dataclasses import dataclass
from typing import Final

_NATIVE_MODELS: Final = ("gpt-realtime", "gpt-4o-realtime", "gpt-4o-mini-realtime", "azure-realtime")


@dataclass(frozen=True, slots=True)
class Profile:
    """What a client sees of the kind of session."""

    assistant_prefix: str
    """Prefix of the ids of the model's items."""
    id_length: int
    """Length of the ids of session, response, conversation and the model's items."""
    open_item_status: str
    """`status` of an item that is still being generated."""
    transcript_first: bool
    """A spoken item is announced with its transcript, not before it."""
    linked_items: bool
    """`previous_item_id` of typed items and of what follows them names the item before."""
    full_text_part: bool
    """`content_part.done` repeats the text of a text part."""
    has_conversation_id: bool
    has_temperature: bool
    """The session has a temperature before the client sets one, and responses show it."""


CASCADE: Final = Profile(
    assistant_prefix="msg",
    id_length=22,
    open_item_status="incomplete",
    transcript_first=True,
    linked_items=False,
    full_text_part=True,
    has_conversation_id=False,
    has_temperature=True,
)
NATIVE: Final = Profile(
    assistant_prefix="item",
    id_length=21,
    open_item_status="in_progress",
    transcript_first=False,
    linked_items=True,
    full_text_part=False,
    has_conversation_id=True,
    has_temperature=False,
)


def profile_for(model: str | None) -> Profile:
    """Return the profile of a model name from the query; None, an agent's session, is a cascade."""
    return NATIVE if model is not None and model.startswith(_NATIVE_MODELS) else CASCADE
