"""The transcripts that a client may have missed when its connection broke. Pure."""

from typing import Final

from app.latest import Latest
from app.messages import AgentText, AgentTranscript, ServerMessage, UserTranscript

UNNOTICED_S: Final = 25.0
"""A connection may have been dead for this long before it was noticed: ping and pong time-outs, and some."""

MAX_TRANSCRIPTS: Final = 200

Transcript = UserTranscript | AgentTranscript | AgentText


class RecentTranscripts:
    """The last transcripts with the time at which each was sent; the oldest are dropped."""

    def __init__(self) -> None:
        self._transcripts: Latest[tuple[float, Transcript]] = Latest(MAX_TRANSCRIPTS)

    def note(self, message: ServerMessage, now: float) -> None:
        """A message goes to the client now, or would if there were one."""
        if isinstance(message, UserTranscript | AgentTranscript | AgentText):
            self._transcripts.append((now, message))

    def since(self, lost_at: float) -> list[Transcript]:
        """What a client may have missed whose connection was found broken at `lost_at`.

        Some of it may have arrived: a client knows that by `item_id` and `response_id`.
        """
        return [message for sent_at, message in self._transcripts if sent_at >= lost_at - UNNOTICED_S]
