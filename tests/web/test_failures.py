"""What can go wrong, and the words for it. In every case the microphone is free afterwards."""

from pathlib import Path

import pytest
from playwright.async_api import Browser

from app.errors import CATALOGUE, ErrorCode
from tests.web.chromium import chromium
from tests.web.scripted_gateway import ScriptedGateway, scripted_gateway
from tests.web.signals import tone
from tests.web.visitor import REFUSED, ScriptedVisitor, Visitor, opened_page, visiting

pytestmark = pytest.mark.asyncio(loop_scope="session")

REFUSE_MICROPHONE = """name => {
    MediaDevices.prototype.getUserMedia = () => Promise.reject(new DOMException('', name));
}"""


class TestMicrophone:
    async def test_there_is_none(self, gateway: ScriptedGateway) -> None:
        async with chromium() as browser, visiting(browser, gateway) as visitor:
            assert await visitor.read("#device") == "None found"
            assert await visitor.page.is_disabled("#device")
            await visitor.page.click("#start")
            await visitor.fails_with("No microphone found", "Plug one in")

    async def test_the_visitor_refuses_it(self, gateway: ScriptedGateway, speech_file: Path) -> None:
        async with chromium(speech_file, allow=False) as browser, visiting(browser, gateway) as visitor:
            await visitor.page.click("#start")
            await visitor.fails_with("The microphone is blocked", "Allow it for this page")

    @pytest.mark.parametrize(
        ("error", "title"),
        [
            ("NotReadableError", "The microphone does not answer"),
            ("AbortError", "The microphone does not answer"),
            ("OverconstrainedError", "No microphone found"),
        ],
    )
    async def test_the_browser_cannot_open_it(self, visitor: ScriptedVisitor, error: str, title: str) -> None:
        await visitor.page.evaluate(
            REFUSE_MICROPHONE,
            error,
        )
        await visitor.page.click("#start")
        await visitor.fails_with(title, "then try again")

    async def test_the_page_is_not_secure(self, gateway: ScriptedGateway) -> None:
        async with chromium(names={"insecure.test": "127.0.0.1"}) as browser:
            address = gateway.url.replace("127.0.0.1", "insecure.test")
            async with opened_page(browser, address) as page:
                await page.click("#start")
                visitor = Visitor(page)
                await visitor.until_phase("failed")
                assert await visitor.read("#headline") == "No microphone on this address"
                assert "https" in await visitor.read("#explanation")

    async def test_it_goes_away_in_the_call_and_there_is_no_other(self, visitor: ScriptedVisitor) -> None:
        await visitor.call()
        await visitor.page.evaluate(REFUSE_MICROPHONE, "NotFoundError")
        await visitor.page.evaluate("streams[0].getTracks()[0].dispatchEvent(new Event('ended'))")
        await visitor.fails_with("The microphone went away", "no other was found")


class TestOpening:
    async def test_the_server_is_gone(self, browser: Browser) -> None:
        async with (
            scripted_gateway() as gateway,
            visiting(browser, gateway, may_log=REFUSED) as visitor,
        ):
            await gateway.stop()
            await visitor.page.click("#start")
            await visitor.fails_with("The server cannot be reached", "Check your connection")

    async def test_the_call_is_refused_by_a_server_that_is_ready(self, stranded: ScriptedVisitor) -> None:
        stranded.gateway.refuse_calls = 503
        await stranded.page.click("#start")
        await stranded.fails_with("The call was not accepted", "It may be full")

    async def test_the_server_drains(self, stranded: ScriptedVisitor) -> None:
        stranded.gateway.refuse_calls = 503
        stranded.gateway.ready = (503, {"status": "draining"})
        await stranded.page.click("#start")
        await stranded.fails_with("The service is restarting", "Call again")

    async def test_the_server_starts(self, stranded: ScriptedVisitor) -> None:
        stranded.gateway.refuse_calls = 503
        stranded.gateway.ready = (503, {"status": "starting"})
        await stranded.page.click("#start")
        await stranded.fails_with("The service is not ready", "Try again")

    async def test_the_next_try_succeeds(self, stranded: ScriptedVisitor) -> None:
        stranded.gateway.refuse_calls = 503
        await stranded.page.click("#start")
        await stranded.until_phase("failed")
        stranded.gateway.refuse_calls = None
        await stranded.call()
        assert await stranded.microphones() == ["ended", "live"]

    async def test_nobody_answers(self, visitor: ScriptedVisitor) -> None:
        await visitor.page.clock.install()
        await visitor.page.click("#start")
        await visitor.gateway.next_call()
        await visitor.page.clock.run_for(14_000)
        assert await visitor.page.evaluate("document.body.dataset.phase") == "connecting"
        await visitor.page.clock.run_for(1_500)
        await visitor.fails_with("No answer", "Try again")


