"""How much one resource may ask for: new connections and tokens in any minute.

Pure. Microsoft documents 30 new connections and 120,000 tokens per minute for a standard resource; an
emulator has no limits unless it is told.
"""

from collections import deque
from typing import Final

_MINUTE_S: Final = 60.0


class Quota:
    """One resource. Time is seconds of a clock that only goes forward."""

    def __init__(self, connections_per_minute: int | None, tokens_per_minute: int | None) -> None:
        """None is no limit."""
        self._connections_per_minute = connections_per_minute
        self._tokens_per_minute = tokens_per_minute
        self._connections: deque[float] = deque()
        self._tokens: deque[tuple[float, int]] = deque()

    def connect(self, now: float) -> float:
        """Take one connection; return 0, or the seconds to wait when there is none left."""
        if self._connections_per_minute is None:
            return 0.0
        while self._connections and self._connections[0] <= now - _MINUTE_S:
            self._connections.popleft()
        if len(self._connections) >= self._connections_per_minute:
            return self._connections[0] + _MINUTE_S - now if self._connections else _MINUTE_S
        self._connections.append(now)
        return 0.0

    def spend(self, tokens: int, now: float) -> None:
        """Count the tokens of a response that has ended."""
        if self._tokens_per_minute is not None:
            self._tokens.append((now, tokens))

    def has_tokens(self, now: float) -> bool:
        """Return whether another response may begin."""
        while self._tokens and self._tokens[0][0] <= now - _MINUTE_S:
            self._tokens.popleft()
        limit = self._tokens_per_minute
        return limit is None or sum(tokens for _, tokens in self._tokens) < limit
