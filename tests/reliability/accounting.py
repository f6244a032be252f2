"""What a process holds, counted from outside the code that holds it: what a call took must come back."""

import asyncio
import gc
import logging
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from structlog.testing import capture_logs

from app.calls import Calls
from app.lifecycle import Lifecycle
from app.service import VoiceLiveSessionManager

SETTLE_S = 5.0
_LOOK_EVERY_S = 0.05

NEIGHBOURS = "aiohttp.server"
"""The logger of the servers that play the gateway's neighbours; the gateway has none of these."""


@dataclass(frozen=True)
class Census:
    """Everything of which a call could leave something behind."""

    tasks: int
    sockets: int
    files: int
    threads: int
    calls: int
    """Objects of calls, and places that they hold: among the running, the resumable and the live ones."""
    leases: int
    """What the store of admission holds for them: tickets, and counts by subject and address."""

    def beyond(self, baseline: "Census") -> dict[str, int]:
        """What is more than at the baseline, by name."""
        return {
            name: count - before
            for name, count in vars(self).items()
            if count > (before := vars(baseline)[name])
        }


def census(store: Path) -> Census:
    """Count now, in this process and event loop, and in this file of the gateway's admission."""
    leases = _rows(store)
    kinds: Counter[str] = Counter()
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            kinds[str(descriptor.readlink()).partition(":")[0]] += 1
    return Census(
        tasks=len(asyncio.all_tasks()),
        sockets=kinds["socket"],
        files=kinds.total(),
        threads=threading.active_count(),
        calls=sum(map(_places, gc.get_objects())),
        leases=leases,
    )


def _rows(store: Path) -> int:
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True, timeout=SETTLE_S)) as database:
        (rows,) = database.execute(
            "SELECT (SELECT COUNT(*) FROM ticket) + (SELECT COUNT(*) FROM lease)"
        ).fetchone()
    return int(rows)


def _places(thing: object) -> int:
    match thing:
        case VoiceLiveSessionManager():
            return 1
        case Calls():
            return len(thing.live) + len(thing._resumable)
        case Lifecycle():
            return thing.live_calls
        case _:
            return 0


async def at_rest(store: Path) -> Census:
    """The baseline: no call is live, and none has left a lease."""
    async with asyncio.timeout(SETTLE_S):
        while (now := census(store)).leases or now.calls:
            await asyncio.sleep(_LOOK_EVERY_S)
            gc.collect()
    return now


async def settled(baseline: Census, store: Path) -> None:
    """Wait until nothing is left of what came after the baseline; fails after SETTLE_S."""
    end = time.monotonic() + SETTLE_S
    # A fault of the machine is no leak: only what stays is.
    while left := census(store).beyond(baseline):
        if time.monotonic() > end:
            tasks = [task.get_coro().__qualname__ for task in asyncio.all_tasks()]  # type: ignore[union-attr]
            raise AssertionError(f"left behind: {left}; tasks: {tasks}")
        await asyncio.sleep(_LOOK_EVERY_S)
        gc.collect()


class _Keep(logging.Handler):
    """Keeps what libraries and asyncio report."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def no_fault_of_ours() -> Iterator[None]:
    """Fails when anything was logged meanwhile that only a fault in the gateway can cause."""
    keep = _Keep()
    logging.getLogger().addHandler(keep)
    try:
        with capture_logs() as ours:
            yield
            gc.collect()
    finally:
        logging.getLogger().removeHandler(keep)
    for entry in ours:
        assert not entry.get("exc_info"), f"a traceback: {entry}"
        assert entry["event"] != "call.failed", entry
        assert entry.get("reason") != "internal", entry
    for record in keep.records:
        if record.name == NEIGHBOURS:
            continue
        text = record.getMessage()
        assert "never retrieved" not in text, text
        assert "was destroyed" not in text, text
        assert not record.exc_info, f"a traceback: {text} {record.exc_info}"
