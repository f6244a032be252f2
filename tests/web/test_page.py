"""What the page shows: phases, captions, interrupted answers, languages; and what must never happen to it."""

import gzip
import re
from pathlib import Path

import pytest
from playwright.async_api import Browser

from app.errors import ErrorCode
from app.page import WEB
from tests.web.hostile import HOSTILE_TEXTS
from tests.web.scripted_gateway import ScriptedGateway
from tests.web.signals import tone
from tests.web.visitor import ScriptedVisitor, visiting

pytestmark = pytest.mark.asyncio(loop_scope="session")

AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
MAX_PAGE_BYTES = 60_000
"""As they travel: compressed."""


@pytest.fixture(scope="module")
def axe() -> str:
    """The accessibility checker (`npm ci`)."""
    return AXE.read_text()


class TestConversation:
    async def test_the_headline_says_what_the_call_is_doing(self, visitor: ScriptedVisitor) -> None:
        headlines = {
            "listening": "Listening",
            "processing": "One moment",
            "agent_speaking": "Agent speaking",
            "ready": "Your turn",
        }
        call = await visitor.call()
        for status, headline in headlines.items():
            await call.send("status", status=status, response_id="r1")
            await visitor.until_phase(status)
            assert await visitor.read("#headline") == headline

    async def test_captions_grow_and_become_the_transcript(self, visitor: ScriptedVisitor) -> None:
        call = await visitor.call()
        await call.send("status", status="listening")
        await call.send("user_transcript_delta", text="what does ", item_id="i1")
        await call.send("user_transcript_delta", text="it cost", item_id="i1")
        await visitor.until_reads("#turns", "what does it cost")
        await call.send("user_transcript", text="What does it cost?", item_id="i1")
        await call.send("status", status="agent_speaking", response_id="r1")
        await call.send("agent_transcript_delta", text="Nineteen ", response_id="r1")
        await call.send("agent_transcript_delta", text="euros", response_id="r1")
        await visitor.until_reads("#turns", "Nineteen euros")
        await call.send("agent_transcript", text="Nineteen euros a month.", response_id="r1")
        await visitor.until_reads("#turns", "a month.")
        assert await visitor.turns() == ["What does it cost?", "Nineteen euros a month."]

    async def test_what_was_not_heard_is_struck_through(self, visitor: ScriptedVisitor) -> None:
        call = await visitor.call()
        await call.speak("r1", tone(440, 2000), end=False)
        await call.send("agent_transcript_delta", text="It costs nineteen euros. ", response_id="r1")
        await visitor.until_audible(100)
        await call.send("clear_playback", response_id="r1")
        await call.receive("playback")
        await call.send(
            "agent_transcript",
            text="It costs nineteen euros. Shall I go on?",
            response_id="r1",
            interrupted=True,
            heard_text="It costs nineteen",
        )
        await visitor.until_reads(".note", "Interrupted")
        assert await visitor.read(".unheard") == "euros. Shall I go on?"
        assert (await visitor.read(".words")).startswith("It costs nineteen")

    async def test_a_turn_keeps_its_place_while_its_words_are_found(self, visitor: ScriptedVisitor) -> None:
        call = await visitor.call()
        await call.send("status", status="listening")
        await visitor.until_reads("#turns", "Listening to you")
        await call.send("status", status="processing")
        await call.send("status", status="agent_speaking", response_id="r1")
        await call.send("agent_transcript_delta", text="Yes.", response_id="r1")
        await call.send("user_transcript", text="Are you there?", item_id="i1")
        await visitor.until_reads("#turns", "Are you there?")
        assert await visitor.turns() == ["Are you there?", "Yes."]

    async def test_a_noise_is_no_turn(self, visitor: ScriptedVisitor) -> None:
        call = await visitor.call()
        await call.send("status", status="listening")
        await visitor.until_reads("#turns", "Listening to you")
        await call.send("status", status="ready")
        await visitor.until("() => !document.querySelector('.turn')")

    async def test_an_answer_without_sound_is_announced(self, visitor: ScriptedVisitor) -> None:
        call = await visitor.call()
        await call.send("agent_text", text="It is in the letter.", response_id="r1")
        await visitor.until(
            "() => document.querySelector('#announcement').textContent === 'It is in the letter.'"
        )
        assert await visitor.turns() == ["It is in the letter."]

    async def test_the_wait_for_each_answer_is_shown(self, visitor: ScriptedVisitor) -> None:
        call = await visitor.call()
        await call.send("status", status="processing")
        await call.speak("r1", tone(440, 200))
        await call.send("agent_transcript_delta", text="Yes.", response_id="r1")
        await visitor.until_reads(".note", "Answered in")
        assert re.fullmatch(r"\d+\.\d s", await visitor.read("#answer"))

    async def test_the_end_says_how_long_it_was(self, visitor: ScriptedVisitor) -> None:
        await visitor.page.clock.install()
        call = await visitor.call()
        await visitor.page.clock.run_for(4_000)
        await visitor.page.clock.run_for(4_000)
        # The page's clock runs on meanwhile, however slow this machine is.
        shown = int((await visitor.read("#duration")).removeprefix("0:"))
        assert shown >= 7
        await call.send("session_ended", reason="ended")
        await visitor.until_phase("ended")
        ended = re.search(r"connected for 0:(\d\d)", await visitor.read("#explanation"))
        assert ended
        assert int(ended[1]) >= max(8, shown)


