"""Calls from tape: the same events with real sizes, without any model."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from random import Random
from statistics import median

import pytest

from tests.emulator.doubles import silence, speech
from tests.emulator.wire import audio_of, connected, only, types
from voicelive_emulator.agent_choice import AgentOptions, chosen_agents
from voicelive_emulator.server import Endpoints, serving
from voicelive_emulator.settings import Settings
from voicelive_emulator.tape import DELTA_MS, FIRST_TEXT_S, WORD_MS, Tape, TapeTimes
from voicelive_emulator.tape_hearing import WORDS

CHUNK = 4_800


@pytest.fixture
async def tape() -> AsyncIterator[Endpoints]:
    """An emulator that plays tapes without the waits of the recording."""
    async with (
        chosen_agents(AgentOptions()) as agents,
        serving(Settings(port=0), Tape(agents.new_agent, TapeTimes(None))) as endpoints,
    ):
        yield endpoints


@pytest.mark.parametrize(
    ("session", "seconds_of_audio"),
    [
        ({}, lambda milliseconds: speech(milliseconds)),
        ({"input_audio_sampling_rate": 16_000}, lambda milliseconds: speech(milliseconds, 16_000)),
        ({"input_audio_format": "g711_ulaw"}, lambda milliseconds: b"\x10" * (8 * milliseconds)),
    ],
)
async def test_a_spoken_turn(tape: Endpoints, session: dict[str, object], seconds_of_audio: object) -> None:
    assert callable(seconds_of_audio)
    quiet = b"\xff" if "input_audio_format" in session else b"\x00"
    loud = seconds_of_audio(1_200)
    async with connected(tape.port) as client:
        await client.send("session.update", session=session)
        await client.until("session.updated")
        await client.append(quiet * (len(loud) // 2))
        await client.append(loud)
        await client.append(quiet * len(loud))
        events = await client.until("response.done")
    assert types(events)[:3] == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
    ]
    heard = only(events, "conversation.item.input_audio_transcription.completed")
    assert heard[0]["transcript"] == WORDS[0]
    assert only(events, "response.audio_transcript.done")[0]["transcript"]


async def test_sound_has_the_length_of_its_words_in_deltas_of_the_recorded_length(tape: Endpoints) -> None:
    async with connected(tape.port) as client:
        await client.send(
            "session.update",
            session={"output_audio_timestamp_types": ["word"]},
        )
        await client.until("session.updated")
        await client.say("How much is it?")
        await client.send("response.create")
        events = await client.until("response.done")
    transcript = only(events, "response.audio_transcript.done")[0]["transcript"]
    words = only(events, "response.audio_timestamp.delta")
    assert [word["text"] for word in words] == transcript.split()
    assert [word["audio_offset_ms"] for word in words] == [n * WORD_MS for n in range(len(words))]
    assert len(audio_of(events)) == len(words) * WORD_MS * 48
    assert len(only(events, "response.audio.delta")) == -(-len(words) * WORD_MS // DELTA_MS)


async def test_silence_is_no_turn_and_noise_has_no_words_by_hand(tape: Endpoints) -> None:
    async with connected(tape.port) as client:
        await client.expect("session.created")
        await client.append(silence(5_000))
        await client.send("input_audio_buffer.commit")
        events = await client.until("conversation.item.created")
    heard = only(events, "conversation.item.input_audio_transcription.completed")
    assert [event["transcript"] for event in heard] == [""]


async def test_many_calls_at_once_all_get_their_answer(tape: Endpoints) -> None:
    async def call() -> None:
        async with connected(tape.port) as client:
            await client.expect("session.created")
            audio = speech(1_000) + silence(1_000)
            for start in range(0, len(audio), CHUNK):
                await client.append(audio[start : start + CHUNK])
            assert audio_of(await client.until("response.done"))

    async with asyncio.TaskGroup() as calls:
        for _ in range(60):
            calls.create_task(call())


def test_times_spread_around_the_recorded_ones() -> None:
    times = TapeTimes(Random(1))
    drawn = [times.around(FIRST_TEXT_S) for _ in range(2_000)]
    assert abs(median(drawn) - FIRST_TEXT_S) < 0.02
    assert min(drawn) > 0.08
    assert len(set(drawn)) > 1_000
    assert TapeTimes(None).around(FIRST_TEXT_S) == 0


def test_no_model_is_loaded() -> None:
    program = """
import sys
import voicelive_emulator.model_files as files
def refuse(*_): raise AssertionError("a model file was looked for")
files.installed_file = refuse
from voicelive_emulator.__main__ import app
app(["--tape", "--port", "0", "--until-stdin-ends"])
"""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        ready = process.stdout.readline()
        _, errors = process.communicate(timeout=60)
    assert '"ready"' in ready, errors
    assert process.returncode == 0, errors
