"""The store, in memory and as a file that two processes' worth of connections share: one suite for both."""

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from app.admission.sqlite_store import SqliteStore
from app.admission.store import (
    LEASE_TTL_S,
    AdmissionStore,
    CallLimits,
    Exceeded,
    Lease,
    StoreError,
)
from app.admission.tickets import Grant, hash_ticket, new_ticket
from tests.processes import PROJECT

Open = Callable[[], AdmissionStore]

NONE = CallLimits(per_subject=0, per_address=0, daily_s_per_subject=0, call_s=1740)
GRANT = Grant("alice", "https://shop.example.com", "spring")
PATIENTLY_S = 60.0
DAY, NEXT_DAY = "2026-11-28", "2026-11-29"


@pytest.fixture(params=["memory", "file"])
async def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Open]:
    """Opens the store: in memory there is one, of a file as many as wanted."""
    async with AsyncExitStack() as stack:
        opened: list[SqliteStore] = []

        def open_one() -> AdmissionStore:
            if request.param == "memory" and opened:
                return opened[0]
            store = SqliteStore(tmp_path / "store.db" if request.param == "file" else None)
            opened.append(store)
            stack.push_async_callback(store.close)
            return store

        yield open_one


async def acquired(
    store: AdmissionStore,
    limits: CallLimits,
    now: float = 0,
    *,
    subject: str | None = "alice",
    address: str = "198.51.100.1",
    day: str = DAY,
) -> Lease:
    lease = await store.acquire(subject, address, limits, day, now, PATIENTLY_S)
    assert isinstance(lease, Lease)
    return lease


async def taken(store: AdmissionStore, key: bytes, now: float) -> Grant | None:
    """What the ticket grants."""
    used = await store.redeem(key, lambda _: True, "a", NONE, DAY, now, PATIENTLY_S)
    return used.grant if used else None


class TestTickets:
    async def test_a_ticket_is_taken_once_with_what_it_grants(self, open_store: Open) -> None:
        store = open_store()
        key = hash_ticket(new_ticket())
        await store.put_ticket(key, GRANT, expires_at=30, now=0)
        assert await taken(store, key, 1) == GRANT
        assert await taken(store, key, 1) is None

    async def test_of_many_takers_at_once_one_gets_it(self, open_store: Open) -> None:
        stores = [open_store() for _ in range(4)]
        key = hash_ticket(new_ticket())
        await stores[0].put_ticket(key, GRANT, expires_at=30, now=0)
        takers = [taken(stores[n % 4], key, 1) for n in range(200)]
        grants = await asyncio.gather(*takers)
        assert [grant for grant in grants if grant] == [GRANT]

    @pytest.mark.parametrize("now", [30.0, 31.0, 1e9])
    async def test_an_expired_ticket_opens_nothing(self, open_store: Open, now: float) -> None:
        store = open_store()
        key = hash_ticket(new_ticket())
        await store.put_ticket(key, GRANT, expires_at=30, now=0)
        assert await taken(store, key, now) is None

    async def test_a_ticket_from_before_the_machine_restarted_opens_nothing(self, open_store: Open) -> None:
        store = open_store()
        key = hash_ticket(new_ticket())
        await store.put_ticket(key, GRANT, expires_at=9_030, now=9_000)
        assert await taken(store, key, 10) is None

    async def test_unknown_tickets_and_none_for_a_page(self, open_store: Open) -> None:
        store = open_store()
        assert await taken(store, hash_ticket("guess"), 0) is None
        key = hash_ticket(new_ticket())
        await store.put_ticket(key, Grant("bob"), expires_at=30, now=0)
        assert await taken(store, key, 0) == Grant("bob", None, None)


