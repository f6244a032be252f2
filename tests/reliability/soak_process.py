"""The process of the gateway under soak, as seen from outside: what it says of itself."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from tests.gateway import RunningGateway
from tests.processes import PROJECT
from tests.reliability.cores import LOAD_CORE, take_core

SETTLE_S: Final = 15.0
"""After the last call everything is given back within this time."""

COUNT_WITHIN_S: Final = 30.0
HELD: Final = ("files", "tasks", "threads", "calls")
"""Of what a call could leave something behind."""

Line = dict[str, Any]


@dataclass
class SoakedGateway:
    """A running one, and its reports: how many calls had ended by then, and what it said."""

    process: asyncio.subprocess.Process
    running: RunningGateway
    progress: Callable[[], int]
    samples: list[tuple[int, Line]] = field(default_factory=list)
    _counted: "asyncio.Queue[Line]" = field(default_factory=asyncio.Queue)

    async def listen(self) -> None:
        """Read its reports until it ends."""
        assert self.process.stdout is not None
        async for text in self.process.stdout:
            line = json.loads(text)
            if "calls" in line:
                self._counted.put_nowait(line)
            else:
                self.samples.append((self.progress(), line))

    async def counted(self) -> Line:
        """A report now, after a collection of garbage, with the calls that are left."""
        self.process.send_signal(signal.SIGUSR1)
        async with asyncio.timeout(COUNT_WITHIN_S):
            return await self._counted.get()

    async def settled(self, baseline: Line | None = None) -> Line:
        """A report as soon as nothing is held that was not before any call, or after SETTLE_S."""
        end = time.monotonic() + SETTLE_S
        while True:
            line = await self.counted()
            left = beyond(line, baseline) if baseline else {"calls": line["calls"]}
            if not any(left.values()) or time.monotonic() > end:
                return line
            await asyncio.sleep(1)


def beyond(line: Line, baseline: Line) -> dict[str, int]:
    """What is held now and was not at the baseline."""
    return {name: line[name] - baseline[name] for name in HELD if line[name] > baseline[name]}


@asynccontextmanager
async def soaked_gateway(
    settings: dict[str, Any], progress: Callable[[], int]
) -> AsyncIterator[SoakedGateway]:
    """Start one on its core; this process takes the other."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.reliability.soak_gateway", json.dumps(settings)),
        cwd=PROJECT,
        stdout=asyncio.subprocess.PIPE,
        limit=2**20,
    )
    assert process.stdout is not None
    take_core(LOAD_CORE)
    try:
        port = json.loads(await process.stdout.readline())["port"]
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as http, asyncio.TaskGroup() as tasks:
            gateway = SoakedGateway(process, RunningGateway(f"http://127.0.0.1:{port}", http), progress)
            tasks.create_task(gateway.listen())
            try:
                yield gateway
            finally:
                with suppress(ProcessLookupError):
                    process.kill()
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
