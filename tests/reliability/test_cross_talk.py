"""A hundred calls at once, each with a tone and a word of its own: nobody receives anything of another."""

import asyncio
import base64
import re

import numpy as np

from tests.gateway import RawCaller, RunningGateway, running_gateway
from tests.scripted_voice_live import ScriptedSession, scripted_voice_live
from tests.test_service import audio_delta, response_created, response_done

CALLS = 100
TURNS = 3
TONE_MS = 200
SAMPLE_RATE_HZ = 24_000
STEP_HZ = 50
AT_ONCE = 20
"""So many open at the same time; all are live together afterwards."""


def tone(caller: int) -> bytes:
    """This caller's tone: whole periods of a frequency that no other has."""
    seconds = np.arange(SAMPLE_RATE_HZ * TONE_MS // 1000) / SAMPLE_RATE_HZ
    return (8000 * np.sin(2 * np.pi * (500 + STEP_HZ * caller) * seconds)).astype("<i2").tobytes()


def caller_of(pcm: bytes) -> int:
    """Whose tone this is, by its frequency."""
    samples = np.frombuffer(pcm, "<i2").astype(float)
    spectrum = np.abs(np.fft.rfft(samples))
    return round((np.argmax(spectrum) * SAMPLE_RATE_HZ / len(samples) - 500) / STEP_HZ)


async def echoes(session: ScriptedSession) -> None:
    """An agent that hears whose tone it is, and answers with the same tone and that caller's word."""
    await session.configure()
    heard = b""
    turn = 0
    while True:
        heard += base64.b64decode(await session.receive_audio())
        if len(heard) < len(tone(0)):
            continue
        caller, heard, turn = caller_of(heard), b"", turn + 1
        response_id = f"resp_{caller}_{turn}"
        await session.send(
            {
                "type": "conversation.item.input_audio_transcription.completed",
                "item_id": f"item_{caller}_{turn}",
                "content_index": 0,
                "transcript": f"word{caller}",
            },
            response_created(response_id),
            audio_delta(response_id, tone(caller)),
            {
                "type": "response.audio_transcript.done",
                "response_id": response_id,
                "transcript": f"answer to word{caller}",
            },
            response_done(response_id),
        )


async def converse(
    gateway: RunningGateway, number: int, opening: asyncio.Semaphore, all_open: asyncio.Barrier
) -> RawCaller:
    """One call of a few turns."""
    async with opening:
        socket = await gateway.http.ws_connect(f"{gateway.address}/ws/voice", max_msg_size=0)
        caller = RawCaller(socket)
        await caller.until("session_started")
    await all_open.wait()
    for _turn in range(TURNS):
        pcm = tone(number)
        for start in range(0, len(pcm), 960):
            await socket.send_bytes(pcm[start : start + 960])
        await caller.until("agent_transcript")
    await caller.send(type="end")
    assert await caller.until_closed() == 1000
    return caller


async def test_nobody_receives_anothers_speech_or_words() -> None:
    async with scripted_voice_live(echoes) as service:
        settings = service.settings(enable_proactive_greeting=False, max_calls=CALLS)
        async with running_gateway(settings) as gateway:
            opening, all_open = asyncio.Semaphore(AT_ONCE), asyncio.Barrier(CALLS)
            async with asyncio.timeout(120), asyncio.TaskGroup() as tasks:
                calls = [
                    tasks.create_task(converse(gateway, number, opening, all_open)) for number in range(CALLS)
                ]
    for number, task in enumerate(calls):
        caller = task.result()
        assert caller.audio == tone(number) * TURNS
        assert caller_of(caller.audio) == number
        said = str(caller.messages)
        assert set(re.findall(r"word(\d+)", said)) == {str(number)}
        assert set(re.findall(r"resp_(\d+)_", said)) == {str(number)}
        assert len(caller.of_type("user_transcript")) == TURNS