class TestLanguages:
    async def test_the_visitor_s_language_is_spoken(self, browser: Browser, gateway: ScriptedGateway) -> None:
        async with visiting(browser, gateway, language="es-MX") as visitor:
            assert await visitor.read("#start") == "Iniciar llamada"
            assert await visitor.page.get_attribute("html", "lang") == "es"
            await visitor.call()
            assert await visitor.read("#headline") == "Su turno"

    async def test_it_can_be_changed_in_the_call(self, visitor: ScriptedVisitor) -> None:
        await visitor.call()
        await visitor.page.select_option("#language", "es")
        await visitor.until_reads("#headline", "Su turno")
        assert await visitor.read("#end") == "Colgar"
        assert await visitor.page.get_attribute("#typed", "aria-label") == "Escriba un mensaje"


class TestSafety:
    @pytest.mark.parametrize("kind", ["user_transcript", "agent_transcript", "agent_text"])
    async def test_hostile_texts_stay_text(self, visitor: ScriptedVisitor, kind: str) -> None:
        call = await visitor.call()
        elements = "() => document.querySelectorAll('#turns :not(li, p)').length"
        for number, text in enumerate(HOSTILE_TEXTS):
            await call.send(kind, text=text, item_id=f"i{number}", response_id=f"r{number}")
        await visitor.until(f"() => document.querySelectorAll('.turn').length === {len(HOSTILE_TEXTS)}")
        shown = await visitor.page.locator(".turn .words").all_text_contents()
        assert shown == list(HOSTILE_TEXTS)
        assert await visitor.page.evaluate(elements) == 0
        assert await visitor.page.evaluate("window.pwned") is None

    async def test_hostile_captions_and_errors_stay_text(self, visitor: ScriptedVisitor) -> None:
        call = await visitor.call()
        for number, text in enumerate(HOSTILE_TEXTS):
            await call.send("agent_transcript_delta", text=text, response_id=f"r{number}")
            await call.send(
                "agent_transcript", text=text * 2, response_id=f"r{number}", interrupted=True, heard_text=text
            )
        await call.send(
            "error", code=HOSTILE_TEXTS[0], message=HOSTILE_TEXTS[1], ref=HOSTILE_TEXTS[2], fatal=True
        )
        await visitor.until_phase("failed")
        assert await visitor.read("#explanation") == HOSTILE_TEXTS[1]
        assert HOSTILE_TEXTS[2] in await visitor.read("#detail")
        assert await visitor.page.evaluate("document.querySelectorAll('img, script, iframe, a').length") == 2
        assert await visitor.page.evaluate("window.pwned") is None

    async def test_a_mebibyte_of_text_does_not_stall_the_page(self, visitor: ScriptedVisitor) -> None:
        call = await visitor.call()
        await call.send("user_transcript", text="word " * 209_715, item_id="i1")
        await call.send("user_transcript", text="after", item_id="i2")
        await visitor.until_reads("#turns", "after")
        await visitor.page.click("#end")
        await call.receive("end")

    async def test_text_of_any_direction_leaves_the_rest_as_it_is(self, visitor: ScriptedVisitor) -> None:
        call = await visitor.call()
        await call.send(
            "user_transcript", text="\u202egnitirw morf tfel\u2066 \u05e9\u05dc\u05d5\u05dd", item_id="i1"
        )
        await visitor.until("() => document.querySelector('.words')")
        direction = "element => getComputedStyle(element).direction"
        assert await visitor.page.eval_on_selector("#headline", direction) == "ltr"
        assert await visitor.read(".speaker") == "You"

    async def test_the_page_holds_no_inline_code_or_style(self) -> None:
        html = (WEB / "index.html").read_text()
        assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\son\w+=|\sstyle=|javascript:", html)
        scripts = "".join(file.read_text() for file in WEB.rglob("*.js"))
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", scripts
        )


