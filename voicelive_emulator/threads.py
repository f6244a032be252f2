"""Conversations with agents that a later session takes up again, by the id in `session.agent`.

Pure. Microsoft documents that a conversation belongs to one agent of one project: with another agent
the same id begins a new conversation.
"""

from collections.abc import Callable
from typing import Final

from voicelive_emulator.agents import Entry

_MOST_THREADS: Final = 1_000
_MOST_ENTRIES: Final = 1_000


class Threads:
    """What was said in the last conversations, as far as it was heard."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str, str], tuple[Entry, ...]] = {}

    def open(
        self, agent: str, project: str, wanted_id: str, new_id: Callable[[], str]
    ) -> tuple[str, tuple[Entry, ...]]:
        """Return the id of the conversation and what was said in it: nothing, unless it is known."""
        if (agent, project, wanted_id) in self._kept:
            return wanted_id, self._kept[agent, project, wanted_id]
        return new_id(), ()

    def keep(self, agent: str, project: str, thread_id: str, history: tuple[Entry, ...]) -> None:
        """Remember a conversation whose session has ended; the oldest ones are forgotten."""
        key = (agent, project, thread_id)
        self._kept.pop(key, None)
        self._kept[key] = history[-_MOST_ENTRIES:]
        while len(self._kept) > _MOST_THREADS:
            del self._kept[next(iter(self._kept))]
