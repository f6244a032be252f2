"""The product as its users meet it: gateway process, emulator process, real speech in and out."""

import asyncio
import signal

import aiohttp
import numpy as np
import pytest

from tests.gateway import RawCaller, RunningGateway
from tests.modes import by_name, gateway_for, model, original
from tests.processes import EmulatorProcess, GatewayProcess, emulator_process
from tests.speech_data import human_clips, two_cities, word_error_rate
from voicelive_emulator.model_files import find_model_files
from voicelive_emulator.recognition import Recognizer

FRAME = 960


@pytest.fixture(scope="session")
def recognizer() -> Recognizer:
    return Recognizer(find_model_files())


def at_24_khz(samples: np.ndarray[tuple[int], np.dtype[np.int16]], silence_s: float = 1.5) -> bytes:
    return samples.tobytes() + bytes(int(silence_s * 24_000) * 2)


async def stream(caller: RawCaller, pcm: bytes, frame_s: float = 0.02) -> None:
    """Send audio in 20 ms frames at the pace of a microphone."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    for number, start in enumerate(range(0, len(pcm), FRAME)):
        await caller.socket.send_bytes(pcm[start : start + FRAME])
        await asyncio.sleep(max(0.0, started + number * frame_s - loop.time()))


def heard(recognizer: Recognizer, pcm: bytes) -> str:
    """What a listener makes of the agent's audio."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32_768
    return recognizer.transcribe(samples[: len(samples) // 3 * 3].reshape(-1, 3).mean(axis=1).repeat(2))


class TestModes:
    @pytest.mark.parametrize("variables", [original, by_name, model], ids=["classic", "agent", "model"])
    async def test_reaches_voice_live_with_its_credentials(
        self, emulator: EmulatorProcess, variables: object
    ) -> None:
        assert callable(variables)
        with gateway_for(emulator, variables(emulator)) as gateway:
            async with aiohttp.ClientSession() as http:
                async with RunningGateway(gateway.address, http).caller() as caller:
                    greeting = await caller.until("agent_transcript")
                    assert greeting["text"]
                    await caller.send(type="text", text="How much does it cost?")
                    answer = await caller.until("agent_transcript")
                    assert "dollars" in answer["text"]
                    await caller.send(type="end")
                    assert await caller.until_closed() == 1000
            assert gateway.stop() == 0
            assert "canary" not in str(gateway.log)
            minted = [line for line in gateway.log if line["event"] == "token.minted"]
            assert len(minted) == (0 if variables is model else 1)

    async def test_the_exact_greeting_in_classic_mode(self, emulator: EmulatorProcess) -> None:
        text = "Hello from the bank, how may I help you?"
        with gateway_for(emulator, original(emulator) | {"GREETING_TEXT": text}) as gateway:
            async with aiohttp.ClientSession() as http:
                async with RunningGateway(gateway.address, http).caller() as caller:
                    assert (await caller.until("agent_transcript"))["text"] == text

    async def test_a_wrong_key_is_the_operators_fault(self) -> None:
        with emulator_process("--api-key", "the-right-key") as emulator:
            with gateway_for(emulator, model(emulator)) as gateway:
                async with aiohttp.ClientSession() as http:
                    async with RunningGateway(gateway.address, http).caller() as caller:
                        assert await caller.until_closed() == 4502
                        assert caller.messages[-1]["code"] == "upstream_auth"


class TestSpeech:
    async def test_human_speech_is_understood_and_answered_intelligibly(
        self, gateway: GatewayProcess, recognizer: Recognizer
    ) -> None:
        """A reading with pauses: the agent answers in between, and the caller talks over it."""
        clip = two_cities()
        async with aiohttp.ClientSession() as http:
            async with RunningGateway(gateway.address, http).caller() as caller:
                await caller.until("session_started")
                await caller.until("status", status="ready")
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(stream(caller, at_24_khz(clip.at(24_000))))
                    while len(caller.of_type("user_transcript")) == 0 or (
                        word_error_rate([clip.reference], [said(caller)]) > 0.10
                    ):
                        assert await caller.next() is not None, (
                            f"the call ended; heard so far: {said(caller)}"
                        )
                answer = await caller.until("agent_audio_end")
                spoken = caller_audio_of(caller, answer["response_id"])
                transcript = await caller.until("agent_transcript", response_id=answer["response_id"])
                await caller.send(type="end")
                await caller.until_closed()
        assert word_error_rate([clip.reference], [said(caller)]) <= 0.10
        assert word_error_rate([transcript["text"]], [heard(recognizer, spoken)]) <= 0.25

    async def test_each_short_clip_is_one_turn_with_one_answer(self, gateway: GatewayProcess) -> None:
        clip = next(clip for clip in human_clips() if clip.name == "goforward")
        async with aiohttp.ClientSession() as http:
            async with RunningGateway(gateway.address, http).caller() as caller:
                await caller.until("agent_transcript")
                await stream(caller, at_24_khz(clip.at(24_000)))
                await caller.until("agent_transcript")
                await caller.send(type="end")
                await caller.until_closed()
        assert word_error_rate([clip.reference], [said(caller)]) <= 0.2
        statuses = [message["status"] for message in caller.of_type("status")]
        assert statuses[-4:] == ["listening", "processing", "agent_speaking", "ready"]

    async def test_speaking_over_the_agent_stops_it(self, gateway: GatewayProcess) -> None:
        clip = next(clip for clip in human_clips() if clip.name == "goforward")
        async with aiohttp.ClientSession() as http:
            async with RunningGateway(gateway.address, http).caller() as caller:
                speaking = await caller.until("status", status="agent_speaking")
                greeting = speaking["response_id"]
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(stream(caller, at_24_khz(clip.at(24_000))))
                    await caller.until("clear_playback", response_id=greeting)
                    cleared = len(caller.frames)
                    interrupted = await caller.until("agent_transcript", response_id=greeting)
                    answer = await caller.until("status", status="agent_speaking")
                between = caller.frames[cleared : caller.frames.index(answer)]
                await caller.send(type="end")
                await caller.until_closed()
        assert not any(isinstance(frame, bytes) for frame in between)
        assert interrupted["interrupted"] is True
        assert interrupted["text"].startswith(interrupted["heard_text"])
        assert len(interrupted["heard_text"]) < len(interrupted["text"])
        assert answer["response_id"] != greeting


class TestFaults:
    async def test_the_emulator_dies_in_mid_sentence_and_the_gateway_serves_on(
        self, emulator: EmulatorProcess
    ) -> None:
        with emulator_process() as doomed, gateway_for(doomed, model(doomed)) as gateway:
            async with aiohttp.ClientSession() as http:
                running = RunningGateway(gateway.address, http)
                async with running.caller() as caller:
                    await caller.until("status", status="agent_speaking")
                    doomed.process.kill()
                    assert await caller.until_closed() == 1014
                    assert caller.messages[-1]["code"] == "upstream_lost"
                async with running.caller() as caller:
                    assert await caller.until_closed() == 1014
                async with http.get(f"{gateway.address}/health") as health:
                    assert await health.json() == {"status": "healthy"}

    async def test_voice_live_that_stands_still_is_noticed(self) -> None:
        with emulator_process() as frozen:
            variables = model(frozen) | {"CONNECT_TIMEOUT_S": "1"}
            with gateway_for(frozen, variables) as gateway:
                async with aiohttp.ClientSession() as http:
                    async with RunningGateway(gateway.address, http).caller() as caller:
                        await caller.until("session_started")
                        frozen.process.send_signal(signal.SIGSTOP)
                        assert await caller.until_closed() == 1014
                        assert caller.messages[-1]["code"] == "upstream_lost"

    async def test_sigterm_lets_the_agent_finish_and_a_second_one_does_not(
        self, emulator: EmulatorProcess
    ) -> None:
        with gateway_for(emulator, model(emulator)) as gateway:
            async with aiohttp.ClientSession() as http:
                async with RunningGateway(gateway.address, http).caller() as caller:
                    await caller.until("status", status="agent_speaking")
                    gateway.process.send_signal(signal.SIGTERM)
                    await caller.until("session_ending", reason="drain")
                    await caller.until("agent_audio_end")
                    gateway.process.send_signal(signal.SIGTERM)
                    assert await caller.until_closed() == 1012
                    assert caller.messages[-1]["code"] == "server_draining"
            assert gateway.process.wait(20) == 0


def said(caller: RawCaller) -> str:
    return " ".join(message["text"] for message in caller.of_type("user_transcript"))


def caller_audio_of(caller: RawCaller, response_id: str) -> bytes:
    """The audio between a response's `agent_speaking` and its `agent_audio_end`."""
    pcm, speaking = b"", None
    for frame in caller.frames:
        if isinstance(frame, bytes):
            pcm += frame if speaking == response_id else b""
        elif frame["type"] == "status" and frame["status"] == "agent_speaking":
            speaking = frame["response_id"]
    return pcm
