"""When an attempt to open a session is made a second time.

Once, and only where the first one cannot have begun a session and a second one has a chance: nobody there or
a server error, after a random pause; a busy service that asks for a short wait; a token that was refused,
with a new one.
"""

import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt

from app.errors import ErrorCode

ATTEMPTS: Final = 2
PAUSE_S: Final = (0.2, 0.6)
MAX_RETRY_AFTER_S: Final = 2.0
"""A longer `Retry-After` is the caller's to wait for."""

Opened = TypeVar("Opened")


class OpeningFailedError(Exception):
    """No session came about. `code` is the contract's; `reason` is for the operator and holds no secret.

    `retry_after_s`: when the client may try again, where the service says so. `again_in_s`: when we ourselves
    may; None for not at all.
    """

    def __init__(
        self,
        code: ErrorCode,
        reason: str,
        retry_after_s: float | None = None,
        again_in_s: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.again_in_s = again_in_s


class NoTokenError(OpeningFailedError):
    """Voice Live was not even asked."""


def nobody_there(reason: str) -> OpeningFailedError:
    """The endpoint could not be reached, or has a fault of its own."""
    return OpeningFailedError(ErrorCode.UPSTREAM_LOST, reason, again_in_s=random.uniform(*PAUSE_S))  # noqa: S311 (no secret)


def refused(
    status: int, reason: str, retry_after_s: float | None, *, has_new_token: bool
) -> OpeningFailedError:
    """The handshake was answered with this status. `has_new_token`: another attempt would carry another."""
    match status:
        case 401 | 403:
            again = 0.0 if status == 401 and has_new_token else None
            return OpeningFailedError(ErrorCode.UPSTREAM_AUTH, reason, again_in_s=again)
        case 429:
            short = retry_after_s is not None and retry_after_s <= MAX_RETRY_AFTER_S
            again = retry_after_s if short else None
            return OpeningFailedError(ErrorCode.UPSTREAM_BUSY, reason, retry_after_s, again)
        case status if 400 <= status < 500:
            return OpeningFailedError(ErrorCode.UPSTREAM_CONFIG, reason)
        case _:
            return nobody_there(reason)


async def attempt_twice(open_session: Callable[[], Awaitable[Opened]], left_s: Callable[[], float]) -> Opened:
    """Make a second attempt where that is safe and `left_s` allows it.

    Raises OpeningFailedError, of the last attempt.
    """

    def worth_it(error: BaseException) -> bool:
        again_in_s = _again_in_s(error)
        return again_in_s is not None and again_in_s < left_s()

    attempts = AsyncRetrying(
        retry=retry_if_exception(worth_it),
        wait=_pause,
        stop=stop_after_attempt(ATTEMPTS),
        reraise=True,
    )
    try:
        return await attempts(open_session)
    finally:
        # It holds methods of what holds it: only the garbage collector would find them.
        attempts.iter_state.reset()


def _pause(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    return _again_in_s(error) or 0.0


def _again_in_s(error: BaseException | None) -> float | None:
    return error.again_in_s if isinstance(error, OpeningFailedError) else None
