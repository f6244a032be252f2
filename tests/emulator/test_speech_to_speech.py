"""People talk with the emulator: recorded human speech in, real models, speech out."""

import numpy as np
import pytest
import soxr

from tests.emulator.wire import Event, WireClient, audio_of, connected, only
from tests.speech_data import human_clips, two_cities, word_error_rate
from voicelive_emulator.server import Endpoints
from voicelive_emulator.speech_models import SpeechModels

FRAME_BYTES = 960
NO_ANSWERS = {"type": "server_vad", "create_response": False}


async def play(client: WireClient, pcm: bytes) -> None:
    """Send audio in frames of 20 ms, as fast as they are taken."""
    for start in range(0, len(pcm), FRAME_BYTES):
        await client.append(pcm[start : start + FRAME_BYTES])


def transcripts(events: list[Event]) -> list[str]:
    completed = only(events, "conversation.item.input_audio_transcription.completed")
    return [event["transcript"] for event in completed]


async def test_a_reading_is_understood(real_emulator: Endpoints) -> None:
    clip = two_cities()
    async with connected(real_emulator.port) as client:
        await client.send("session.update", session={"turn_detection": NO_ANSWERS})
        await client.until("session.updated")
        await play(client, clip.at(24_000).tobytes() + bytes(48_000 * 2))
        # An update is answered once all audio before it was heard.
        await client.send("session.update", session={})
        events = await client.until("session.updated")
        while len(only(events, "input_audio_buffer.committed")) > len(transcripts(events)):
            events += await client.until("conversation.item.input_audio_transcription.completed")
    assert word_error_rate([clip.reference], [" ".join(transcripts(events))]) <= 0.10
    starts = [event["audio_start_ms"] for event in only(events, "input_audio_buffer.speech_started")]
    ends = [event["audio_end_ms"] for event in only(events, "input_audio_buffer.speech_stopped")]
    assert all(start < end for start, end in zip(starts, ends, strict=True))
    assert starts == sorted(starts)


@pytest.mark.parametrize("rate_hz", [16_000, 24_000])
async def test_a_command_is_understood_at_every_rate(real_emulator: Endpoints, rate_hz: int) -> None:
    clip = next(clip for clip in human_clips() if clip.name == "goforward")
    async with connected(real_emulator.port) as client:
        fields = {"turn_detection": NO_ANSWERS, "input_audio_sampling_rate": rate_hz}
        await client.send("session.update", session=fields)
        await client.until("session.updated")
        await play(client, clip.at(rate_hz).tobytes() + bytes(rate_hz * 4))
        events = await client.until("conversation.item.created")
    assert word_error_rate([clip.reference], transcripts(events)) == 0


async def test_the_answer_can_be_understood(real_emulator: Endpoints, real_models: SpeechModels) -> None:
    async with connected(real_emulator.port) as client:
        await client.say("How much does it cost?")
        await client.send("response.create")
        events = await client.until("response.done")
    transcript = only(events, "response.audio_transcript.done")[0]["transcript"]
    pcm = np.divide(np.frombuffer(audio_of(events), "<i2"), 32_768, dtype=np.float32)
    heard = real_models.recognizer.transcribe(soxr.resample(pcm, 24_000, 16_000))
    assert word_error_rate([transcript], [heard]) <= 0.15


async def test_a_caller_is_answered_and_may_interrupt(real_emulator: Endpoints) -> None:
    clip = next(clip for clip in human_clips() if clip.name == "goforward")
    caller = clip.at(24_000).tobytes()
    async with connected(real_emulator.port) as client:
        await client.expect("session.created")
        # Nobody reads so much aloud before the caller is heard again.
        sentences = (f"Sentence number {n} of a long story about nothing at all. " for n in range(1, 30))
        part = {"type": "text", "text": "".join(sentences)}
        story = {"type": "message", "role": "assistant", "content": [part]}
        await play(client, caller + bytes(48_000))
        answer = await client.until("response.done")
        await client.send("response.create", response={"pre_generated_assistant_message": story})
        await client.until("response.audio.delta")
        await play(client, caller)
        events = await client.until("response.done")
        late = await client.settle()
    assert transcripts(answer)
    assert audio_of(answer)
    response = events[-1]["response"]
    assert response["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert not [event for event in late if event.get("response_id") == response["id"]]


async def test_silence_and_noise_are_no_turns(real_emulator: Endpoints) -> None:
    noise = (np.random.default_rng(3).normal(0, 300, 24_000 * 5)).astype("<i2").tobytes()
    async with connected(real_emulator.port) as client:
        await client.expect("session.created")
        await play(client, bytes(48_000 * 3) + noise)
        # An update is answered once all audio before it was heard.
        await client.send("session.update", session={})
        await client.expect("session.updated")
