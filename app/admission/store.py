"""What must be one for all processes that serve the same callers: tickets, live calls, minutes used.

Live calls are leases: a process that dies stops renewing its own, and they are free again by themselves.
Times are seconds of one monotonic clock that all users of a store share.
"""

import enum
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, Protocol

from app.admission.tickets import Grant

LEASE_TTL_S: Final = 30.0
RENEW_EVERY_S: Final = 10.0
MIN_CALL_S: Final = 10
"""A subject whose minutes leave less than this for a call has none left."""


class StoreError(Exception):
    """The store does not answer. Whoever needs it to decide must refuse."""


class Exceeded(enum.Enum):
    """The limit that one more call would exceed. The values are the settings' names."""

    SUBJECT_CALLS = "MAX_CALLS_PER_SUBJECT"
    ADDRESS_CALLS = "MAX_CALLS_PER_ADDRESS"
    SUBJECT_MINUTES = "DAILY_MINUTES_PER_SUBJECT"


@dataclass(frozen=True, slots=True)
class CallLimits:
    """The limits that are counted here; 0 is none. `call_s`: the longest that one call may be."""

    per_subject: int
    per_address: int
    daily_s_per_subject: int
    call_s: int


@dataclass(slots=True)
class Lease:
    """One live call. `subject` None: an open gateway knows nobody. Its owner alone changes it.

    The minutes of `subject` on `day` are charged up to `charged_until`, and reserved from there to `ends_at`.
    """

    lease_id: str
    subject: str | None
    address: str
    day: str
    ends_at: float
    charged_until: float


@dataclass(frozen=True, slots=True)
class Redeemed:
    """A ticket that was used. `lease`: its call, or the limit that this would exceed; None: not permitted."""

    grant: Grant
    expires_at: float
    lease: Lease | Exceeded | None


class AdmissionStore(Protocol):
    """Every method raises StoreError when the store does not answer.

    What takes a `within_s` has no effect if it raises: a ticket can still be used, and no call counts.
    """

    async def put_ticket(self, ticket_hash: bytes, grant: Grant, expires_at: float, now: float) -> None:
        """Keep a ticket until it is taken or expires."""

    async def redeem(
        self,
        ticket_hash: bytes,
        permits: Callable[[Grant], bool],
        address: str,
        limits: CallLimits,
        day: str,
        now: float,
        within_s: float,
    ) -> Redeemed | None:
        """Use a ticket, and count its call as `acquire` does if the grant `permits` it.

        None for a ticket that is unknown, used or expired. `permits` is pure, and may run in another thread.
        """

    async def acquire(
        self, subject: str | None, address: str, limits: CallLimits, day: str, now: float, within_s: float
    ) -> Lease | Exceeded:
        """Count one more call, for LEASE_TTL_S unless renewed; it may last until the lease's `ends_at`."""

    async def renew(self, leases: Collection[Lease], now: float) -> None:
        """These calls are still live, whatever the store remembers of them."""

    async def release(self, leases: Collection[Lease], now: float) -> None:
        """These calls are over."""

    async def close(self) -> None:
        """No other method may be called afterwards."""
