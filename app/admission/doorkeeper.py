"""Admits callers: asks the rules and the store in order, within a bound, and keeps the leases of live calls.

The order: ready, host, origin, ticket, calls and minutes of the subject, calls of the address, load of this
process. Nothing here reaches Voice Live or its credentials.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

import structlog

from app.admission import decision
from app.admission.addresses import limit_key
from app.admission.decision import Handshake
from app.admission.refusals import Refusal
from app.admission.store import RENEW_EVERY_S, AdmissionStore, CallLimits, Exceeded, Lease, StoreError
from app.admission.tickets import Grant, hash_ticket
from app.config import Settings
from app.lifecycle import Lifecycle, Phase

ADMISSION_TIMEOUT_S: Final = 0.3
RELEASE_TIMEOUT_S: Final = 2.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Admitted:
    """A caller who may call. `lease` must be released when the call is over."""

    grant: Grant | None
    lease: Lease | None
    max_duration_s: int


class Doorkeeper:
    """One for each process. Live calls count for LEASE_TTL_S at most without `keep_leases`."""

    def __init__(
        self,
        settings: Settings,
        store: AdmissionStore,
        lifecycle: Lifecycle,
        upstream_retry_after_s: Callable[[], float | None],
        max_calls: int,
    ) -> None:
        """`max_calls`: so many this process can serve at once."""
        self._settings = settings
        self._store = store
        self._lifecycle = lifecycle
        self._upstream_retry_after_s = upstream_retry_after_s
        self._max_calls = max_calls
        self._limits = CallLimits(
            per_subject=settings.max_calls_per_subject,
            per_address=settings.max_calls_per_address,
            daily_s_per_subject=settings.daily_minutes_per_subject * 60,
            call_s=settings.max_call_duration_s,
        )
        self._live: dict[str, Lease] = {}
        self._over: list[Lease] = []
        self._wake = asyncio.Event()

    def refuse_stranger(self, handshake: Handshake) -> Refusal | None:
        """What is asked of everybody, also of who takes up a lost call."""
        return decision.refuse_stranger(
            handshake,
            trusted_hosts=self._settings.trusted_hosts,
            allowed_origins=self._settings.allowed_origins,
        )

    async def admit(self, handshake: Handshake) -> Admitted | Refusal:
        """Whether a new call may start. A ticket that is good so far is used by asking.

        Between the answer and `Lifecycle.call` nothing may wait, or MAX_CALLS could be exceeded.
        """
        if self._lifecycle.phase is not Phase.READY:
            return decision.NOT_READY
        refusal = self.refuse_stranger(handshake)
        if refusal is not None:
            return refusal
        try:
            admitted = await self._ask_store(handshake)
        except StoreError as error:
            log.error("admission.store_failed", reason=str(error))  # noqa: TRY400
            return decision.NO_STORE
        if isinstance(admitted, Refusal):
            return admitted
        refusal = decision.refuse_by_load(
            self._lifecycle.phase,
            self._lifecycle.live_calls,
            self._max_calls,
            self._upstream_retry_after_s(),
        )
        if refusal is not None:
            self.release(admitted)
            return refusal
        return admitted

    def release(self, admitted: Admitted) -> None:
        """The call is over, or did not come about."""
        if admitted.lease is not None and self._live.pop(admitted.lease.lease_id, None) is not None:
            self._over.append(admitted.lease)
            self._wake.set()

    async def keep_leases(self) -> None:
        """Renew the leases of live calls, and give back those of calls that are over, until cancelled."""
        renew_at = time.monotonic() + RENEW_EVERY_S
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, renew_at - time.monotonic())):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self._give_back()
                if time.monotonic() >= renew_at:
                    renew_at = time.monotonic() + RENEW_EVERY_S
                    if self._live:
                        await self._store.renew(list(self._live.values()), time.monotonic())
            except StoreError as error:
                # Live calls go on; what was not given back expires by itself.
                log.error("admission.store_failed", reason=str(error))  # noqa: TRY400

    async def close(self) -> None:
        """Give every lease back: no call is live any more."""
        self._over += self._live.values()
        self._live.clear()
        with suppress(StoreError, TimeoutError):
            async with asyncio.timeout(RELEASE_TIMEOUT_S):
                await self._give_back()

    async def _give_back(self) -> None:
        over, self._over = self._over, []
        if over:
            await self._store.release(over, time.monotonic())

    async def _ask_store(self, handshake: Handshake) -> Admitted | Refusal:
        grant = None
        now, clock = datetime.now(UTC), time.monotonic()
        address, day = limit_key(handshake.address), now.date().isoformat()
        lease: Lease | Exceeded
        if self._settings.client_auth == "ticket":
            refusal = decision.refuse_without_ticket(handshake)
            if refusal is not None:
                return refusal
            used = await self._store.redeem(
                hash_ticket(handshake.ticket or ""),
                partial(decision.permits, handshake),
                address,
                self._limits,
                day,
                clock,
                ADMISSION_TIMEOUT_S,
            )
            if used is None:
                return decision.UNKNOWN_TICKET
            if used.lease is None:
                return decision.FOREIGN_TICKET
            grant, lease = used.grant, used.lease
        elif self._limits.per_address:
            lease = await self._store.acquire(None, address, self._limits, day, clock, ADMISSION_TIMEOUT_S)
        else:
            return Admitted(None, None, self._limits.call_s)
        if isinstance(lease, Exceeded):
            return decision.refuse_by_count(lease, _seconds_to_midnight(now))
        self._live[lease.lease_id] = lease
        return Admitted(grant, lease, int(lease.ends_at - clock))


def _seconds_to_midnight(now: datetime) -> int:
    midnight = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), UTC)
    return int((midnight - now).total_seconds()) + 1
