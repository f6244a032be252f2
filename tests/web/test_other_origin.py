"""Pages of other origins, in a real browser: those that the settings allow can call, others cannot."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from playwright.async_api import Browser, Page

from app.page import WEB
from tests.gateway import running_gateway
from tests.scripted_voice_live import scripted_voice_live
from tests.test_main import quiet
from tests.web.visitor import Visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")

EXAMPLE = WEB / "client" / "example"


class ExampleSite:
    """Another web server with the example page, set up for a gateway as its README says."""

    def __init__(self) -> None:
        self.origin = ""
        self._gateway = ""

    def calls(self, gateway: str, *, copies_client: bool) -> None:
        """Where its page calls; whether it has the client's modules itself or takes them from there."""
        self._gateway = gateway
        self._copies_client = copies_client

    async def serve(self, request: web.Request) -> web.StreamResponse:
        path = request.path.lstrip("/")
        if path != "example/example.js":
            return web.FileResponse(WEB / "client" / path)
        script = (EXAMPLE / "example.js").read_text()
        script = script.replace("'/ws/voice'", f"'{self._gateway}/ws/voice'")
        if not self._copies_client:
            script = script.replace("'../", f"'{self._gateway}/static/client/")
        return web.Response(text=script, content_type="text/javascript")


@asynccontextmanager
async def example_site() -> AsyncIterator[ExampleSite]:
    """One on a free port."""
    site = ExampleSite()
    application = web.Application()
    application.router.add_get("/{path:.+}", site.serve)
    runner = web.AppRunner(application, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    site.origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield site
    finally:
        await runner.cleanup()


@asynccontextmanager
async def opened_example(browser: Browser, site: ExampleSite) -> AsyncIterator[Page]:
    context = await browser.new_context()
    try:
        page = await context.new_page()
        await page.goto(f"{site.origin}/example/index.html")
        yield page
    finally:
        await context.close()


@pytest.mark.parametrize("copies_client", [True, False], ids=["own modules", "the gateway's modules"])
async def test_the_example_calls_from_an_origin_that_is_allowed(
    browser: Browser, copies_client: bool
) -> None:
    async with example_site() as site, scripted_voice_live(quiet) as service:
        async with running_gateway(service.settings(allowed_origins=site.origin)) as gateway:
            site.calls(gateway.address, copies_client=copies_client)
            async with opened_example(browser, site) as page:
                async with page.expect_websocket() as socket:
                    await page.click("#start")
                await (await socket.value).wait_for_event(
                    "framereceived", lambda frame: "session_started" in str(frame)
                )
                await page.click("#stop")
                await Visitor(page).until_reads("#end", "The call has ended.")
            assert len(service.handshakes) == 1


async def test_a_page_of_an_origin_that_is_not_allowed_cannot_connect(browser: Browser) -> None:
    async with example_site() as site, scripted_voice_live(quiet) as service:
        async with running_gateway(service.settings(allowed_origins="http://127.0.0.1:1")) as gateway:
            site.calls(gateway.address, copies_client=True)
            async with opened_example(browser, site) as page:
                await page.click("#start")
                # It cannot read /ready either: that it is refused looks as if nobody were there.
                await Visitor(page).until_reads("#end", "unreachable")
                module = f"{gateway.address}/static/client/voice-live-call.js"
                loaded = await page.evaluate("url => import(url).then(() => true, () => false)", module)
                assert loaded is False
        assert not service.handshakes