class TestLeases:
    async def test_calls_of_a_subject_and_of_an_address_are_counted(self, open_store: Open) -> None:
        stores = [open_store(), open_store()]
        limits = replace(NONE, per_subject=2, per_address=3)
        for store in stores:
            await acquired(store, limits)
        for store in stores:
            answer = await store.acquire("alice", "203.0.113.1", limits, DAY, 0, PATIENTLY_S)
            assert answer is Exceeded.SUBJECT_CALLS
        await acquired(stores[0], limits, subject="bob")
        for subject in ("carol", None):
            answer = await stores[1].acquire(subject, "198.51.100.1", limits, DAY, 0, PATIENTLY_S)
            assert answer is Exceeded.ADDRESS_CALLS
        await acquired(stores[1], limits, subject="carol", address="203.0.113.1")

    async def test_many_at_once_never_exceed_the_limit(self, open_store: Open) -> None:
        stores = [open_store() for _ in range(4)]
        limits = replace(NONE, per_subject=7)
        asking = [stores[n % 4].acquire("alice", f"a{n}", limits, DAY, 0, PATIENTLY_S) for n in range(100)]
        answers = await asyncio.gather(*asking)
        assert sum(isinstance(answer, Lease) for answer in answers) == 7

    async def test_a_lease_is_free_when_it_is_released_or_not_renewed(self, open_store: Open) -> None:
        store = open_store()
        limits = replace(NONE, per_subject=1)
        lease = await acquired(store, limits, 0)
        await store.release([lease], 5)
        lease = await acquired(store, limits, 5)
        await store.renew([lease], 20)
        assert (
            await store.acquire("alice", "a", limits, DAY, 20 + LEASE_TTL_S - 1, PATIENTLY_S)
            is Exceeded.SUBJECT_CALLS
        )
        await acquired(store, limits, 20 + LEASE_TTL_S)

    async def test_a_live_call_that_the_store_forgot_counts_again_when_renewed(
        self, open_store: Open
    ) -> None:
        store = open_store()
        limits = replace(NONE, per_subject=1)
        lease = await acquired(store, limits, 0)
        other = await acquired(store, limits, 100)
        await store.release([other], 101)
        await store.renew([lease], 102)
        assert await store.acquire("alice", "a", limits, DAY, 103, PATIENTLY_S) is Exceeded.SUBJECT_CALLS

    async def test_a_lease_from_before_the_machine_restarted_counts_for_nothing(
        self, open_store: Open
    ) -> None:
        store = open_store()
        limits = replace(NONE, per_subject=1)
        await acquired(store, limits, 9_000)
        await acquired(store, limits, 10)


