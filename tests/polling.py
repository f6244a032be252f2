"""Waiting for what nobody tells: it is looked at again and again, up to a deadline."""

import asyncio
from collections.abc import Callable
from typing import Final

LOOK_EVERY_S: Final = 0.05


async def until(condition: Callable[[], object], within_s: float = 30.0) -> None:
    """Return when `condition` holds. Raises TimeoutError."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(LOOK_EVERY_S)
