"""The gateway of the soak: a process with shortened timers, which reports on itself every second.

`python -m tests.reliability.soak_gateway SETTINGS` with the settings as JSON. It prints JSON lines: its port,
then the reports. SIGUSR1 asks for one that has collected garbage and counted the calls that are left.
"""

import asyncio
import gc
import json
import logging
import signal
import sys
import threading
import time
from typing import Any, Final

import psutil
import uvloop

from app.config import settings_from
from app.main import make_server
from app.service import VoiceLiveSessionManager
from app.telemetry import configure_logs
from app.websocket.listener import listen
from tests.reliability.cores import GATEWAY_CORE, take_core
from tests.reliability.scene import COMPRESSED_TIMERS, compressed_timers

LAG_PERIOD_S: Final = 0.01
REPORT_PERIOD_S: Final = 1.0
DAY_AT_ONCE: Final = {"BURST_BYTES": 2**40}
"""One call carries the speech of a day, faster than anybody speaks."""


class Lag:
    """How late the event loop wakes, in milliseconds; and how much of that it worked itself."""

    def __init__(self) -> None:
        self._late: list[tuple[float, float]] = []
        self._excused = False

    async def watch(self) -> None:
        while True:
            due = time.monotonic() + LAG_PERIOD_S
            worked_before = time.thread_time()
            await asyncio.sleep(LAG_PERIOD_S)
            late = max(0.0, time.monotonic() - due)
            worked = min(late, time.thread_time() - worked_before)
            if not self._excused:
                self._late.append((round(late * 1000, 1), round(worked * 1000, 1)))
            self._excused = False

    def excuse(self) -> None:
        """What comes next is no fault of the gateway."""
        self._excused = True

    def take(self) -> list[tuple[float, float]]:
        """What was seen since the last time."""
        late, self._late = self._late, []
        return late


class Collections:
    """How long the longest collection of garbage worked, of the young and of everything, in milliseconds."""

    def __init__(self) -> None:
        self._began = 0.0
        self._longest = {"young": 0.0, "full": 0.0}
        gc.callbacks.append(self._note)

    def _note(self, phase: str, about: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.thread_time()
            return
        kind = "full" if about["generation"] == 2 else "young"
        took_ms = round((time.thread_time() - self._began) * 1000, 1)
        self._longest[kind] = max(self._longest[kind], took_ms)

    def take(self) -> dict[str, float]:
        """The longest since the last time."""
        longest, self._longest = self._longest, {"young": 0.0, "full": 0.0}
        return longest


def _say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


class Reporter:
    """Says what the process holds, and how its event loop fares."""

    def __init__(self) -> None:
        self.lag = Lag()
        self._process = psutil.Process()
        self._collections = Collections()

    async def run(self) -> None:
        """A report every second."""
        while True:
            await asyncio.sleep(REPORT_PERIOD_S)
            _say(self._look() | {"lag_ms": self.lag.take()})

    def count(self) -> None:
        """A report now, with the calls that are left."""
        self.lag.excuse()
        self._collections.take()
        gc.collect()
        calls = sum(isinstance(thing, VoiceLiveSessionManager) for thing in gc.get_objects())
        _say(self._look() | {"calls": calls})

    def _look(self) -> dict[str, Any]:
        return {
            "rss_kib": self._process.memory_info().rss // 1024,
            "files": self._process.num_fds(),
            "tasks": len(asyncio.all_tasks()),
            "threads": threading.active_count(),
            "cpu_s": sum(self._process.cpu_times()[:2]),
            "collection_ms": self._collections.take(),
        }


async def _serve() -> None:
    configure_logs("CRITICAL")
    logging.disable(logging.CRITICAL)
    settings = settings_from(json.loads(sys.argv[1]))
    take_core(GATEWAY_CORE)
    with compressed_timers(COMPRESSED_TIMERS | DAY_AT_ONCE), listen("127.0.0.1", 0) as listener:
        reporter = Reporter()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, reporter.count)
        async with asyncio.TaskGroup() as tasks:
            watching = [tasks.create_task(each) for each in (reporter.lag.watch(), reporter.run())]
            _say({"port": listener.getsockname()[1]})
            await make_server(settings).serve(sockets=[listener])
            for task in watching:
                task.cancel()


if __name__ == "__main__":
    uvloop.run(_serve())
