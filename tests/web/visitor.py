"""Somebody at the page: what they do with it, what they see and hear."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from playwright.async_api import Browser, Page

from tests.web.scripted_gateway import PATIENCE_S, ScriptedCall, ScriptedGateway

POLL_S = 0.02

REFUSED = ("WebSocket connection to", "Failed to load resource")
"""Chromium itself logs what the network refused; no page can prevent it."""

RECORD = Path(__file__).parent / "browser" / "record.js"

HEARD = """() => {
    const bytes = new Uint8Array(Float32Array.from(window.heard).buffer);
    let text = '';
    for (const byte of bytes) text += String.fromCharCode(byte);
    return btoa(text);
}"""


@dataclass(frozen=True, slots=True)
class Sound:
    """What went to the loudspeaker since the call began."""

    samples: NDArray[np.float32]
    rate_hz: int

    @property
    def audible(self) -> NDArray[np.float32]:
        """From the first sample that is not silent to the last."""
        (loud,) = np.nonzero(self.samples)
        return self.samples[loud[0] : loud[-1] + 1] if len(loud) else self.samples[:0]

    @property
    def sounding_ms(self) -> float:
        """Without the silence in between. A tone has no samples that are zero, but for one now and then."""
        return float(np.count_nonzero(self.samples)) / self.rate_hz * 1000

    @property
    def audible_ms(self) -> float:
        return len(self.audible) / self.rate_hz * 1000


class Visitor:
    """One open page."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def until(self, condition: str, argument: object = None) -> None:
        """Waits until this JavaScript function returns something true in the page.

        The page is asked from outside: its policy forbids what Playwright's own waiting evaluates inside.
        """
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not await self.page.evaluate(condition, argument):  # noqa: ASYNC110 - asks another process
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            shown = await self.page.inner_text("main")
            raise AssertionError(f"never true: {condition} of {argument}; the page shows: {shown}") from None

    async def until_phase(self, phase: str) -> None:
        """Waits until the page is in this phase."""
        await self.until("phase => document.body.dataset.phase === phase", phase)

    async def read(self, selector: str) -> str:
        """The visible text of one element."""
        return (await self.page.inner_text(selector)).strip()

    async def until_reads(self, selector: str, text: str) -> None:
        """Waits until an element shows this text somewhere."""
        await self.until(
            "([selector, text]) => document.querySelector(selector)?.innerText.includes(text)",
            [selector, text],
        )

    async def turns(self) -> list[str]:
        """The words of the conversation."""
        return [text.strip() for text in await self.page.locator(".turn .words").all_inner_texts()]

    async def hears(self) -> Sound:
        """Everything that was played so far in this call."""
        data = base64.b64decode(await self.page.evaluate(HEARD))
        return Sound(np.frombuffer(data, "<f4"), await self.page.evaluate("heardRateHz"))

    async def until_heard_more(self, milliseconds: int) -> None:
        """Waits until this much more (sound or silence) went to the loudspeaker."""
        now: int = await self.page.evaluate("heard.length")
        await self.until(
            "([now, ms]) => heard.length >= now + (heardRateHz * ms) / 1000", [now, milliseconds]
        )

    async def until_audible(self, milliseconds: int) -> None:
        """Waits until this much of the agent was heard."""
        await self.until(
            "ms => heard.filter(sample => sample !== 0).length >= (heardRateHz * ms) / 1000",
            milliseconds,
        )

    async def microphones(self) -> list[str]:
        """The state of every microphone that the page was ever given: live or ended."""
        states: list[str] = await self.page.evaluate(
            "streams.flatMap(stream => stream.getTracks()).map(track => track.readyState)"
        )
        return states

    async def accessibility_violations(self, axe: str) -> list[str]:
        """What axe-core finds wrong with the page as it is now."""
        await self.page.evaluate(axe)
        result: dict[str, Any] = await self.page.evaluate("axe.run()")
        return [
            f"{found['id']}: {found['help']}: {node['html']}"
            for found in result["violations"]
            for node in found["nodes"]
        ]


class ScriptedVisitor(Visitor):
    """One page, open at a gateway that the test plays."""

    def __init__(self, page: Page, gateway: ScriptedGateway) -> None:
        super().__init__(page)
        self.gateway = gateway

    async def call(self, **session: object) -> ScriptedCall:
        """Presses Start; the gateway takes the call. `session` is said in `session_started`."""
        await self.page.click("#start")
        call = await self.gateway.next_call()
        await call.start_session(**session)
        await self.until_phase("ready")
        return call

    async def fails_with(self, title: str, words: str) -> None:
        """The page says so, offers another try, and holds no microphone."""
        await self.until_phase("failed")
        assert await self.read("#headline") == title
        assert words in await self.read("#explanation")
        assert await self.read("#start") == "Try again"
        assert "live" not in await self.microphones()
        assert title in await self.page.inner_text("#announcement")


@asynccontextmanager
async def opened_page(
    browser: Browser,
    url: str,
    *,
    language: str = "en-GB",
    may_log: tuple[str, ...] = (),
    record: bool = False,
) -> AsyncIterator[Page]:
    """The page in a fresh profile. It must not log an error, except lines that begin with `may_log`.

    With `record`, what it plays is kept for `hears`; only a scripted gateway serves what that needs.
    """
    context = await browser.new_context(locale=language)
    try:
        page = await context.new_page()
        logged: list[str] = []
        page.on("pageerror", lambda error: logged.append(str(error)))
        page.on(
            "console", lambda line: logged.append(line.text) if line.type in ("error", "warning") else None
        )
        if record:
            await page.add_init_script(path=RECORD)
        await page.goto(url)
        await page.wait_for_selector("#start:enabled")
        yield page
        unexpected = [line for line in logged if not line.startswith(may_log)]
        assert not unexpected, unexpected
    finally:
        await context.close()


@asynccontextmanager
async def visiting(
    browser: Browser, gateway: ScriptedGateway, *, language: str = "en-GB", may_log: tuple[str, ...] = ()
) -> AsyncIterator[ScriptedVisitor]:
    """Opens the page of this gateway."""
    async with opened_page(browser, gateway.url, language=language, may_log=may_log, record=True) as page:
        yield ScriptedVisitor(page, gateway)
