"""A call through the page: what the gateway gets, what the caller hears."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.speech_data import two_cities
from tests.web.signals import samples_of, tone, tone_to_noise_db
from tests.web.visitor import ScriptedVisitor

pytestmark = pytest.mark.asyncio(loop_scope="session")

FADE_MS = 10


WINDOW = 2400  # 100 ms


def likeness(part: NDArray[np.float64], whole: NDArray[np.float64]) -> float:
    """How well `part` matches its best place in `whole`, whatever its volume: 1 is the same."""
    size = 1 << (len(whole) + len(part)).bit_length()
    products = np.fft.irfft(np.fft.rfft(whole, size) * np.conj(np.fft.rfft(part, size)), size)
    energies = np.convolve(whole**2, np.ones(len(part)), "valid")
    found = products[: len(energies)] / np.sqrt(energies * np.sum(part**2) + 1e-12)
    return float(found.max())


class TestMicrophone:
    async def test_speech_arrives_as_20_ms_frames_of_24_khz(self, visitor: ScriptedVisitor) -> None:
        await visitor.page.evaluate("unprocessed = true")
        call = await visitor.call()
        await call.until_frames(200)
        assert {len(frame) for frame in call.frames} == {960}
        spoken = samples_of(two_cities().at(24_000)[: 24_000 * 10].tobytes())
        got = samples_of(b"".join(call.frames))
        windows = [got[start : start + WINDOW] for start in range(0, len(got) - WINDOW, WINDOW)]
        loudest = sorted(windows, key=lambda window: float(np.sum(window**2)))[-15:]
        # A busy machine may lose a moment of the sound file; it cannot make other sounds of it.
        alike = [likeness(window, spoken) for window in loudest]
        assert np.median(alike) > 0.99

    async def test_the_browser_is_asked_to_clean_the_voice(self, visitor: ScriptedVisitor) -> None:
        await visitor.call()
        asked = await visitor.page.evaluate("asked")
        assert asked["echoCancellation"] is True
        assert asked["noiseSuppression"] is True
        assert asked["autoGainControl"] is True

    async def test_muted_the_gateway_gets_silence_and_the_call_goes_on(
        self, visitor: ScriptedVisitor
    ) -> None:
        call = await visitor.call()
        await call.until_frames(100)
        assert any(any(frame) for frame in call.frames)
        await visitor.page.click("#mute")
        await visitor.until_reads("#explanation", "You are muted")
        await call.until_frames(10)
        muted_from = len(call.frames)
        await call.until_frames(25)
        assert not any(any(frame) for frame in call.frames[muted_from:])
        await visitor.page.click("#mute")
        await call.until_frames(50)
        assert any(any(frame) for frame in call.frames[-20:])

    async def test_with_push_to_talk_the_caller_is_heard_while_the_button_is_held(
        self, visitor: ScriptedVisitor
    ) -> None:
        page = visitor.page
        await page.check("#hold")
        call = await visitor.call()
        await visitor.until_reads("#explanation", "Hold the button")
        assert await page.is_hidden("#mute")
        await call.until_frames(100)
        assert not any(any(frame) for frame in call.frames)
        await page.hover("#talk")
        await page.mouse.down()
        await visitor.until_reads("#talk", "Talking")
        await call.until_frames(100)
        assert any(any(frame) for frame in call.frames[-80:])
        await page.mouse.move(0, 0)
        await page.mouse.up()
        await visitor.until_reads("#talk", "Hold to talk")
        await call.until_frames(10)
        released_at = len(call.frames)
        await call.until_frames(25)
        assert not any(any(frame) for frame in call.frames[released_at:])
        await page.uncheck("#hold")
        await call.until_frames(50)
        assert any(any(frame) for frame in call.frames[-40:])

    @pytest.mark.parametrize(("where", "key"), [("#headline", " "), ("#talk", " "), ("#talk", "Enter")])
    async def test_push_to_talk_by_key(self, visitor: ScriptedVisitor, where: str, key: str) -> None:
        page = visitor.page
        await page.check("#hold")
        await visitor.call()
        await page.focus(where)
        await page.keyboard.down(key)
        await page.keyboard.down(key)  # a key that is held repeats itself
        assert await visitor.read("#talk-label") == "Talking"
        await page.keyboard.up(key)
        assert await visitor.read("#talk-label") == "Hold to talk"

    async def test_push_to_talk_by_touch(self, visitor: ScriptedVisitor) -> None:
        page = visitor.page
        await page.check("#hold")
        await visitor.call()
        touch = await page.context.new_cdp_session(page)
        box = await page.locator("#talk").bounding_box()
        assert box is not None
        finger = {"x": box["x"] + 10, "y": box["y"] + 10}
        await touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [finger]})
        await visitor.until_reads("#talk", "Talking")
        await touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        await visitor.until_reads("#talk", "Hold to talk")

    async def test_push_to_talk_leaves_the_keys_of_other_controls_alone(
        self, visitor: ScriptedVisitor
    ) -> None:
        page = visitor.page
        await page.check("#hold")
        await visitor.call()
        await page.focus("#typed")
        await page.keyboard.down(" ")
        assert await visitor.read("#talk-label") == "Hold to talk"
        await page.keyboard.up(" ")
        assert await page.input_value("#typed") == " "

    async def test_push_to_talk_ends_when_the_window_is_left(self, visitor: ScriptedVisitor) -> None:
        page = visitor.page
        await page.check("#hold")
        await visitor.call()
        await page.focus("#headline")
        await page.keyboard.down(" ")
        assert await visitor.read("#talk-label") == "Talking"
        await page.evaluate("window.dispatchEvent(new Event('blur'))")
        assert await visitor.read("#talk-label") == "Hold to talk"

    async def test_another_microphone_takes_over_in_the_call(self, visitor: ScriptedVisitor) -> None:
        call = await visitor.call()
        await visitor.until("() => document.querySelectorAll('#device option').length > 1")
        await visitor.page.select_option("#device", index=2)
        await visitor.until("() => streams.length === 2")
        await call.until_frames(50)
        assert await visitor.microphones() == ["ended", "live"]

    async def test_a_lost_microphone_is_replaced_by_the_default_one(self, visitor: ScriptedVisitor) -> None:
        call = await visitor.call()
        await visitor.page.evaluate("streams[0].getTracks()[0].dispatchEvent(new Event('ended'))")
        await visitor.until_reads("#problem", "Your microphone was unplugged")
        await call.until_frames(50)
        assert await visitor.microphones() == ["ended", "live"]

    async def test_one_that_is_plugged_in_can_be_chosen_and_unplugged_in_the_call(
        self, visitor: ScriptedVisitor
    ) -> None:
        page = visitor.page
        call = await visitor.call()
        in_use = await page.input_value("#device")
        await page.evaluate("plugIn('headset', 'Headset', 1000)")
        await visitor.until(
            "() => [...document.querySelectorAll('#device option')].at(-1).label === 'Headset'"
        )
        assert await page.input_value("#device") == in_use  # the call goes on as it was
        assert await visitor.microphones() == ["live"]
        await page.select_option("#device", "headset")
        await visitor.until("() => streams.length === 2")
        await call.until_frames(50)
        assert await visitor.microphones() == ["ended", "live"]
        assert tone_to_noise_db(samples_of(b"".join(call.frames[-20:])), 1000) > 20
        await page.evaluate("unplug('headset')")
        await visitor.until_reads("#problem", "Your microphone was unplugged")
        await visitor.until("() => document.querySelector('#device').value !== 'headset'")
        assert "Headset" not in await page.inner_text("#device")
        await call.until_frames(50)
        assert tone_to_noise_db(samples_of(b"".join(call.frames[-20:])), 1000) < 0
        assert await visitor.microphones() == ["ended", "ended", "live"]
        assert await page.evaluate("document.body.dataset.phase") == "ready"

    async def test_one_that_was_unplugged_before_the_call_is_not_asked_for(
        self, visitor: ScriptedVisitor
    ) -> None:
        await visitor.page.evaluate("plugIn('headset', 'Headset', 1000)")
        await visitor.page.select_option("#device", "headset")
        await visitor.page.evaluate("unplug('headset')")
        await visitor.until("() => document.querySelector('#device').value === ''")
        await visitor.call()
        assert await visitor.microphones() == ["live"]

    async def test_it_is_released_when_the_caller_hangs_up(self, visitor: ScriptedVisitor) -> None:
        call = await visitor.call()
        assert await visitor.microphones() == ["live"]
        await visitor.page.click("#end")
        await call.receive("end")
        assert await visitor.microphones() == ["ended"]  # the gateway has not answered yet
        await visitor.until_phase("ending")
        await call.send("session_ended", reason="ended")
        await visitor.until_phase("ended")
        await call.until_closed()

    async def test_it_is_released_when_the_gateway_hangs_up(self, visitor: ScriptedVisitor) -> None:
        call = await visitor.call()
        await call.send("session_ended", reason="ended")
        await visitor.until_phase("ended")
        assert await visitor.microphones() == ["ended"]

    async def test_it_is_released_when_the_page_is_left(self, visitor: ScriptedVisitor) -> None:
        call = await visitor.call()
        await visitor.page.goto(f"{visitor.gateway.url}/?somewhere-else")
        await call.until_closed()
        assert call.sent("end")


class TestPlayout:
    async def test_the_agent_is_heard_as_it_was_sent(self, visitor: ScriptedVisitor) -> None:
        call = await visitor.call()
        await call.speak("r1", tone(440, 1500))
        assert await call.receive("playback") == {"type": "playback", "response_id": "r1", "played_ms": 1500}
        await visitor.until_heard_more(200)
        sound = await visitor.hears()
        assert sound.audible_ms == pytest.approx(1500, abs=1)
        middle = sound.audible[sound.rate_hz // 20 : -sound.rate_hz // 20].astype(np.float64)
        assert tone_to_noise_db(middle, 440, sound.rate_hz) > 55
        assert len(call.sent("playback")) == 1

    async def test_cleared_it_is_silent_within_the_fade_and_its_played_time_is_told(
        self, visitor: ScriptedVisitor
    ) -> None:
        call = await visitor.call()
        released = tone(440, 5000)
        await call.speak("r1", released, end=False)
        await visitor.until_audible(400)
        await call.send("clear_playback", response_id="r1")
        played = await call.receive("playback")
        assert played["response_id"] == "r1"
        await visitor.until_heard_more(500)
        sound = await visitor.hears()
        assert 400 <= played["played_ms"] <= len(released) / 48
        assert sound.sounding_ms == pytest.approx(played["played_ms"], abs=5)
        # The last 10 ms fade: nothing ends in a click.
        fade = np.abs(sound.audible[-sound.rate_hz * FADE_MS // 1000 :])
        assert fade[: len(fade) // 4].max() > 2 * fade[-len(fade) // 4 :].max()
        assert np.abs(np.diff(sound.audible)).max() < 0.3 * 2 * np.pi * 440 / sound.rate_hz * 1.2

    async def test_after_a_clear_the_next_response_is_heard(self, visitor: ScriptedVisitor) -> None:
        call = await visitor.call()
        await call.speak("r1", tone(440, 3000), end=False)
        await visitor.until_audible(100)
        await call.send("clear_playback", response_id="r1")
        await call.receive("playback")
        await call.speak("r2", tone(660, 300))
        assert await call.receive("playback") == {"type": "playback", "response_id": "r2", "played_ms": 300}
        assert len(call.sent("playback")) == 2

    async def test_late_audio_of_a_cleared_response_is_not_heard(self, visitor: ScriptedVisitor) -> None:
        call = await visitor.call()
        await call.speak("r1", tone(440, 3000), end=False)
        await visitor.until_audible(100)
        await call.send("clear_playback", response_id="r1")
        await call.socket.send_bytes(tone(440, 100))
        played = await call.receive("playback")
        await visitor.until_heard_more(500)
        assert (await visitor.hears()).sounding_ms == pytest.approx(played["played_ms"], abs=5)

    async def test_a_clear_that_comes_too_late_does_not_unsay_what_was_heard(
        self, visitor: ScriptedVisitor
    ) -> None:
        call = await visitor.call()
        await call.speak("r1", tone(440, 200))
        assert (await call.receive("playback"))["played_ms"] == 200
        await call.send("clear_playback", response_id="r1")
        await call.speak("r2", tone(440, 200))
        assert (await call.receive("playback"))["response_id"] == "r2"

    async def test_held_it_waits_and_resumed_it_goes_on(self, visitor: ScriptedVisitor) -> None:
        call = await visitor.call()
        await call.speak("r1", tone(440, 6000))
        await visitor.until_audible(200)
        await call.send("hold_playback", response_id="r1")
        await visitor.until_heard_more(1500)
        assert not call.sent("playback")
        await call.send("resume_playback", response_id="r1")
        assert (await call.receive("playback"))["played_ms"] == 6000

    async def test_a_gateway_that_names_no_responses_is_heard_too(self, visitor: ScriptedVisitor) -> None:
        call = await visitor.call()
        await call.send("status", status="agent_speaking")
        await call.socket.send_bytes(tone(440, 300))
        await visitor.until_audible(290)
        assert not call.sent("playback")

    @pytest.mark.parametrize("rate_hz", [16_000, 44_100, 96_000])
    async def test_any_device_rate_will_do(self, visitor: ScriptedVisitor, rate_hz: int) -> None:
        await visitor.page.evaluate(
            """rate => {
                const Default = AudioContext;
                window.AudioContext = function () { return new Default({ sampleRate: rate }); };
            }""",
            rate_hz,
        )
        call = await visitor.call()
        await call.until_frames(20)
        assert {len(frame) for frame in call.frames} == {960}
        await call.speak("r1", tone(440, 500))
        assert (await call.receive("playback"))["played_ms"] == 500
        await visitor.until_heard_more(400)
        sound = await visitor.hears()
        assert sound.rate_hz == rate_hz
        assert sound.audible_ms == pytest.approx(500, abs=2)


class TestControls:
    async def test_the_page_offers_our_subprotocol(self, visitor: ScriptedVisitor) -> None:
        call = await visitor.call()
        assert call.offered == "voice-live.v1"

    async def test_interrupt_is_there_while_the_agent_speaks(self, visitor: ScriptedVisitor) -> None:
        call = await visitor.call()
        assert await visitor.page.is_disabled("#interrupt")
        await call.speak("r1", tone(440, 2000), end=False)
        await visitor.until_phase("agent_speaking")
        await visitor.page.click("#interrupt")
        assert await call.receive("barge_in") == {"type": "barge_in"}

    async def test_typed_words_are_sent_and_shown(self, visitor: ScriptedVisitor) -> None:
        call = await visitor.call()
        await visitor.page.fill("#typed", "  What does it cost?  ")
        await visitor.page.press("#typed", "Enter")
        assert await call.receive("text") == {"type": "text", "text": "What does it cost?"}
        assert await visitor.turns() == ["What does it cost?"]
        assert await visitor.page.input_value("#typed") == ""

    async def test_everything_can_be_done_with_the_keyboard(self, visitor: ScriptedVisitor) -> None:
        keyboard = visitor.page.keyboard
        focused = "document.activeElement.id"
        await keyboard.press("Tab")
        assert await visitor.page.evaluate(focused) == "language"
        await keyboard.press("Tab")
        assert await visitor.page.evaluate(focused) == "start"
        await keyboard.press("Enter")
        call = await visitor.gateway.next_call()
        # Focus has not been lost with the button that went away.
        assert await visitor.page.evaluate(focused) == "headline"
        await call.start_session()
        await visitor.until_phase("ready")
        await call.speak("r1", tone(440, 3000), end=False)
        await visitor.until_phase("agent_speaking")
        for expected in ("log", "typed", "send", "mute", "interrupt", "end", "hold", "device"):
            await keyboard.press("Tab")
            assert (
                await visitor.page.evaluate("document.activeElement.id || document.activeElement.type")
                == expected
            )
        await keyboard.press("Shift+Tab")
        await keyboard.press("Shift+Tab")
        await keyboard.press("Space")
        await call.receive("end")
        await call.send("session_ended", reason="ended")
        await visitor.until_phase("ended")
        assert await visitor.page.evaluate(focused) == "headline"

    async def test_one_call_follows_another(self, visitor: ScriptedVisitor) -> None:
        first = await visitor.call()
        await first.send("user_transcript", text="One", item_id="i1")
        await first.send("session_ended", reason="ended")
        await visitor.until_phase("ended")
        assert await visitor.turns() == ["One"]
        second = await visitor.call()
        await second.send("user_transcript", text="Two", item_id="i1")
        await visitor.until_reads("#turns", "Two")
        assert await visitor.turns() == ["Two"]

    async def test_cancelled_while_it_rings_the_call_is_over(self, visitor: ScriptedVisitor) -> None:
        await visitor.page.click("#start")
        call = await visitor.gateway.next_call()
        await visitor.until_phase("connecting")
        await visitor.page.click("#end")
        await call.receive("end")
        assert await visitor.microphones() == ["ended"]
        await call.close(1000)
        await visitor.until_phase("ended")
