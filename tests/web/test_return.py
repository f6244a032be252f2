"""The connection breaks in mid-call: the call goes on, or another begins by itself, and the page says so."""

import pytest

from app.errors import ErrorCode
from tests.web.scripted_gateway import ScriptedCall
from tests.web.signals import tone
from tests.web.visitor import ScriptedVisitor

pytestmark = pytest.mark.asyncio(loop_scope="session")

WITHOUT_TOKEN = "voice-live.v1"


def offered_token(call: ScriptedCall) -> str:
    """What this connection offered to be taken for the one that broke."""
    first, _, token = call.offered.partition(", resume.")
    assert first == "voice-live.v1"
    return token


async def takes_up_again(visitor: ScriptedVisitor, call: ScriptedCall, token: str) -> None:
    """The gateway goes on with the call."""
    await call.send("session_started", session_id="sess_1", resume_token=token, resumed=True)
    await call.send("status", status="ready")
    await visitor.until_phase("ready")


class TestTheCallIsTakenUpAgain:
    async def test_the_page_says_so_and_keeps_the_microphone(self, visitor: ScriptedVisitor) -> None:
        lost = await visitor.call(resume_token="t1")
        lost.vanish()
        call = await visitor.gateway.next_call()
        assert offered_token(call) == "t1"
        await visitor.until_phase("reconnecting")
        assert await visitor.read("#headline") == "Reconnecting…"
        assert "Reconnecting" in await visitor.page.inner_text("#announcement")
        assert await visitor.page.is_disabled("#typed")
        assert await visitor.page.is_disabled("#interrupt")
        await call.receive("ping")  # it is answered, and says nothing of the call that is lost
        assert await visitor.read("#connection") == "\u2013"
        await takes_up_again(visitor, call, "t2")
        await visitor.until_reads("#turns", "The connection was lost for")
        assert "The call goes on" in await visitor.page.inner_text("#announcement")
        await call.until_frames(10)
        assert await visitor.microphones() == ["live"]

    async def test_each_return_uses_the_newest_token(self, visitor: ScriptedVisitor) -> None:
        call = await visitor.call(resume_token="t0")
        for number in (1, 2, 3):
            call.vanish()
            call = await visitor.gateway.next_call()
            assert offered_token(call) == f"t{number - 1}"
            await visitor.until_phase("reconnecting")
            await takes_up_again(visitor, call, f"t{number}")

    async def test_nothing_is_heard_twice_and_the_account_of_what_was_heard_goes_on(
        self, visitor: ScriptedVisitor
    ) -> None:
        lost = await visitor.call(resume_token="t1")
        await lost.speak("r1", tone(440, 5000), end=False)
        await visitor.until_audible(300)
        lost.vanish()
        call = await visitor.gateway.next_call()
        await visitor.until_phase("reconnecting")
        await visitor.until_heard_more(300)
        before = (await visitor.hears()).sounding_ms
        await visitor.until_heard_more(300)
        assert (await visitor.hears()).sounding_ms == before
        await call.send("session_started", session_id="sess_1", resume_token="t2", resumed=True)
        await call.speak("r1", tone(440, 500))
        played = await call.receive("playback")
        await visitor.until_heard_more(500)
        assert played["played_ms"] == pytest.approx(before + 500, abs=5)
        assert (await visitor.hears()).sounding_ms == pytest.approx(before + 500, abs=5)

    async def test_words_that_come_again_are_shown_once(self, visitor: ScriptedVisitor) -> None:
        lost = await visitor.call(resume_token="t1")
        await lost.send("user_transcript", text="And the price?", item_id="i1")
        await lost.send("status", status="agent_speaking", response_id="r1")
        for index, words in enumerate(("It is ", "no, ", "no, ")):
            await lost.send("agent_transcript_delta", text=words, response_id="r1", index=index)
        await visitor.until_reads("#turns", "no, no,")
        lost.vanish()
        call = await visitor.gateway.next_call()
        await call.send("session_started", session_id="sess_1", resume_token="t2", resumed=True)
        await call.send("user_transcript", text="And the price?", item_id="i1")
        await call.send("status", status="agent_speaking", response_id="r1")
        for index, words in enumerate(("no, ", "no, ", "no euros ", "a month."), start=1):
            await call.send("agent_transcript_delta", text=words, response_id="r1", index=index)
        await visitor.until_reads("#turns", "a month.")
        assert await visitor.turns() == ["And the price?", "It is no, no, no euros a month."]
        for _ in range(2):
            await call.send("agent_transcript", text="It is nineteen euros a month.", response_id="r1")
        await call.send("user_transcript", text="Good.", item_id="i2")
        await visitor.until_reads("#turns", "Good.")
        assert await visitor.turns() == ["And the price?", "It is nineteen euros a month.", "Good."]

    async def test_a_gateway_that_is_away_for_a_moment_is_tried_again(
        self, stranded: ScriptedVisitor
    ) -> None:
        lost = await stranded.call(resume_token="t1")
        stranded.gateway.refuse_calls = 503
        stranded.gateway.ready = (503, {"status": "starting"})
        async with stranded.page.expect_response("**/ready"):
            lost.vanish()
        stranded.gateway.refuse_calls = None
        call = await stranded.gateway.next_call()
        assert offered_token(call) == "t1"
        await takes_up_again(stranded, call, "t2")

    async def test_a_connection_that_is_dead_without_saying_so(self, visitor: ScriptedVisitor) -> None:
        visitor.gateway.answers_pings = False
        await visitor.page.clock.install()
        await visitor.call(resume_token="t1")
        await visitor.page.clock.run_for(16_000)
        call = await visitor.gateway.next_call()
        assert offered_token(call) == "t1"
        await takes_up_again(visitor, call, "t2")

    async def test_hung_up_meanwhile_it_is_over(self, visitor: ScriptedVisitor) -> None:
        lost = await visitor.call(resume_token="t1")
        lost.vanish()
        call = await visitor.gateway.next_call()
        await visitor.until_phase("reconnecting")
        await visitor.page.click("#end")
        assert await visitor.microphones() == ["ended"]
        await call.until_closed()
        await visitor.until_phase("ended")