class TestAccessibility:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("size", [(390, 844), (1280, 800)], ids=["phone", "desktop"])
    async def test_axe_finds_nothing(
        self, visitor: ScriptedVisitor, axe: str, scheme: str, size: tuple[int, int]
    ) -> None:
        page = visitor.page
        await page.set_viewport_size({"width": size[0], "height": size[1]})
        await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        assert await visitor.accessibility_violations(axe) == []
        await page.click("#start")
        call = await visitor.gateway.next_call()
        await visitor.until_phase("connecting")
        assert await visitor.accessibility_violations(axe) == []
        await call.start_session(resume_token="t1")
        await call.send("user_transcript", text="What does it cost?", item_id="i1")
        await call.send("status", status="processing")
        await call.speak("r1", tone(440, 3000), end=False)
        await call.send("agent_transcript_delta", text="It costs", response_id="r1")
        await visitor.until_audible(100)
        assert await visitor.accessibility_violations(axe) == []
        await call.send("clear_playback", response_id="r1")
        await call.send("status", status="listening")
        await call.send(
            "agent_transcript",
            text="It costs much",
            response_id="r1",
            interrupted=True,
            heard_text="It costs",
        )
        await call.send("error", code=ErrorCode.AGENT_SILENT, message="", fatal=False)
        await visitor.until_reads("#problem", "does not answer")
        await page.click("#mute")
        assert await visitor.accessibility_violations(axe) == []
        call.vanish()
        call = await visitor.gateway.next_call()
        await visitor.until_phase("reconnecting")
        assert await visitor.accessibility_violations(axe) == []
        await call.start_session(resumed=True)
        await visitor.until_reads("#turns", "The call goes on")
        await page.click("#end")
        await visitor.until_phase("ending")
        assert await visitor.accessibility_violations(axe) == []
        await call.send("session_ended", reason="ended")
        await visitor.until_phase("ended")
        assert await visitor.accessibility_violations(axe) == []

    async def test_axe_finds_nothing_where_it_goes_wrong(
        self, stranded: ScriptedVisitor, gateway: ScriptedGateway, axe: str
    ) -> None:
        page = stranded.page
        gateway.ready = (200, {"status": "ready", "ticket_required": True})
        gateway.refuse_calls = 401
        await page.reload()
        await page.wait_for_selector("#ticket:visible")
        assert await stranded.accessibility_violations(axe) == []
        await page.evaluate("() => { navigator.mediaDevices.getUserMedia = () => new Promise(() => {}); }")
        await page.click("#start")
        await stranded.until_phase("microphone")
        assert await stranded.accessibility_violations(axe) == []
        gateway.ready = (200, {"status": "ready"})
        await page.reload()
        await page.click("#start")
        await stranded.until_phase("failed")
        assert await stranded.accessibility_violations(axe) == []
        gateway.refuse_calls = None
        call = await stranded.call()
        await call.send("session_ending", reason="drain", seconds_left=300)
        await page.check("#hold")
        await stranded.until_reads("#problem", "5 minutes")
        assert await stranded.accessibility_violations(axe) == []
        gateway.ready = (503, {"status": "draining"})
        await call.close(1012)
        await stranded.until_phase("returning")
        assert await stranded.accessibility_violations(axe) == []

    async def test_captions_are_not_read_aloud_while_the_agent_speaks_them(
        self, visitor: ScriptedVisitor
    ) -> None:
        page = visitor.page
        live = "[...document.querySelectorAll('[aria-live], [role=status], [role=alert], [role=log]')]"
        regions = f"{live}.filter(element => element.ariaLive !== 'off').map(element => element.id)"
        assert await page.evaluate(regions) == ["announcement"]
        assert await page.get_attribute("#log", "aria-live") == "off"
        call = await visitor.call()
        await call.speak("r1", tone(440, 300))
        await call.send("agent_transcript_delta", text="It costs", response_id="r1")
        await call.send("agent_transcript", text="It costs nineteen euros.", response_id="r1")
        await call.send("user_transcript", text="Thank you.", item_id="i1")
        await visitor.until_reads("#turns", "Thank you.")
        said = await page.inner_text("#announcement")
        assert "costs" not in said
        assert "Thank" not in said
        await call.send("clear_playback", response_id="r2")
        await visitor.until(
            "() => document.querySelector('#announcement').textContent === 'You interrupted.'"
        )


