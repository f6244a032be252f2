"""How soon the page is seen: `make bench-page`.

Each load is a browser without a cache, at a gateway on this machine, in a new window that has come to rest;
first paint counts from the request. By turns with it, the same browser loads an empty page from a bare
server: what remains is what our page adds.
"""

import asyncio
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psutil
from aiohttp import web
from playwright.async_api import Browser

from tests.processes import gateway_process
from tests.web.chromium import chromium

LOADS = 20
AIM_MS = 200
WINDOW_RESTS_S = 1
"""What the browser does for a window of its own takes longer than our page."""

EMPTY = "<!doctype html><title>empty</title><p>empty"

PAINTED = """() => new Promise(resolve => new PerformanceObserver((list, observer) => {
    const [paint] = list.getEntriesByName('first-contentful-paint');
    if (!paint) return;
    observer.disconnect();
    const files = ['navigation', 'resource'].flatMap(kind => performance.getEntriesByType(kind));
    const bytes = files.reduce((sum, file) => sum + file.transferSize, 0);
    resolve({ paint: paint.startTime, files: files.length, bytes });
}).observe({ type: 'paint', buffered: true }))"""


@dataclass(frozen=True, slots=True)
class Load:
    """Milliseconds to the first paint and to buttons that work; files and bytes that travelled."""

    paint_ms: float
    ready_ms: float
    files: int
    size: int


async def load(browser: Browser, address: str, ready: str) -> Load:
    """One visit; the page works when the element `ready` is there."""
    context = await browser.new_context(locale="en-GB")
    page = await context.new_page()
    await asyncio.sleep(WINDOW_RESTS_S)
    await page.goto(address)
    await page.wait_for_selector(ready, state="attached")
    ready_ms = await page.evaluate("performance.now()")
    seen = await page.evaluate(PAINTED)
    await context.close()
    return Load(seen["paint"], ready_ms, seen["files"], seen["bytes"])


@asynccontextmanager
async def empty_page() -> AsyncIterator[str]:
    """The address of a server that has nothing else."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=EMPTY, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def row(name: str, paints: list[float]) -> str:
    """Median, p95 and the fastest."""
    p95 = sorted(paints)[round(len(paints) * 0.95) - 1]
    return f"{name:12}{statistics.median(paints):7.0f}{p95:7.0f}{min(paints):7.0f}"


async def measure(address: str) -> None:
    """Print the figures."""
    ours: list[Load] = []
    floor: list[float] = []
    async with empty_page() as empty, chromium() as browser:
        for _ in range(LOADS + 1):
            floor.append((await load(browser, empty, "p")).paint_ms)
            ours.append(await load(browser, address, "#start:enabled"))
    paints = [one.paint_ms for one in ours[1:]]  # the first load warms the browser
    ratio = statistics.median(paints) / statistics.median(floor[1:])
    print(f"{'first paint':12}{'median':>7}{'p95':>7}{'min':>7}   ms")  # noqa: T201
    print(row("the page", paints))  # noqa: T201
    print(row("empty page", floor[1:]))  # noqa: T201
    print(f"ratio {ratio:.1f}; aim: median at most {AIM_MS} ms")  # noqa: T201
    ready = statistics.median(one.ready_ms for one in ours[1:])
    print(f"buttons work within {ready:.0f} ms; {ours[-1].files} files, {ours[-1].size / 1000:.1f} kB")  # noqa: T201


def main() -> None:
    """Measure against a gateway that has no voice service: the page needs none."""
    variables = {
        "AZURE_VOICELIVE_ENDPOINT": "http://127.0.0.1:1",
        "AZURE_VOICELIVE_MODEL": "gpt-4.1",
        "AZURE_VOICELIVE_API_KEY": "none",
        "AZURE_VOICELIVE_VOICE_TYPE": "azure-standard",
        "AZURE_VOICELIVE_VOICE_NAME": "en-US-AvaNeural",
    }
    print(f"{LOADS} loads; load average before: {psutil.getloadavg()[0]:.1f}")  # noqa: T201
    with gateway_process(variables) as gateway:
        asyncio.run(measure(gateway.address))


if __name__ == "__main__":
    main()
