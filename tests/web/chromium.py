"""Debian's Chromium, headless, with a sound file in place of a microphone."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, async_playwright

CHROMIUM = "/usr/bin/chromium"
NOT_WANTED = (
    # Two pages of the browser's own, loaded anew with each window: they take more time than ours.
    "WebUIOmniboxPopup",
    "WebUIOmniboxAimPopup",
    # Off in Playwright's own list too, which this one replaces.
    "HttpsUpgrades",
    "HttpsFirstBalancedModeAutoEnable",
    "MediaRouter",
    "OptimizationHints",
    "NetworkTimeServiceQuerying",
    "AimEnabled",
    "PreconnectToSearch",
)
"""Features of the browser; none of them shows in a page."""

FLAGS = (
    f"--disable-features={','.join(NOT_WANTED)}",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@asynccontextmanager
async def chromium(
    microphone: Path | None = None, *, allow: bool = True, names: Mapping[str, str] | None = None
) -> AsyncIterator[Browser]:
    """A browser whose microphone plays `microphone` once from its opening; without a file it has none.

    `allow` is how its visitor answers when a page asks for the microphone; `names` are hosts that it finds
    at these addresses.
    """
    flags = list(FLAGS)
    if microphone:
        flags += [
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={microphone}%noloop",
        ]
    if allow:
        flags += ["--use-fake-ui-for-media-stream"]
    if names:
        flags += [
            f"--host-resolver-rules={','.join(f'MAP {name} {address}' for name, address in names.items())}"
        ]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=flags, headless=True)
        try:
            yield browser
        finally:
            await browser.close()