class TestMinutes:
    LIMITS = replace(NONE, daily_s_per_subject=600, call_s=400)

    async def test_a_call_may_last_as_long_as_minutes_are_left(self, open_store: Open) -> None:
        store = open_store()
        first = await acquired(store, self.LIMITS, 0)
        second = await acquired(store, self.LIMITS, 0)
        assert (first.ends_at, second.ends_at) == (400, 200)
        assert await store.acquire("alice", "a", self.LIMITS, DAY, 0, PATIENTLY_S) is Exceeded.SUBJECT_MINUTES
        await acquired(store, self.LIMITS, 0, subject="bob")
        await acquired(store, self.LIMITS, 0, day=NEXT_DAY, subject="carol")

    async def test_what_was_used_is_charged_once_however_often_it_is_renewed(self, open_store: Open) -> None:
        store = open_store()
        lease = await acquired(store, self.LIMITS, 0)
        for now in range(10, 101, 10):
            await store.renew([lease], now)
        await store.release([lease], 105)
        lease = await acquired(store, replace(self.LIMITS, call_s=10_000), 200)
        assert lease.ends_at == 200 + 600 - 105

    async def test_of_a_process_that_died_what_it_had_used_stays_charged(self, open_store: Open) -> None:
        store = open_store()
        lease = await acquired(store, self.LIMITS, 0)
        for now in (10, 20):
            await store.renew([lease], now)
        lease = await acquired(store, replace(self.LIMITS, call_s=10_000), 100)
        assert lease.ends_at == 100 + 600 - 20

    async def test_a_new_day_begins_afresh(self, open_store: Open) -> None:
        store = open_store()
        lease = await acquired(store, replace(self.LIMITS, call_s=600), 0)
        await store.release([lease], 600)
        assert (
            await store.acquire("alice", "a", self.LIMITS, DAY, 600, PATIENTLY_S) is Exceeded.SUBJECT_MINUTES
        )
        lease = await acquired(store, self.LIMITS, 600, day=NEXT_DAY)
        assert lease.ends_at == 1000

    @hypothesis_settings(
        max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(
        steps=st.lists(
            st.tuples(st.sampled_from(["call", "end", "renew", "die"]), st.integers(0, 25)), max_size=25
        )
    )
    def test_whatever_happens_a_subject_never_gets_more_than_the_budget(
        self, steps: list[tuple[str, int]]
    ) -> None:
        asyncio.run(self._play(steps))

    async def _play(self, steps: list[tuple[str, int]]) -> None:
        async with AsyncExitStack() as stack:
            store = SqliteStore()
            stack.push_async_callback(store.close)
            limits = replace(NONE, per_subject=3, daily_s_per_subject=120, call_s=60)
            live: dict[str, tuple[Lease, float]] = {}
            now, talked_s = 0.0, 0.0
            for step, seconds in steps:
                now += seconds
                for lease, started_at in [call for call in live.values() if call[0].ends_at <= now]:
                    del live[lease.lease_id]
                    await store.release([lease], lease.ends_at)
                    talked_s += lease.ends_at - started_at
                await store.renew([lease for lease, _ in live.values()], now)
                if step == "call":
                    answer = await store.acquire("alice", "a", limits, DAY, now, PATIENTLY_S)
                    if isinstance(answer, Lease):
                        live[answer.lease_id] = (answer, now)
                elif step in ("end", "die") and live:
                    _, (lease, started_at) = live.popitem()
                    talked_s += now - started_at
                    if step == "end":
                        await store.release([lease], now)
                assert len(live) <= 3
                promised_s = sum(lease.ends_at - started_at for lease, started_at in live.values())
                assert talked_s + promised_s <= 120.001


class TestFile:
    async def test_the_file_is_for_its_owner_alone(self, tmp_path: Path) -> None:
        file = tmp_path / "store.db"
        async with AsyncExitStack() as stack:
            stack.push_async_callback(SqliteStore(file).close)
            assert file.stat().st_mode & 0o077 == 0

    async def test_tickets_are_in_it_as_their_hash_alone(self, tmp_path: Path) -> None:
        file = tmp_path / "store.db"
        ticket = new_ticket()
        store = SqliteStore(file)
        await store.put_ticket(hash_ticket(ticket), GRANT, 30, 0)
        await store.close()
        assert ticket.encode() not in all_bytes(tmp_path)

    async def test_a_file_that_cannot_be_opened_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError):
            SqliteStore(tmp_path / "nowhere" / "store.db")
        broken = tmp_path / "broken.db"
        broken.write_bytes(b"this is no database" * 100)
        with pytest.raises(StoreError):
            SqliteStore(broken)

    async def test_a_lock_that_another_process_keeps_is_an_error_soon(self, tmp_path: Path) -> None:
        file = tmp_path / "store.db"
        async with AsyncExitStack() as stack:
            store = SqliteStore(file)
            stack.push_async_callback(store.close)
            with closing(sqlite3.connect(file, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                started = asyncio.get_running_loop().time()
                with pytest.raises(StoreError):
                    await store.put_ticket(hash_ticket(new_ticket()), GRANT, 30, 0)
                assert await taken(store, hash_ticket("guess"), 0) is None  # guessing needs no lock
                assert asyncio.get_running_loop().time() - started < 2
            await store.put_ticket(hash_ticket(new_ticket()), GRANT, 30, 0)

    async def test_what_comes_too_late_has_no_effect(self, tmp_path: Path) -> None:
        file = tmp_path / "store.db"
        key, once = hash_ticket(new_ticket()), replace(NONE, per_subject=1)
        slow = threading.Event()

        def permits_late(_: Grant) -> bool:
            return slow.wait(20)

        def permits(_: Grant) -> bool:
            return True

        async with AsyncExitStack() as stack:
            store = SqliteStore(file)
            stack.push_async_callback(store.close)
            await store.put_ticket(key, GRANT, 30, 0)
            with closing(sqlite3.connect(file, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                with pytest.raises(StoreError):
                    await store.redeem(key, permits, "a", once, DAY, 0, 0.05)
                with pytest.raises(StoreError):
                    await store.acquire("alice", "a", once, DAY, 0, 0.05)
            with pytest.raises(StoreError):
                await store.redeem(key, permits_late, "a", once, DAY, 0, 0.05)
            slow.set()
            used = None
            async with asyncio.timeout(10):
                while used is None:  # until the thread has done what was asked of it before
                    used = await store.redeem(key, permits, "a", once, DAY, 0, PATIENTLY_S)
            assert used.grant == GRANT
            assert isinstance(used.lease, Lease)
            assert await store.redeem(key, permits, "a", once, DAY, 0, PATIENTLY_S) is None

    async def test_processes_that_open_a_new_file_together_share_it(self, tmp_path: Path) -> None:
        file = tmp_path / "store.db"
        key = hash_ticket(new_ticket())
        takers = [start_taker(file, key), start_taker(file, key)]
        store = SqliteStore(file)
        await store.put_ticket(key, GRANT, 30, 0)
        outputs = [taker.communicate("go\n", timeout=60)[0] for taker in takers]
        await store.close()
        assert sum(map(int, outputs)) == 1


def all_bytes(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


TAKER = """
import asyncio, sys
from pathlib import Path
from app.admission.sqlite_store import SqliteStore
from app.admission.store import CallLimits

async def main():
    store, key = SqliteStore(Path(sys.argv[1])), bytes.fromhex(sys.argv[2])
    print('open', flush=True)
    sys.stdin.readline()
    limits = CallLimits(0, 0, 0, 60)
    taken = await asyncio.gather(
        *(store.redeem(key, lambda _: True, 'a', limits, '2026-11-28', 1, 60) for _ in range(100))
    )
    print(sum(grant is not None for grant in taken))
    await store.close()

asyncio.run(main())
"""


def start_taker(file: Path, key: bytes) -> "subprocess.Popen[str]":
    """A process that has opened the store, and at a line of input tries to take the ticket, often."""
    command = [sys.executable, "-c", TAKER, str(file), key.hex()]
    taker = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert taker.stdout is not None
    assert taker.stdout.readline() == "open\n"
    return taker
