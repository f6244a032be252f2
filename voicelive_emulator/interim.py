"""Something to say while the answer takes long: which text, and when.

Microsoft documents two kinds, fixed texts and texts of a small model, and two triggers: the answer is
late, or the model calls a tool. Here no small model writes, so its texts are fixed too. Pure except
for `bridged`, which waits for the answer.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from voicelive_emulator.session_fields import InterimResponse

_LATENCY_MS: Final = 2_000
_WRITTEN: Final = ("Let me see.", "One moment, please.", "Let me check that for you.")


@dataclass(frozen=True, slots=True)
class Interim:
    """What one response says if it has to wait."""

    text: str
    late_after_ms: int | None
    """None: lateness is no reason."""
    before_calls: bool


def chosen_interim(request: InterimResponse | None, choose: Callable[[Sequence[str]], str]) -> Interim | None:
    """Return what a response may say; `choose` picks one of several texts."""
    if request is None:
        return None
    texts = [text for text in request.texts or () if text.strip()] if request.is_static else _WRITTEN
    if not texts:
        return None
    triggers = request.triggers or ["latency"]
    late_after_ms = _LATENCY_MS if request.latency_threshold_ms is None else request.latency_threshold_ms
    return Interim(
        text=f"{choose(texts).strip()} ",
        late_after_ms=late_after_ms if "latency" in triggers else None,
        before_calls="tool" in triggers,
    )


async def bridged(clauses: AsyncGenerator[str], interim: Interim | None) -> AsyncGenerator[str]:
    """Yield the clauses, and before the first one the interim text if it is late."""
    if interim is not None and interim.late_after_ms is not None:
        first = asyncio.ensure_future(anext(clauses, None))
        try:
            done, _ = await asyncio.wait([first], timeout=interim.late_after_ms / 1_000)
            if not done:
                yield interim.text
            clause = await first
        finally:
            if not first.done():
                first.cancel()
                await asyncio.wait([first])
        if clause is None:
            return
        yield clause
    async for clause in clauses:
        yield clause
