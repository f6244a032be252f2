"""Pictures of the page in every state, phone and desktop, light and dark, English and Spanish.

    .venv/bin/python -m tests.web.screenshots OUT_DIR [NAME…]

A NAME is a state or a look (`phone-light-en`); without any, all are taken.

The page is the real one; what happens to it is played by the scripted gateway, with human speech as both
voices.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from playwright.async_api import Browser, Page, ViewportSize

from tests.speech_data import two_cities
from tests.web.chromium import chromium
from tests.web.scripted_gateway import ScriptedCall, ScriptedGateway, scripted_gateway

SIZES: dict[str, ViewportSize] = {
    "phone": {"width": 360, "height": 740},
    "desktop": {"width": 1280, "height": 800},
}
Scheme = Literal["light", "dark"]
LOOKS: tuple[tuple[str, Scheme, str], ...] = (
    ("phone", "light", "en"),
    ("phone", "dark", "en"),
    ("desktop", "light", "en"),
    ("desktop", "dark", "en"),
    ("phone", "dark", "es"),
    ("desktop", "light", "es"),
)

GREETING = "Hello, this is Sam, the AI assistant of Maple Lantern. Do you have two minutes?"
QUESTION = "Yes, sure. What would it cost me a month?"
ANSWER = (
    "Lantern Plus is 39 dollars a month, with the price fixed for two years. "
    "There is no set-up fee, and the first month is free if you sign up today."
)
HEARD = "Lantern Plus is 39 dollars a month, with the price"
FOLLOW_UP = "And can I leave earlier than that?"
LEAVING = "You can leave at the end of any month, with two weeks of notice."


class Scene:
    """One page and the gateway behind it."""

    def __init__(self, page: Page, gateway: ScriptedGateway, voice: bytes) -> None:
        self.page = page
        self.gateway = gateway
        self.voice = voice

    async def phase(self, name: str) -> None:
        """Waits until the page shows this phase."""
        await self.page.wait_for_selector(f'body[data-phase="{name}"]')

    async def call(self, **session: object) -> ScriptedCall:
        """A live call, greeting said."""
        await self.page.click("#start")
        call = await self.gateway.next_call()
        await call.start_session(**session)
        await call.speak("r1", self.voice[: 48 * 1200])
        await call.send("agent_transcript_delta", text=GREETING, response_id="r1")
        await call.receive("playback")
        await call.send("agent_transcript", text=GREETING, response_id="r1")
        await call.send("status", status="listening")
        await call.until_frames(60)
        await self.phase("listening")
        return call

    async def question(self, **session: object) -> ScriptedCall:
        """The caller has asked, the agent thinks."""
        call = await self.call(**session)
        await call.send("user_transcript", text=QUESTION, item_id="i1")
        await call.send("status", status="processing")
        await self.phase("processing")
        return call

    async def answer(self, **session: object) -> ScriptedCall:
        """The agent answers."""
        call = await self.question(**session)
        await call.until_frames(15)
        await call.speak("r2", self.voice[48 * 1200 :], end=False)
        await call.send("agent_transcript_delta", text=HEARD, response_id="r2")
        await call.until_frames(80)
        await self.phase("agent_speaking")
        return call


async def idle(scene: Scene) -> None:
    """Nothing has happened yet."""
    await scene.phase("idle")


async def ticket(scene: Scene) -> None:
    """Each call needs a ticket."""
    scene.gateway.ready = (200, {"status": "ready", "ticket_required": True})
    await scene.page.reload()
    await scene.page.wait_for_selector("#ticket:visible")
    scene.gateway.ready = (200, {"status": "ready"})


async def asking(scene: Scene) -> None:
    """The browser asks for the microphone, and the visitor has not answered."""
    await scene.page.evaluate("() => { navigator.mediaDevices.getUserMedia = () => new Promise(() => {}); }")
    await scene.page.click("#start")
    await scene.phase("microphone")


async def connecting(scene: Scene) -> None:
    """The gateway has not answered."""
    await scene.page.click("#start")
    await scene.gateway.next_call()
    await scene.phase("connecting")


async def listening(scene: Scene) -> None:
    """The caller speaks."""
    await scene.call()


async def processing(scene: Scene) -> None:
    """The caller has finished."""
    await scene.question()


async def speaking(scene: Scene) -> None:
    """The agent answers."""
    await scene.answer()


async def interrupted(scene: Scene) -> None:
    """The caller has cut in."""
    call = await scene.answer()
    await call.send("clear_playback", response_id="r2")
    await call.receive("playback")
    await call.send("agent_transcript", text=ANSWER, response_id="r2", interrupted=True, heard_text=HEARD)
    await call.send("status", status="listening")
    await scene.page.wait_for_selector(".unheard")
    await call.until_frames(30)


async def muted(scene: Scene) -> None:
    """The caller has muted the microphone; a problem is shown."""
    call = await scene.answer()
    await call.send("session_ending", reason="max_duration", seconds_left=60)
    await scene.page.click("#mute")
    await scene.page.wait_for_selector("#problem:visible")


async def leaving(scene: Scene) -> None:
    """The service is going to restart."""
    call = await scene.answer()
    await call.send("session_ending", reason="drain", seconds_left=300)
    await scene.page.wait_for_selector("#problem:visible")


async def reconnecting(scene: Scene) -> None:
    """The connection broke while the agent spoke."""
    lost = await scene.answer(resume_token="t1")
    lost.vanish()
    await scene.gateway.next_call()
    await scene.phase("reconnecting")


async def back(scene: Scene) -> None:
    """The call goes on."""
    lost = await scene.answer(resume_token="t1")
    lost.vanish()
    call = await scene.gateway.next_call()
    await call.send("session_started", session_id="sess_1", resume_token="t2", resumed=True)
    await call.speak("r2", scene.voice[48 * 2400 :], end=False)
    await scene.phase("agent_speaking")
    await call.until_frames(40)


async def returning(scene: Scene) -> None:
    """The service restarts in mid-call."""
    call = await scene.answer()
    scene.gateway.ready = (503, {"status": "draining"})
    await call.close(1012)
    await scene.phase("returning")
    scene.gateway.ready = (200, {"status": "ready"})


async def anew(scene: Scene) -> None:
    """Another call began by itself; push-to-talk is on."""
    lost = await scene.answer()
    lost.vanish()
    call = await scene.gateway.next_call()
    await call.start_session()
    await scene.phase("ready")
    await scene.page.check("#hold")
    await call.speak("r1", scene.voice[: 48 * 1200], end=False)
    await call.send("agent_transcript_delta", text=GREETING, response_id="r1")
    await call.until_frames(40)


async def ending(scene: Scene) -> None:
    """The caller has hung up, and the gateway has not confirmed it."""
    await scene.answer()
    await scene.page.click("#end")
    await scene.phase("ending")


async def ended(scene: Scene) -> None:
    """A call with a good end."""
    call = await scene.answer()
    await call.send("clear_playback", response_id="r2")
    await call.send("agent_transcript", text=ANSWER, response_id="r2", interrupted=True, heard_text=HEARD)
    await call.send("user_transcript", text=FOLLOW_UP, item_id="i2")
    await call.send("agent_text", text=LEAVING, response_id="r3")
    await call.send("session_ended", reason="ended")
    await scene.phase("ended")


async def failed(scene: Scene) -> None:
    """A call that was cut off."""
    call = await scene.question()
    await call.send(
        "error",
        message="",
        code="upstream_lost",
        fatal=True,
        retryable=True,
        retry_after_ms=3000,
        ref="c_7f3a91",
    )
    await scene.phase("failed")


async def refused(scene: Scene) -> None:
    """A call that never began."""
    scene.gateway.refuse_calls = 503
    await scene.page.click("#start")
    await scene.phase("failed")
    scene.gateway.refuse_calls = None


STATES: tuple[Callable[[Scene], Awaitable[None]], ...] = (
    idle, ticket, asking, connecting, listening, processing, speaking, interrupted, muted, leaving,
    reconnecting, back, returning, anew, ending, ended, failed, refused,
)  # fmt: skip


async def take(
    browser: Browser, gateway: ScriptedGateway, folder: Path, names: list[str], voice: bytes
) -> None:
    """Every state in every look, or those named."""
    states = [state for state in STATES if state.__name__ in names] or STATES
    looks = [look for look in LOOKS if "-".join(look) in names] or LOOKS
    for size, scheme, language in looks:
        context = await browser.new_context(viewport=SIZES[size], color_scheme=scheme, locale=language)
        for state in states:
            page = await context.new_page()
            await page.goto(gateway.url)
            await page.wait_for_selector("#start:enabled")
            await state(Scene(page, gateway, voice))
            await page.screenshot(path=folder / f"{state.__name__}-{size}-{scheme}-{language}.png")
            await page.close()
        await context.close()


async def main(folder: Path, names: list[str]) -> None:
    """Takes the pictures."""
    clip = two_cities()
    with TemporaryDirectory() as temporary:
        microphone = clip.write_wav(Path(temporary) / "speech.wav")
        async with scripted_gateway() as gateway, chromium(microphone) as browser:
            await take(browser, gateway, folder, names, clip.at(24_000)[24_000 * 4 :].tobytes())


if __name__ == "__main__":
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(out, sys.argv[2:]))
