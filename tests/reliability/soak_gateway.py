"""The gateway of the soak: a process with shortened timers, which reports on itself every second."""

import asyncio
import gc
import json
import logging
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from app.config import settings_from
from app.main import make_server
from app.service import VoiceLiveSessionManager
from app.telemetry import configure_logs
from app.websocket.listener import listen
from tests.reliability.scene import COMPRESSED_TIMERS, compressed_timers

LAG_PERIOD_S = 0.01
DAY_AT_ONCE = {"BURST_BYTES": 2**40}
"""One call carries the speech of a day, faster than anybody speaks."""


class Lag:
    """How late the event loop wakes."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def watch(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(LAG_PERIOD_S)
            self.seconds.append(max(0.0, time.monotonic() - began - LAG_PERIOD_S))

    def take(self) -> list[int]:
        """What was seen since the last time, in whole milliseconds."""
        seen, self.seconds = self.seconds, []
        return [round(lag * 1000) for lag in seen]


async def report(lag: Lag) -> None:
    process, asked = psutil.Process(), Path(sys.argv[2])
    while True:
        await asyncio.sleep(1)
        line = {
            "rss_kib": process.memory_info().rss // 1024,
            "files": process.num_fds(),
            "tasks": len(asyncio.all_tasks()),
            "threads": threading.active_count(),
            "cpu_s": sum(process.cpu_times()[:2]),
            "lag_ms": lag.take(),
        }
        if asked.exists():  # noqa: ASYNC240 (a look at a local file, once a second)
            gc.collect()
            line["calls"] = sum(isinstance(thing, VoiceLiveSessionManager) for thing in gc.get_objects())
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


async def main() -> None:
    """Arguments: the settings as JSON, and a file whose existence asks for a count of objects."""
    configure_logs("CRITICAL")
    # Names are looked up in threads that come when they are needed: with one, any other is left behind.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    logging.disable(logging.CRITICAL)
    settings = settings_from(json.loads(sys.argv[1]))
    with compressed_timers(COMPRESSED_TIMERS | DAY_AT_ONCE), listen("127.0.0.1", 0) as listener:
        sys.stdout.write(json.dumps({"port": listener.getsockname()[1]}) + "\n")
        sys.stdout.flush()
        lag = Lag()
        watching = [asyncio.create_task(lag.watch()), asyncio.create_task(report(lag))]
        await make_server(settings).serve(sockets=[listener])
        for task in watching:
            task.cancel()


if __name__ == "__main__":
    asyncio.run(main())
