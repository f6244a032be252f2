"""Conversations with agents that a later session takes up again, by the id in `session.agent`.

Pure. Microsoft documents that a conversation belongs to one agent of one project: with another agent
the same id begins a new conversation.
"""

from collections.abc import Callable
from typing import Final

from voicelive_emulator.agents import Entry

_MOST_THREADS: Final = 1_000

History = tuple[Entry, ...]


class Thread:
    """One session's part in a conversation."""

    def __init__(self, thread_id: str, earlier: History) -> None:
        self.thread_id = thread_id
        self.earlier = earlier
        """What was said before this session."""
        self._going_on: Callable[[], History] | None = None

    def begin(self, history: Callable[[], History]) -> None:
        """Ask the session for its history while it goes on: a caller may return before it is over."""
        self._going_on = history

    def end(self) -> None:
        """Keep what was said; the session itself is not needed any more."""
        self.earlier, self._going_on = self.history(), None

    def history(self) -> History:
        """Return what was said so far, as far as it was heard."""
        return self.earlier if self._going_on is None else self._going_on()


class Threads:
    """The last conversations of one emulator; older ones are forgotten."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str, str], Thread] = {}

    def open(self, agent: str, project: str, wanted_id: str, new_id: Callable[[], str]) -> Thread:
        """Return the conversation `wanted_id`, or a new one if it is not known."""
        known = self._kept.pop((agent, project, wanted_id), None)
        thread = Thread(new_id(), ()) if known is None else Thread(wanted_id, known.history())
        self._kept[agent, project, thread.thread_id] = thread
        while len(self._kept) > _MOST_THREADS:
            del self._kept[next(iter(self._kept))]
        return thread
