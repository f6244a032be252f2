"""How soon the page is seen: `python -m bench.page`.

Each load is a browser without a cache, at a gateway on this machine. First paint counts from the request.
"""

import asyncio
import statistics

import psutil
from playwright.async_api import Browser

from tests.processes import gateway_process
from tests.web.chromium import chromium

LOADS = 20

PAINTED = """() => new Promise(resolve => new PerformanceObserver((list, observer) => {
    const [paint] = list.getEntriesByName('first-contentful-paint');
    if (!paint) return;
    observer.disconnect();
    const files = ['navigation', 'resource'].flatMap(kind => performance.getEntriesByType(kind));
    const bytes = files.reduce((sum, file) => sum + file.transferSize, 0);
    resolve({ paint: paint.startTime, files: files.length, bytes });
}).observe({ type: 'paint', buffered: true }))"""


async def load(browser: Browser, address: str) -> tuple[float, float, int, int]:
    """Milliseconds to the first paint and to buttons that work; files and bytes that travelled."""
    context = await browser.new_context(locale="en-GB")
    page = await context.new_page()
    await page.goto(address)
    await page.wait_for_selector("#device option", state="attached")
    ready = await page.evaluate("performance.now()")
    seen = await page.evaluate(PAINTED)
    await context.close()
    return seen["paint"], ready, seen["files"], seen["bytes"]


async def measure(address: str) -> None:
    """Print the figures."""
    async with chromium() as browser:
        await load(browser, address)  # the browser itself is warm
        loads = [await load(browser, address) for _ in range(LOADS)]
    paints = sorted(paint for paint, *_ in loads)
    p95 = paints[round(LOADS * 0.95) - 1]
    ready = statistics.median(ready for _, ready, *_ in loads)
    *_, files, size = loads[-1]
    print(f"first paint: median {statistics.median(paints):.0f} ms, p95 {p95:.0f} ms")  # noqa: T201
    print(f"buttons work within {ready:.0f} ms; {files} files, {size / 1000:.1f} kB")  # noqa: T201


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
