"""The states of a call, their transitions as tables, and the effects. Pure data: no behaviour lives here.

The *input* machine knows the caller's turn. Each response of the agent has a machine of its own, since one
may still be playing while the next is generated already. A trigger that a state's row does not name changes
nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from app.errors import ErrorCode
from app.heard import SpokenWord
from app.messages import ServerMessage
from app.voicelive.session import ClientEvent

# ------------------------------------------------------------------------------------- the caller's turn


@dataclass(frozen=True, slots=True)
class Quiet:
    """The caller says nothing and waits for nothing."""


@dataclass(frozen=True, slots=True)
class Speaking:
    """The caller speaks."""

    item_id: str


@dataclass(frozen=True, slots=True)
class Committed:
    """The caller's turn is over and the agent has not begun to answer."""

    since: float


InputState = Quiet | Speaking | Committed

INPUT_TRANSITIONS: Final[Mapping[type[InputState], Mapping[str, type[InputState]]]] = {
    Quiet: {"speech started": Speaking, "typed": Committed, "answer requested": Committed},
    Speaking: {
        "speech started": Speaking,
        "speech stopped": Committed,
        "typed": Committed,
        "upstream lost": Quiet,
    },
    Committed: {
        "speech started": Speaking,
        "typed": Committed,
        "answer requested": Committed,
        "agent began": Quiet,
        "no answer due": Quiet,
        "agent silent": Quiet,
    },
}


# ------------------------------------------------------------------------------ one response of the agent


@dataclass(frozen=True, slots=True)
class Generating:
    """Voice Live generates it; its audio may be playing."""


@dataclass(frozen=True, slots=True)
class Draining:
    """Generated to its end, still playing."""


@dataclass(frozen=True, slots=True)
class Cleared:
    """Cut off. What was heard of it is known at `until` at the latest."""

    released_ms: int
    played_ms: int
    until: float


@dataclass(frozen=True, slots=True)
class Ended:
    """Over for the caller."""


ReplyState = Generating | Draining | Cleared | Ended

REPLY_TRANSITIONS: Final[Mapping[type[ReplyState], Mapping[str, type[ReplyState]]]] = {
    Generating: {
        "generated": Draining,
        "nothing to play": Ended,
        "cut off": Cleared,
        "call ended": Ended,
    },
    Draining: {"played": Ended, "cut off": Cleared, "call ended": Ended},
    Cleared: {"heard known": Ended},
    Ended: {},
}


@dataclass(slots=True)
class Reply:
    """One response: its state and what it says."""

    response_id: str
    last_event_at: float
    state: ReplyState = field(default_factory=Generating)
    item_id: str | None = None
    announced: bool = False
    early_captions: list[str] = field(default_factory=list)
    captions: int = 0
    spoken_so_far: list[str] = field(default_factory=list)
    spoken_in_full: str = ""
    written: str = ""
    words: list[SpokenWord] = field(default_factory=list)

    @property
    def transcript(self) -> str:
        """What it says: in full once the service has said so, else what came so far."""
        return self.spoken_in_full or "".join(self.spoken_so_far)


# ------------------------------------------------------------------------------------------------ effects


@dataclass(frozen=True, slots=True)
class Send:
    """Send this to the client now; it overtakes queued audio."""

    message: ServerMessage


@dataclass(frozen=True, slots=True)
class SendUpstream:
    """Send this to Voice Live."""

    event: ClientEvent


@dataclass(frozen=True, slots=True)
class End:
    """End the call; `code` None is the normal end, asked for by the client."""

    code: ErrorCode | None


Effect = Send | SendUpstream | End
