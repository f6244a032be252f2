"""The store of one machine: a SQLite file that its processes share, or memory for one process alone.

On a file SQLite works in a thread of its own, so the event loop never waits for a disk or for another
process's lock. In memory it takes microseconds, less than the way to a thread and back.
"""

import asyncio
import math
import sqlite3
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from app.admission.store import (
    LEASE_TTL_S,
    MIN_CALL_S,
    CallLimits,
    Exceeded,
    Lease,
    Redeemed,
    StoreError,
)
from app.admission.tickets import Grant

Result = TypeVar("Result")

MAX_TICKET_TTL_S: Final = 30.0
OPEN_TIMEOUT_MS: Final = 5_000
BUSY_TIMEOUT_MS: Final = 200
"""How long another process may hold the lock: less than a caller waits for a decision."""

KEPT_DAYS: Final = 2

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS ticket (
    hash BLOB PRIMARY KEY, subject TEXT NOT NULL, origin TEXT, campaign TEXT, expires_at REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lease (
    id TEXT PRIMARY KEY, subject TEXT, address TEXT NOT NULL, day TEXT NOT NULL,
    ends_at REAL NOT NULL, charged_until REAL NOT NULL, expires_at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS lease_subject ON lease (subject);
CREATE INDEX IF NOT EXISTS lease_address ON lease (address);
CREATE TABLE IF NOT EXISTS used (
    day TEXT NOT NULL, subject TEXT NOT NULL, seconds REAL NOT NULL, PRIMARY KEY (day, subject)
) WITHOUT ROWID;
"""
# The clock starts anew with the machine: what would expire later than it ever can is left from before.
_TICKET_EXISTS: Final = (
    "SELECT 1 FROM ticket WHERE hash = :hash AND expires_at > :now AND expires_at <= :now + :ttl"
)
_TAKE_TICKET: Final = (
    "DELETE FROM ticket WHERE hash = :hash AND expires_at > :now AND expires_at <= :now + :ttl "
    "RETURNING subject, origin, campaign, expires_at"
)
_PUT_TICKET: Final = "INSERT INTO ticket VALUES (?, ?, ?, ?, ?)"
_FORGET_TICKETS: Final = "DELETE FROM ticket WHERE NOT (expires_at > :now AND expires_at <= :now + :ttl)"
_FORGET_LEASES: Final = "DELETE FROM lease WHERE NOT (expires_at > :now AND expires_at <= :now + :ttl)"
_CALLS_OF_SUBJECT: Final = (
    "SELECT COUNT(*), TOTAL(MAX(0, ends_at - charged_until)) FROM lease "
    "WHERE subject = :subject AND expires_at > :now AND expires_at <= :now + :ttl"
)
_CALLS_OF_ADDRESS: Final = (
    "SELECT COUNT(*) FROM lease WHERE address = :address AND expires_at > :now AND expires_at <= :now + :ttl"
)
_USED_BY_SUBJECT: Final = "SELECT TOTAL(seconds) FROM used WHERE day = :day AND subject = :subject"
_CHARGE: Final = (
    "INSERT INTO used VALUES (:day, :subject, :seconds) "
    "ON CONFLICT (day, subject) DO UPDATE SET seconds = seconds + excluded.seconds"
)


class SqliteStore:
    """An AdmissionStore."""

    def __init__(self, file: Path | None = None) -> None:
        """`file` is made where it does not exist; None keeps everything in memory. Raises StoreError."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="admission-store") if file else None
        try:
            self._database = self._thread.submit(_open, file).result() if self._thread else _open(None)
        except (sqlite3.Error, OSError) as error:
            if self._thread is not None:
                self._thread.shutdown()
            raise StoreError(str(error)) from error

    async def put_ticket(self, ticket_hash: bytes, grant: Grant, expires_at: float, now: float) -> None:
        """Keep a ticket; throw away those that have expired."""

        def put() -> None:
            values = {"now": now, "ttl": MAX_TICKET_TTL_S}
            with self._writing():
                self._database.execute(_FORGET_TICKETS, values)
                self._put_ticket(ticket_hash, grant, expires_at)

        await self._run(put)

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
        """Use a ticket and count its call, both or neither."""
        values = {"hash": ticket_hash, "now": now, "ttl": MAX_TICKET_TTL_S}

        def use() -> Redeemed | None:
            # Whoever guesses never takes the lock, which others wait for.
            if self._database.execute(_TICKET_EXISTS, values).fetchone() is None:
                return None
            with self._writing(give_up_at):
                row = self._database.execute(_TAKE_TICKET, values).fetchone()
                if row is None:
                    return None
                *granted, expires_at = row
                grant = Grant(*granted)
                lease = self._count(grant.subject, address, limits, day, now) if permits(grant) else None
            return Redeemed(grant, expires_at, lease)

        def undo(used: Redeemed | None) -> None:
            if used is not None:
                with self._writing():
                    self._put_ticket(ticket_hash, used.grant, used.expires_at)
                    self._forget_lease(used.lease)

        give_up_at = time.monotonic() + within_s
        return await self._decide(use, undo, within_s)

    async def acquire(
        self, subject: str | None, address: str, limits: CallLimits, day: str, now: float, within_s: float
    ) -> Lease | Exceeded:
        """Count one more call, unless that would be one too many."""

        def acquire() -> Lease | Exceeded:
            left = self._left_s(subject, address, limits, day, now)
            if isinstance(left, Exceeded):
                return left  # without the lock
            with self._writing(give_up_at):
                return self._count(subject, address, limits, day, now)

        def undo(lease: Lease | Exceeded) -> None:
            with self._writing():
                self._forget_lease(lease)

        give_up_at = time.monotonic() + within_s
        return await self._decide(acquire, undo, within_s)

    async def renew(self, leases: Collection[Lease], now: float) -> None:
        """Keep these leases for another LEASE_TTL_S, and charge what was used."""

        def renew() -> None:
            with self._writing():
                for lease in leases:
                    self._charge(lease, now)
                    self._put_lease(lease, now)

        await self._run(renew)
        for lease in leases:
            lease.charged_until = now

    async def release(self, leases: Collection[Lease], now: float) -> None:
        """Give these leases back, and charge what was used."""

        def release() -> None:
            with self._writing():
                for lease in leases:
                    self._charge(lease, now)
                    self._forget_lease(lease)

        await self._run(release)

    async def close(self) -> None:
        """Close the file."""
        await self._run(self._database.close)
        if self._thread is not None:
            self._thread.shutdown()

    async def _run(self, work: Callable[[], Result]) -> Result:
        try:
            if self._thread is None:
                return work()
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except sqlite3.Error as error:
            raise StoreError(str(error)) from error

    async def _decide(
        self, work: Callable[[], Result], undo: Callable[[Result], None], within_s: float
    ) -> Result:
        """What comes of `work` within this time; whatever comes later is undone."""
        if self._thread is None:
            return await self._run(work)
        deciding = asyncio.get_running_loop().run_in_executor(self._thread, work)
        in_time = False
        try:
            await asyncio.wait([deciding], timeout=within_s)
            in_time = deciding.done()
        finally:
            if not in_time:
                deciding.add_done_callback(partial(self._undo_late, undo))
        if not in_time:
            raise StoreError("too slow")
        try:
            return deciding.result()
        except sqlite3.Error as error:
            raise StoreError(str(error)) from error

    def _undo_late(self, undo: Callable[[Result], None], decided: "asyncio.Future[Result]") -> None:
        # Of a store that is closed already, leases and tickets expire.
        if not decided.cancelled() and decided.exception() is None and self._thread is not None:
            with suppress(RuntimeError):
                self._thread.submit(undo, decided.result())

    # ------------------------------------------------------------------------------- in the store's thread

    @contextmanager
    def _writing(self, give_up_at: float = math.inf) -> Iterator[None]:
        """One transaction that holds the lock from its beginning; not where it is too late for it then."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            _not_after(give_up_at)
            yield
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    def _left_s(
        self, subject: str | None, address: str, limits: CallLimits, day: str, now: float
    ) -> float | Exceeded:
        """How long one more call may be."""
        values = {"subject": subject, "address": address, "day": day, "now": now, "ttl": LEASE_TTL_S}
        calls, reserved_s = self._database.execute(_CALLS_OF_SUBJECT, values).fetchone()
        if 0 < limits.per_subject <= calls:
            return Exceeded.SUBJECT_CALLS
        if 0 < limits.per_address <= self._database.execute(_CALLS_OF_ADDRESS, values).fetchone()[0]:
            return Exceeded.ADDRESS_CALLS
        if subject is None or not limits.daily_s_per_subject:
            return float(limits.call_s)
        (used_s,) = self._database.execute(_USED_BY_SUBJECT, values).fetchone()
        left_s = float(limits.daily_s_per_subject - used_s - reserved_s)
        return min(left_s, limits.call_s) if left_s >= MIN_CALL_S else Exceeded.SUBJECT_MINUTES

    def _count(
        self, subject: str | None, address: str, limits: CallLimits, day: str, now: float
    ) -> Lease | Exceeded:
        left = self._left_s(subject, address, limits, day, now)
        if isinstance(left, Exceeded):
            return left
        self._forget_the_past(day, now)
        lease = Lease(uuid.uuid4().hex, subject, address, day, now + left, now)
        self._put_lease(lease, now)
        return lease

    def _put_ticket(self, ticket_hash: bytes, grant: Grant, expires_at: float) -> None:
        row = (ticket_hash, grant.subject, grant.origin, grant.campaign, expires_at)
        self._database.execute(_PUT_TICKET, row)

    def _put_lease(self, lease: Lease, now: float) -> None:
        row = (lease.lease_id, lease.subject, lease.address, lease.day, lease.ends_at, now, now + LEASE_TTL_S)
        self._database.execute("INSERT OR REPLACE INTO lease VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def _forget_lease(self, lease: Lease | Exceeded | None) -> None:
        if isinstance(lease, Lease):
            self._database.execute("DELETE FROM lease WHERE id = ?", (lease.lease_id,))

    def _charge(self, lease: Lease, now: float) -> None:
        if lease.subject is None:
            return
        seconds = max(0.0, now - lease.charged_until)
        values = {"day": lease.day, "subject": lease.subject, "seconds": seconds}
        self._database.execute(_CHARGE, values)

    def _forget_the_past(self, day: str, now: float) -> None:
        self._database.execute(_FORGET_LEASES, {"now": now, "ttl": LEASE_TTL_S})
        self._database.execute("DELETE FROM used WHERE day < date(?, ?)", (day, f"-{KEPT_DAYS} days"))


def _not_after(give_up_at: float) -> None:
    if time.monotonic() >= give_up_at:
        raise StoreError("too slow")


def _open(file: Path | None) -> sqlite3.Connection:
    if file is not None:
        file.touch(mode=0o600)
    database = sqlite3.connect(file or ":memory:", isolation_level=None)
    database.execute(f"PRAGMA busy_timeout = {OPEN_TIMEOUT_MS}")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.executescript(_SCHEMA)
    database.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    return database