class TestAnotherCallBegins:
    async def test_where_the_gateway_does_not_know_the_call_any_more(self, stranded: ScriptedVisitor) -> None:
        lost = await stranded.call(resume_token="t1")
        await lost.send("user_transcript", text="Hello", item_id="i1")
        await stranded.until_reads("#turns", "Hello")
        stranded.gateway.knows_no_token = True
        lost.vanish()
        call = await stranded.gateway.next_call()
        assert call.offered == WITHOUT_TOKEN
        await stranded.until_reads("#turns", "The connection was lost. This is a new call.")
        await call.start_session()
        await stranded.until_phase("ready")
        await call.send("user_transcript", text="Hello again", item_id="i1")
        await stranded.until_reads("#turns", "Hello again")
        assert await stranded.turns() == ["Hello", "Hello again"]
        assert await stranded.microphones() == ["ended", "live"]

    async def test_where_calls_cannot_be_taken_up_again_at_all(self, visitor: ScriptedVisitor) -> None:
        lost = await visitor.call()
        lost.vanish()
        call = await visitor.gateway.next_call()
        assert call.offered == WITHOUT_TOKEN
        await call.start_session()
        await visitor.until_phase("ready")
        await visitor.until_reads("#turns", "This is a new call")

    async def test_only_once(self, visitor: ScriptedVisitor) -> None:
        lost = await visitor.call()
        await lost.send("user_transcript", text="Hello", item_id="i1")
        lost.vanish()
        second = await visitor.gateway.next_call()
        await second.start_session()
        await visitor.until_phase("ready")
        second.vanish()
        await visitor.fails_with("The connection was lost", "What was said stays")
        assert await visitor.turns() == ["Hello"]

    async def test_after_a_restart_in_mid_call(self, stranded: ScriptedVisitor) -> None:
        call = await stranded.call(resume_token="t1")
        await stranded.page.click("#mute")
        stranded.gateway.ready = (503, {"status": "draining"})
        await call.send("error", code=ErrorCode.SERVER_DRAINING, message="", fatal=True, retryable=True)
        await call.close(1012)
        await stranded.until_phase("returning")
        assert "The service is restarting. A new call begins by itself" in await stranded.read("#explanation")
        assert "A new call begins" in await stranded.page.inner_text("#announcement")
        assert await stranded.microphones() == ["ended"]
        stranded.gateway.ready = (200, {"status": "ready"})
        call = await stranded.gateway.next_call()
        assert call.offered == WITHOUT_TOKEN
        await call.start_session()
        await stranded.until_phase("ready")
        await stranded.until_reads("#turns", "The service restarted. This is a new call.")
        # Who was muted is not heard all of a sudden.
        await call.until_frames(10)
        assert not any(any(frame) for frame in call.frames)

    async def test_when_the_server_is_back(self, stranded: ScriptedVisitor) -> None:
        await stranded.call(resume_token="t1")
        await stranded.gateway.stop()
        await stranded.until("() => ['reconnecting', 'returning'].includes(document.body.dataset.phase)")
        await stranded.gateway.come_back()
        call = await stranded.gateway.next_call()
        assert call.offered == WITHOUT_TOKEN
        await call.start_session()
        await stranded.until_phase("ready")
        await stranded.until_reads("#turns", "This is a new call")

    async def test_unless_the_visitor_cancels(self, stranded: ScriptedVisitor) -> None:
        call = await stranded.call()
        stranded.gateway.ready = (503, {"status": "draining"})
        await call.close(1012)
        await stranded.until_phase("returning")
        await stranded.page.click("#end")
        await stranded.fails_with("The service is restarting", "Call again")

    async def test_unless_the_server_stays_away(self, stranded: ScriptedVisitor) -> None:
        await stranded.page.clock.install()
        call = await stranded.call(resume_token="t1")
        await call.until_frames(1)
        await stranded.gateway.stop()
        await stranded.until("() => ['reconnecting', 'returning'].includes(document.body.dataset.phase)")
        await stranded.page.clock.run_for(16_000)
        await stranded.until_phase("returning")
        await stranded.page.clock.run_for(31_000)
        await stranded.fails_with("The connection was lost", "What was said stays")
