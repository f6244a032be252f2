"""Whether Voice Live is worth an attempt now: a circuit breaker around the opening of sessions.

While the circuit is open, calls are refused before they are accepted, instead of each waiting for its own
failure. The library is one whose window is in time, whose clock no change of the date moves, which lets one
probe through at a time, and for which a cancelled attempt is neither a failure nor a success.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog
from interlock import CircuitBreaker, CircuitOpenError, Config, State, WindowType
from interlock.protocols import CoreEventListener

from app.errors import ErrorCode
from app.voicelive.opening import NoTokenError, OpeningFailedError

WINDOW_S: Final = 10
MIN_ATTEMPTS: Final = 5
FAILURE_RATE: Final = 0.5
"""Opens when, of at least so many attempts in the window, so many have failed."""

OPEN_S: Final = 10.0
PROBE_S: Final = 1.0
"""Who asks while the one probe is under way is told to come back after so long."""

FAILURES: Final = (ErrorCode.UPSTREAM_LOST, ErrorCode.UPSTREAM_PROTOCOL)
"""The service is in trouble. What it refuses (401, 404, 429) shows that it is not."""

MISCONFIGURED_AFTER: Final = 3
MISCONFIGURED_S: Final = 30.0

Opened = TypeVar("Opened")

log = structlog.get_logger(__name__)


class Circuit(CoreEventListener):
    """One for the process. `clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._opened_at = 0.0
        self._under_way = 0
        self._misconfigured = 0
        self._misconfigured_at = 0.0
        self._breaker = CircuitBreaker(
            name="voice-live",
            config=Config(
                failure_rate_threshold=FAILURE_RATE,
                minimum_number_of_calls=MIN_ATTEMPTS,
                permitted_calls_in_half_open=1,
                wait_duration_in_open=OPEN_S,
                window_type=WindowType.TIME_BASED,
                window_size=WINDOW_S,
            ),
            clock=_Clock(clock),
            classifier=_Failures(),
            listener=self,
            unreachable_exceptions=(NoTokenError,),
        )

    @property
    def retry_after_s(self) -> float | None:
        """When an attempt may be made again; None: now."""
        match self._breaker.state:
            case State.OPEN:
                left_s = self._opened_at + OPEN_S - self._clock()
                return left_s if left_s > 0 else None
            case State.HALF_OPEN:
                return PROBE_S if self._under_way else None
            case _:
                return None

    @property
    def is_misconfigured(self) -> bool:
        """Whether the service lately refused our configuration several times in a row."""
        lately = self._clock() - self._misconfigured_at < MISCONFIGURED_S
        return self._misconfigured >= MISCONFIGURED_AFTER and lately

    async def attempt(self, open_session: Callable[[], Awaitable[Opened]]) -> Opened:
        """Make one attempt, unless the circuit is open. Raises OpeningFailedError."""
        try:
            async with self._breaker:
                session = await self._counted(open_session)
        except CircuitOpenError:
            retry_after_s = self.retry_after_s or PROBE_S
            raise OpeningFailedError(ErrorCode.UPSTREAM_BUSY, "the circuit is open", retry_after_s) from None
        except OpeningFailedError as failed:
            if failed.code is ErrorCode.UPSTREAM_CONFIG:
                self._misconfigured += 1
                self._misconfigured_at = self._clock()
            # The breaker keeps what failed last; were it this one, its traceback would keep the whole call.
            raise OpeningFailedError(failed.code, failed.reason, failed.retry_after_s) from None
        self._misconfigured = 0
        return session

    async def _counted(self, open_session: Callable[[], Awaitable[Opened]]) -> Opened:
        self._under_way += 1
        try:
            return await open_session()
        finally:
            self._under_way -= 1

    def on_state_change(self, *, name: str, old: State, new: State) -> None:
        """Called by the breaker."""
        del name
        if new is State.OPEN:
            self._opened_at = self._clock()
        level = log.info if new is State.CLOSED else log.warning
        level("upstream.circuit", was=old.value, now=new.value)


class _Clock:
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock

    def monotonic(self) -> float:
        return self._clock()


class _Failures:
    def is_failure(self, *, result: object, exception: Exception | None) -> bool:
        del result
        return isinstance(exception, OpeningFailedError) and exception.code in FAILURES
