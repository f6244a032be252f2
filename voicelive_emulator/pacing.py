"""When audio is sent: as fast as it is made, or at a multiple of the speed at which it plays. Pure."""


class Pacer:
    """The pace of one response. 0 is as fast as possible, 1 real time."""

    def __init__(self, pace: float) -> None:
        self._pace = pace
        self._began_at: float | None = None
        self._sent_ms = 0.0

    def wait_s(self, duration_ms: float, now: float) -> float:
        """Count the next piece of audio; return how long to wait before it is sent."""
        if self._pace == 0:
            return 0.0
        if self._began_at is None:
            self._began_at = now
        due = self._began_at + self._sent_ms / 1_000 / self._pace
        self._sent_ms += duration_ms
        return max(0.0, due - now)