class TestInTheCall:
    async def test_a_gateway_that_answers_pings_is_not_given_up(self, visitor: ScriptedVisitor) -> None:
        await visitor.page.clock.install()
        call = await visitor.call()
        for _ in range(5):
            pings = len(call.sent("ping"))
            await visitor.page.clock.run_for(5_500)
            await call.receive("ping")
            assert len(call.sent("ping")) > pings
        assert await visitor.page.evaluate("document.body.dataset.phase") == "ready"

    async def test_every_error_of_the_catalogue_has_words(self, visitor: ScriptedVisitor) -> None:
        for code in set(ErrorCode) - {ErrorCode.SERVER_DRAINING}:  # another call follows: see test_return
            call = await visitor.call()
            await call.send("error", code=code, message="from the gateway", fatal=True, ref="c_42")
            orderly = code in (ErrorCode.IDLE_TIMEOUT, ErrorCode.SESSION_EXPIRED)
            await visitor.until_phase("ended" if orderly else "failed")
            explanation = await visitor.read("#explanation")
            assert len(explanation) > 10, code
            assert explanation != "from the gateway", code
            assert "Reference for support: c_42" in await visitor.read("#detail"), code
        assert set(await visitor.microphones()) == {"ended"}

    async def test_an_error_that_this_page_does_not_know_is_told_in_the_gateway_s_words(
        self, visitor: ScriptedVisitor
    ) -> None:
        call = await visitor.call()
        await call.send("error", code="new_in_2030", message="The moon is in the way.", fatal=True)
        await visitor.until_phase("failed")
        assert await visitor.read("#explanation") == "The moon is in the way."

    async def test_a_close_code_alone_says_enough(self, visitor: ScriptedVisitor) -> None:
        draining = CATALOGUE[ErrorCode.SERVER_DRAINING].close_code
        for code in sorted({entry.close_code for entry in CATALOGUE.values()} - {draining} | {1007, 1009}):
            call = await visitor.call()
            await call.close(code)
            await visitor.until("() => ['failed', 'ended'].includes(document.body.dataset.phase)")
            assert await visitor.read("#headline") != "The connection was lost", code

    async def test_an_orderly_close_without_a_word_is_an_end(self, visitor: ScriptedVisitor) -> None:
        call = await visitor.call()
        await call.close(1000)
        await visitor.until_phase("ended")

    async def test_what_the_call_survives_is_shown_until_it_goes_on(self, visitor: ScriptedVisitor) -> None:
        call = await visitor.call()
        await call.send("error", code="agent_silent", message="", fatal=False, retryable=True)
        await visitor.until_reads("#problem", "The agent does not answer. Please say it again.")
        await call.send("status", status="ready")
        await call.send("status", status="listening")
        await visitor.until("() => document.querySelector('#problem').hidden")
        assert await visitor.microphones() == ["live"]

    async def test_an_announced_end_is_shown(self, visitor: ScriptedVisitor) -> None:
        call = await visitor.call()
        await call.send("session_ending", reason="max_duration", seconds_left=60)
        await visitor.until_reads("#problem", "maximum length in 60 seconds")
        await call.send("session_ending", reason="drain", seconds_left=1790)
        await visitor.until_reads("#problem", "talk on for 29 minutes; then a new call begins by itself")
        await call.send("session_ending", reason="new_in_2030", seconds_left=30)
        await visitor.until_reads("#problem", "ends in 30 seconds")

    async def test_what_a_newer_gateway_says_is_passed_over(self, visitor: ScriptedVisitor) -> None:
        call = await visitor.call()
        for text in ("{", "[]", "null", '"hello"', '{"type":1}', '{"type":"hologram"}', '{"type":"status"}'):
            await call.send_text(text)
        await call.send("agent_transcript", text={"html": "<b>"}, response_id=["r1"])
        await call.speak("r1", tone(440, 100))
        assert (await call.receive("playback"))["played_ms"] == 100

    async def test_the_next_call_begins_afresh(self, visitor: ScriptedVisitor) -> None:
        call = await visitor.call()
        await call.close(1011)
        await visitor.until_phase("failed")
        await visitor.call()
        assert await visitor.read("#headline") == "Your turn"
        assert await visitor.microphones() == ["ended", "live"]
