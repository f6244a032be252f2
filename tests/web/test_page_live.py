"""The page with the real gateway and the real emulator behind it: a person reads, the agent answers."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import WebSocket

from tests.processes import EmulatorProcess, GatewayProcess, gateway_process
from tests.speech_data import Clip, two_cities
from tests.web.chromium import chromium
from tests.web.cut_wire import wire_to
from tests.web.visitor import Visitor, opened_page

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Wire:
    """What went over the socket of the page."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.received: list[dict[str, Any]] = []
        self.audio_bytes = 0

    def listen(self, socket: WebSocket) -> None:
        """Keeps every frame."""
        socket.on(
            "framesent", lambda data: self.sent.append(json.loads(data)) if isinstance(data, str) else None
        )
        socket.on("framereceived", self._receive)

    def _receive(self, data: str | bytes) -> None:
        if isinstance(data, str):
            self.received.append(json.loads(data))
        else:
            self.audio_bytes += len(data)

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Every message of this type, either way."""
        return [message for message in self.sent + self.received if message["type"] == kind]


@pytest.fixture(scope="module")
def live_gateway(emulator: EmulatorProcess) -> Iterator[GatewayProcess]:
    """The gateway in model mode, with the emulator for a voice service."""
    variables = {
        "AZURE_VOICELIVE_ENDPOINT": emulator.address,
        "AZURE_VOICELIVE_MODEL": "gpt-4.1",
        "AZURE_VOICELIVE_API_KEY": "key",
        "AZURE_VOICELIVE_VOICE_TYPE": "azure-standard",
        "AZURE_VOICELIVE_VOICE_NAME": "en-US-AvaNeural",
        "RESUME_WINDOW_S": "15",
    }
    with gateway_process(variables) as running:
        yield running


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture(scope="module")
def sentence_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The beginning of a reading, then silence: the reader waits for an answer."""
    clip = two_cities()
    beginning = Clip("beginning", clip.samples[: 8 * clip.sample_rate_hz], clip.sample_rate_hz, "")
    return beginning.write_wav(tmp_path_factory.mktemp("sentence") / "speech.wav")


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(sentence_file: Path, live_gateway: GatewayProcess, wire: Wire) -> AsyncIterator[Visitor]:
    """Somebody at the page of the real gateway."""
    async with chromium(sentence_file) as browser, opened_page(browser, live_gateway.address) as page:
        page.on("websocket", wire.listen)
        yield Visitor(page)


async def test_a_reader_is_understood_and_answered(visitor: Visitor, wire: Wire) -> None:
    await visitor.page.click("#start")
    await visitor.until_reads(".turn.user .words", "best of times")
    # The greeting, which the reader talks over, and an answer to what was read.
    await visitor.until("() => document.querySelectorAll('.turn.agent .words:not(:empty)').length >= 2")
    await visitor.until_phase("agent_speaking")
    await visitor.page.click("#end")
    await visitor.until_phase("ended")
    assert wire.audio_bytes > 0
    reports = wire.of("playback")
    assert reports
    assert sum(report["played_ms"] for report in reports) <= wire.audio_bytes / 48


async def test_typed_words_are_answered_aloud(visitor: Visitor, wire: Wire) -> None:
    await visitor.page.click("#start")
    await visitor.until_phase("agent_speaking")
    await visitor.page.click("#mute")
    await visitor.page.fill("#typed", "How much does it cost?")
    await visitor.page.press("#typed", "Enter")
    await visitor.until_reads(".turn.agent:last-child .words", "dollars")
    await visitor.until_phase("ready")
    answer = wire.of("agent_transcript")[-1]
    assert "dollars" in answer["text"]
    assert not answer.get("interrupted")
    # It was heard to its end, and the gateway has been told.
    total = next(
        end["total_ms"] for end in wire.of("agent_audio_end") if end["response_id"] == answer["response_id"]
    )
    (report,) = [one for one in wire.of("playback") if one["response_id"] == answer["response_id"]]
    assert report["played_ms"] == pytest.approx(total, abs=1)
    await visitor.page.click("#end")
    await visitor.until_phase("ended")


async def test_an_answer_goes_on_after_a_lost_connection(
    sentence_file: Path, live_gateway: GatewayProcess, wire: Wire
) -> None:
    async with (
        wire_to(live_gateway.port) as cable,
        chromium(sentence_file) as browser,
        opened_page(browser, cable.address) as page,
    ):
        visitor = Visitor(page)
        page.on("websocket", wire.listen)
        await page.click("#start")
        await visitor.until_phase("agent_speaking")
        await page.click("#mute")
        await page.fill("#typed", "How much does it cost?")
        await page.press("#typed", "Enter")
        await visitor.until_reads(".turn.agent:last-child .words", "dollars")
        speaking = wire.of("status")[-1]
        cable.cut()
        await visitor.until_reads("#turns", "The call goes on")
        await visitor.until_phase("ready")
        assert [started.get("resumed", False) for started in wire.of("session_started")] == [False, True]
        # The answer was finished on the new connection, and shown once.
        (answer,) = [
            one for one in wire.of("agent_transcript") if one["response_id"] == speaking["response_id"]
        ]
        assert not answer.get("interrupted")
        assert (await visitor.turns()).count(answer["text"]) == 1
        await page.click("#end")
        await visitor.until_phase("ended")
