"""A gateway that requires tickets: its own page, and pages that get tickets by themselves."""

import pytest
from playwright.async_api import Browser

from tests.admission.bank import SETTINGS, ticket
from tests.gateway import running_gateway
from tests.scripted_voice_live import scripted_voice_live
from tests.test_main import quiet
from tests.web.scripted_gateway import ScriptedGateway
from tests.web.visitor import REFUSED, ScriptedVisitor, Visitor, opened_page

pytestmark = pytest.mark.asyncio(loop_scope="session")

CALL = """async kind => {
    const kinds = {
        good: () => Promise.resolve('abc-123_'),
        throws: () => { throw new Error('signed out'); },
        rejects: () => Promise.reject(new Error('signed out')),
        empty: () => '',
        nothing: () => undefined,
        words: () => 'two words',
        object: () => ({}),
        never: () => new Promise(() => {}),
    };
    const { VoiceLiveCall } = await import('/static/client/voice-live-call.js');
    window.ticketsAsked = 0;
    window.call = new VoiceLiveCall({ getTicket: () => { ticketsAsked += 1; return kinds[kind](); } });
    window.failure = new Promise(resolve => call.on('ended', ({ failure }) => resolve(failure?.code)));
    call.start();
}"""
"""Makes a call whose getTicket is of this kind."""


async def test_the_page_asks_for_a_ticket_and_uses_it_once(browser: Browser) -> None:
    async with scripted_voice_live(quiet) as service:
        async with running_gateway(service.settings(**SETTINGS)) as gateway:
            async with opened_page(browser, gateway.address, may_log=REFUSED) as page:
                visitor = Visitor(page)
                await visitor.until("() => !document.querySelector('#ticket-field').hidden")
                await page.click("#start")
                await visitor.until_phase("failed")
                assert await visitor.read("#headline") == "This call needs a valid ticket"
                for _ in range(2):
                    await page.fill("#ticket", await ticket(gateway, origin=gateway.address))
                    await page.click("#start")
                    await visitor.until_phase("ready")
                    assert await page.input_value("#ticket") == ""
                    assert not await page.is_visible("#ticket-field")
                    await page.click("#end")
                    await visitor.until_phase("ended")
                await page.fill("#ticket", await ticket(gateway, origin="https://shop.example.com"))
                await page.click("#start")
                await visitor.until_phase("failed")
                assert await visitor.read("#headline") == "The call was not accepted"
        assert len(service.handshakes) == 2


async def test_a_gateway_that_requires_none_is_not_asked_for_one(visitor: ScriptedVisitor) -> None:
    call = await visitor.call()
    assert call.offered == "voice-live.v1"
    assert not await visitor.page.is_visible("#ticket-field")


class TestGetTicket:
    async def test_it_is_asked_for_the_call_and_not_for_its_return(
        self, visitor: ScriptedVisitor, gateway: ScriptedGateway
    ) -> None:
        await visitor.page.evaluate(CALL, "good")
        call = await gateway.next_call()
        assert call.offered.replace(" ", "") == "voice-live.v1,ticket.abc-123_"
        await call.start_session(resume_token="again")
        await call.until_frames(1)
        call.vanish()
        back = await gateway.next_call()
        assert back.offered.replace(" ", "") == "voice-live.v1,resume.again"
        assert await visitor.page.evaluate("ticketsAsked") == 1
        await back.start_session(resumed=True)
        await visitor.page.evaluate("call.stop()")

    @pytest.mark.parametrize("kind", ["throws", "rejects", "empty", "nothing", "words", "object"])
    async def test_without_a_ticket_there_is_no_call(
        self, stranded: ScriptedVisitor, gateway: ScriptedGateway, kind: str
    ) -> None:
        await stranded.page.evaluate(CALL, kind)
        assert await stranded.page.evaluate("failure") == "unauthorized"
        assert await stranded.microphones() == ["ended"]

    async def test_one_that_never_comes_is_given_up(self, visitor: ScriptedVisitor) -> None:
        await visitor.page.clock.install()
        await visitor.page.evaluate(CALL, "never")
        await visitor.until("() => call.state === 'connecting'")
        await visitor.page.clock.run_for(11_000)
        assert await visitor.page.evaluate("failure") == "unauthorized"
