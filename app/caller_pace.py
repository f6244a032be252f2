"""How fast caller speech goes to Voice Live: at most CALLER_AUDIO_MAX_RATE times real time. Pure.

Nobody speaks faster than real time, but whoever sends faster is billed for it by the service, on our account.
A caller may be ahead by a burst, as after a stall of the network; then their socket is not read, and who
keeps sending is rate limited. The clock is asked only when the allowance is used up, some eight times a
second.
"""

import math
from typing import Final

from app.messages import BYTES_PER_MS

STEP_MS: Final = 125
"""The allowance holds so much audio at most. In any 5 s then not more than the rate plus 5 % goes on."""

BURST_BYTES: Final = 5_000 * BYTES_PER_MS
"""So much may wait here before the caller's socket is left unread; it is read again below half of it."""

SUSTAINED_S: Final = 10.0
FORGIVEN_S: Final = 5.0
"""Who had to be stopped again within this time is still too fast."""


class CallerAudioPace:
    """The allowance of one call. Times are monotonic seconds, amounts bytes of PCM16 at 24 kHz, mono."""

    def __init__(self, max_rate: float, now: float) -> None:
        """`max_rate` times real time; 0: without limit."""
        self.allowance: float = math.inf
        """So much may go on now. Whoever sends takes it off."""

        self._bytes_per_s = max_rate * 1000 * BYTES_PER_MS
        self._refilled_at = now
        self._too_fast_since: float | None = None
        self._stopped_at = -math.inf
        if max_rate:
            self.allowance = STEP_MS * BYTES_PER_MS

    def refill(self, now: float) -> None:
        """Add what the time since the last refill is worth."""
        self._refill(now, STEP_MS * BYTES_PER_MS)

    def catch_up(self, now: float) -> None:
        """The same without the small bound, for what was said while there was nobody to hear it."""
        self._refill(now, math.inf)

    def wait_s(self, waiting_bytes: int) -> float:
        """How long from the last refill on until these may go, or as much of them as may go together."""
        wanted = min(waiting_bytes, STEP_MS * BYTES_PER_MS)
        return max(0.0, wanted - self.allowance) / self._bytes_per_s

    def stopped(self, now: float) -> bool:
        """The caller is so far ahead that they are not read. Whether this has gone on for too long."""
        if self._too_fast_since is None or now - self._stopped_at > FORGIVEN_S:
            self._too_fast_since = now
        self._stopped_at = now
        return now - self._too_fast_since >= SUSTAINED_S

    def _refill(self, now: float, most: float) -> None:
        if not self._bytes_per_s:
            return
        self.allowance = min(self.allowance + (now - self._refilled_at) * self._bytes_per_s, most)
        self._refilled_at = now
