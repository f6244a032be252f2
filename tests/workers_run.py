"""How two workers share the calls, and what the death of one costs: `python -m tests.workers_run [CALLS]`.

So many calls are also what one address may have: one more shows that those of the dead worker do not count.
"""

import asyncio
import contextlib
import signal
import sys
import time

import aiohttp

from tests.gateway import RawCaller, RunningGateway
from tests.scripted_voice_live import scripted_voice_live
from tests.test_drain import process_of, quiet
from tests.test_workers import WORKERS, call_briefly, calls_of, workers_of

GIVEN_BACK_WITHIN_S = 90
LOOK_EVERY_S = 0.2


async def lives(caller: RawCaller) -> bool:
    """Whether the gateway still answers this caller."""
    try:
        await caller.send(type="ping")
        await caller.until("pong")
    except (AssertionError, ConnectionError):
        return False
    return True


async def run(calls: int) -> dict[str, str]:
    """Open the calls one after the other, kill a worker, and look on until another call is possible."""
    async with scripted_voice_live(quiet) as service, contextlib.AsyncExitStack() as stack:
        process, gateway = await stack.enter_async_context(
            process_of(
                service.settings(),
                workers=WORKERS,
                max_calls=calls,
                max_calls_per_address=calls,
                max_messages_per_minute=10_000,
            )
        )
        callers = [await stack.enter_async_context(gateway.caller()) for _ in range(calls)]
        for caller in callers:
            await caller.until("session_started")
        first, second = workers_of(process)
        # Each call has two connections: its caller's and Voice Live's.
        shares = [calls_of(worker) / 2 for worker in (first, second)]
        killed_at = time.monotonic()
        first.send_signal(signal.SIGKILL)
        living = [caller for caller in callers if await lives(caller)]
        free_s = await until_one_more(gateway, living) - killed_at
        alive = sum([await lives(caller) for caller in living])
        workers = len(workers_of(process))
    return {
        "calls of each worker": " and ".join(f"{share:.0f}" for share in shares),
        "calls that live on after the first was killed": f"{len(living)}, and {alive} at the end",
        "one more call of the same address": f"after {free_s:.1f} s, {workers} workers by then",
    }


async def until_one_more(gateway: RunningGateway, living: list[RawCaller]) -> float:
    """When a call more could be made; the living go on meanwhile."""
    async with asyncio.timeout(GIVEN_BACK_WITHIN_S):
        while True:
            try:
                await call_briefly(gateway)
            except aiohttp.WSServerHandshakeError:
                await asyncio.sleep(LOOK_EVERY_S)
                for caller in living:
                    await lives(caller)
            else:
                return time.monotonic()


def main() -> None:
    """Print one line a figure."""
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 90
    for name, figure in asyncio.run(run(calls)).items():
        sys.stdout.write(f"{name:46} {figure}\n")


if __name__ == "__main__":
    main()