UNTIDY = """() => {
    const shown = selector =>
        [...document.querySelectorAll(selector)].filter(element => element.checkVisibility());
    const name = element => element.id || element.className || element.localName;
    const box = element => element.getBoundingClientRect();
    const wide = shown('button, p, h1, dl, dd, select, input, span').filter(element =>
        !element.closest('.visually-hidden') && (box(element).right > innerWidth + 0.5
        || (element.localName === 'button' && element.scrollWidth > element.clientWidth)));
    const small = shown('button, select, input:not([type=checkbox]), label.hold')
        .filter(element => box(element).height < 43.5);
    const blocks = shown('.bar, .stage, .conversation, .controls').map(box);
    const across = blocks.flatMap((one, i) => blocks.slice(i + 1).filter(other =>
        one.left < other.right - 1 && other.left < one.right - 1
        && one.top < other.bottom - 1 && other.top < one.bottom - 1));
    const spilled = shown('.stage, .conversation, .controls')
        .filter(element => element.scrollHeight > element.clientHeight + 1);
    return {
        wide: wide.map(name), small: small.map(name), across: across.length, spilled: spilled.map(name),
        sideways: document.documentElement.scrollWidth > innerWidth,
    };
}"""
TIDY = {"wide": [], "small": [], "across": 0, "spilled": [], "sideways": False}


class TestLayout:
    @pytest.mark.parametrize("language", ["en", "es"])
    @pytest.mark.parametrize(
        "size",
        [(320, 568), (844, 390), (1280, 640)],
        ids=lambda size: f"{size[0]}x{size[1]}",
    )
    async def test_nothing_is_cut_off_covered_or_too_small_to_touch(
        self, visitor: ScriptedVisitor, size: tuple[int, int], language: str
    ) -> None:
        page = visitor.page
        await page.set_viewport_size({"width": size[0], "height": size[1]})
        await page.select_option("#language", language)
        assert await page.evaluate(UNTIDY) == TIDY
        call = await visitor.call(resume_token="t1")
        await call.send("user_transcript", text="Donaudampfschifffahrtsgesellschaft " * 4, item_id="i1")
        await call.send("session_ending", reason="max_duration", seconds_left=60)
        await visitor.until("() => !document.querySelector('#problem').hidden")
        await page.click("#mute")
        assert await page.evaluate(UNTIDY) == TIDY
        await page.check("#hold")
        assert await page.evaluate(UNTIDY) == TIDY
        await call.send(
            "error", code=ErrorCode.UPSTREAM_LOST, message="", fatal=True, retry_after_ms=5000, ref="c_7f3a91"
        )
        await visitor.until_phase("failed")
        assert await page.evaluate(UNTIDY) == TIDY


