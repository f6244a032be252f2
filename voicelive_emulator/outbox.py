"""Events on their way to one client, in order.

A session hands over events without waiting, so their order is that of the session's decisions. The
work that makes many events waits for room first: a client that reads slowly slows its own answers
down. What it has not taken after `SEND_TIMEOUT_S` ends its session.
"""

import asyncio
from collections import deque
from typing import Final

from voicelive_emulator.effects import Close
from voicelive_emulator.events import Event

SEND_TIMEOUT_S: Final = 30.0
AUDIO_ROOM: Final = 32
"""Events that may wait before audio has to wait: about three seconds of it."""
EVENT_ROOM: Final = 256
"""Events that may wait before the client's own events have to wait."""


class Outbox:
    """A queue whose producers wait for room of their own measure; one consumer."""

    def __init__(self) -> None:
        self._waiting: deque[Event | Close] = deque()
        self._changed = asyncio.Condition()
        self._filled = asyncio.Event()

    def put(self, message: Event | Close) -> None:
        """Add a message; never waits."""
        self._waiting.append(message)
        self._filled.set()

    async def room(self, limit: int) -> None:
        """Wait until fewer than `limit` messages wait."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._waiting) < limit)

    async def take(self) -> Event | Close:
        """Return the next message as soon as there is one."""
        while not self._waiting:
            self._filled.clear()
            await self._filled.wait()
        message = self._waiting.popleft()
        async with self._changed:
            self._changed.notify_all()
        return message
