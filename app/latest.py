"""The last few of many. Pure."""

from typing import TypeVar

Item = TypeVar("Item")


class Latest(list[Item]):
    """At most `limit` items, the newest last; the oldest are dropped.

    Like a bounded deque, which takes ten times the memory of a call while nothing is in it.
    """

    __slots__ = ("limit",)

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def append(self, item: Item) -> None:
        """Add the newest."""
        super().append(item)
        del self[: -self.limit]
