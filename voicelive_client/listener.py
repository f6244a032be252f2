"""A listener on a call: hears the agent as through a loudspeaker, and reports what was heard."""

import asyncio
from collections import deque
from contextlib import suppress

from voicelive_client.call import CallClosedError, VoiceCall
from voicelive_client.events import Event
from voicelive_client.playout import Played, PlayoutClock


class Listener:
    """Receives for a client that has no loudspeaker of its own."""

    def __init__(self, call: VoiceCall) -> None:
        self._call = call
        self._pending: deque[Event | Played] = deque()
        self.playout = PlayoutClock()

    async def receive(self, until: float | None = None) -> Event | Played | None:
        """Waits for the next event of the call, or for the end of a response for the listener.

        None: nothing happened `until` then (time of the event loop). Ends of responses are reported to
        the gateway before they are returned.
        """
        clock = asyncio.get_running_loop().time
        while not self._pending:
            due = self.playout.next_due()
            wait_until = min((time for time in (due, until) if time is not None), default=None)
            event: Event | None = None
            with suppress(TimeoutError):
                async with asyncio.timeout_at(wait_until):
                    event = await self._call.receive()
            now = clock()
            over = self.playout.tick(now) if event is None else self.playout.receive(event, now)
            await self._report(over)
            self._pending.extend(over)
            if event is not None:
                self._pending.append(event)
            elif not over and until is not None and now >= until:
                return None
        return self._pending.popleft()

    async def _report(self, over: list[Played]) -> None:
        for played in over:
            if played.response_id:
                with suppress(CallClosedError):  # the event that follows says so
                    await self._call.report_playback(played.response_id, played.played_ms)