class TestExample:
    async def test_a_call_in_ten_lines(self, visitor: ScriptedVisitor) -> None:
        page = visitor.page
        await page.goto(f"{visitor.gateway.url}/static/client/example/index.html")
        for _ in range(2):
            await page.click("#start")
            call = await visitor.gateway.next_call()
            await call.start_session()
            await call.until_frames(5)
            await call.send("agent_transcript", text="Hello.", response_id="r1")
            await visitor.until_reads("#words", "agent: Hello.")
            await page.click("#stop")
            await call.receive("end")
            await call.send("session_ended", reason="ended")
            await visitor.until_reads("#end", "The call has ended.")

    async def test_its_script_has_ten_lines(self) -> None:
        example = WEB / "client" / "example"
        code = [line for line in (example / "example.js").read_text().splitlines() if line.strip()]
        assert len(code) <= 11
        assert code[0].startswith("import")


WATCH_PAINT = """
window.moved = 0;
new PerformanceObserver(list => list.getEntries().forEach(shift => { moved += shift.value; }))
    .observe({ type: 'layout-shift', buffered: true });
"""
BEFORE_PAINT = """() => {
    const painted = performance.getEntriesByName('first-contentful-paint')[0].startTime;
    return performance.getEntriesByType('resource').filter(file => file.startTime < painted)
        .map(file => new URL(file.name).pathname).filter(path => path !== '/static/icon.svg');
}"""
MODULES = """() => performance.getEntriesByType('resource').map(file => new URL(file.name).pathname)
    .filter(path => path.endsWith('.js') && path !== '/static/start.js')"""
PRELOADED = """() => [...document.querySelectorAll('link[rel=modulepreload]')]
    .map(link => new URL(link.href).pathname)"""


class TestFirstPaint:
    @pytest.mark.parametrize("size", [(360, 740), (1280, 800)], ids=["phone", "desktop"])
    async def test_it_waits_for_little_and_nothing_moves_after_it(
        self, visitor: ScriptedVisitor, size: tuple[int, int]
    ) -> None:
        page = visitor.page
        await page.set_viewport_size({"width": size[0], "height": size[1]})
        await page.add_init_script(WATCH_PAINT)
        await page.reload()
        await page.wait_for_selector("#start:enabled")
        assert await page.evaluate(BEFORE_PAINT) == ["/static/style.css", "/static/start.js"]
        assert await page.evaluate("moved") == 0

    async def test_its_modules_are_asked_for_at_once(self, visitor: ScriptedVisitor) -> None:
        loaded = await visitor.page.evaluate(MODULES)
        assert len(loaded) > 10
        assert set(loaded) == set(await visitor.page.evaluate(PRELOADED))


class TestWeight:
    async def test_the_page_loads_nothing_from_elsewhere(self, visitor: ScriptedVisitor) -> None:
        call = await visitor.call()
        await call.until_frames(5)
        loaded: list[str] = await visitor.page.evaluate(
            "performance.getEntriesByType('resource').map(entry => entry.name)"
        )
        assert len(loaded) > 10
        assert all(name.startswith(visitor.gateway.url) for name in loaded)

    async def test_the_page_and_its_modules_are_small(self) -> None:
        served = [file for kind in ("*.html", "*.css", "*.js", "*.svg") for file in WEB.rglob(kind)]
        assert sum(len(gzip.compress(file.read_bytes())) for file in served) <= MAX_PAGE_BYTES
