"""Where turns start and end in recorded speech, as a client is told, on the session's audio clock."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from tests.emulator.wire import Event, connected, only
from tests.noise_data import noises
from tests.speech_data import Clip, human_clips
from voicelive_emulator.server import Endpoints

RATE_HZ = 24_000
FRAME_MS = 32
SHIFT_MS = 39 * FRAME_MS
CLIPS = [clip for clip in human_clips() if clip.name in {"goforward", "003", "005"}]
SEMANTIC = {
    "type": "azure_semantic_vad",
    "silence_duration_ms": 200,
    "create_response": False,
    "end_of_utterance_detection": {"model": "semantic_detection_v1", "timeout_ms": 1_500},
}


def quiet(milliseconds: int) -> bytes:
    return bytes(milliseconds * RATE_HZ // 1_000 * 2)


def server_vad(**fields: object) -> dict[str, Any]:
    return {"type": "server_vad", "create_response": False, **fields}


async def turns(port: int, detection: Mapping[str, Any], audio: bytes) -> list[tuple[int, int]]:
    """Send audio in uneven portions; return start and end of each turn in ms."""
    events: list[Event] = []
    async with connected(port) as client:
        await client.send("session.update", session={"turn_detection": dict(detection)})
        await client.until("session.updated")
        for start in range(0, len(audio), 1_111):
            await client.append(audio[start : start + 1_111])
        # An update is answered once all audio before it was heard.
        await client.send("session.update", session={})
        events = await client.until("session.updated")
    starts = [event["audio_start_ms"] for event in only(events, "input_audio_buffer.speech_started")]
    ends = [event["audio_end_ms"] for event in only(events, "input_audio_buffer.speech_stopped")]
    return list(zip(starts, ends, strict=True))


@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.name)
async def test_positions_move_with_the_audio(real_emulator: Endpoints, clip: Clip) -> None:
    spoken = clip.at(RATE_HZ).tobytes()
    (early,) = await turns(real_emulator.port, server_vad(), quiet(700) + spoken + quiet(1_500))
    (late,) = await turns(real_emulator.port, server_vad(), quiet(700 + SHIFT_MS) + spoken + quiet(1_500))
    assert late[0] - early[0] == pytest.approx(SHIFT_MS, abs=FRAME_MS)
    assert late[1] - early[1] == pytest.approx(SHIFT_MS, abs=FRAME_MS)


@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.name)
async def test_the_start_is_the_first_sound_less_the_padding(real_emulator: Endpoints, clip: Clip) -> None:
    spoken = clip.at(RATE_HZ).tobytes()
    starts = []
    for padding_ms in (100, 400):
        detection = server_vad(prefix_padding_ms=padding_ms)
        ((start_ms, _),) = await turns(real_emulator.port, detection, quiet(1_000) + spoken + quiet(1_500))
        starts.append(start_ms)
        assert start_ms + padding_ms == pytest.approx(1_000 + first_sound_ms(clip), abs=4 * FRAME_MS)
    assert starts[0] - starts[1] == 300


@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.name)
async def test_server_vad_waits_for_the_silence_it_was_told(real_emulator: Endpoints, clip: Clip) -> None:
    audio = quiet(500) + clip.at(RATE_HZ).tobytes() + quiet(2_000)
    ends = [
        (await turns(real_emulator.port, server_vad(silence_duration_ms=silence_ms), audio))[-1][1]
        for silence_ms in (500, 820, 1_140)
    ]
    assert np.diff(ends) == pytest.approx([320, 320], abs=FRAME_MS)


@pytest.mark.parametrize(("name", "share"), [("0880", 0.7), ("0920", 0.5), ("0930", 0.5)])
async def test_a_sentence_that_is_cut_waits_longer(real_emulator: Endpoints, name: str, share: float) -> None:
    clip = next(clip for clip in human_clips() if clip.name.endswith(name))
    spoken = clip.at(RATE_HZ)
    audio = quiet(500) + spoken[: int(len(spoken) * share)].tobytes() + quiet(3_000)
    without = {name: value for name, value in SEMANTIC.items() if "utterance" not in name}
    plain = (await turns(real_emulator.port, without, audio))[-1][1]
    patient = (await turns(real_emulator.port, SEMANTIC, audio))[-1][1]
    assert 600 - 200 - FRAME_MS <= patient - plain <= 1_500 - 200 + FRAME_MS


async def test_a_finished_sentence_waits_no_longer(real_emulator: Endpoints) -> None:
    clip = next(clip for clip in human_clips() if clip.name == "goforward")
    audio = quiet(500) + clip.at(RATE_HZ).tobytes() + quiet(2_000)
    without = {name: value for name, value in SEMANTIC.items() if "utterance" not in name}
    assert await turns(real_emulator.port, SEMANTIC, audio) == await turns(real_emulator.port, without, audio)


@pytest.mark.parametrize("name", [name for name in noises() if name != "silence"])
async def test_noise_is_no_turn(real_emulator: Endpoints, name: str) -> None:
    samples = np.repeat((noises()[name] * 32_767).astype("<i2"), 3)[::2]  # 16 kHz to 24 kHz, roughly
    assert await turns(real_emulator.port, SEMANTIC, samples.tobytes() + quiet(1_000)) == []


def first_sound_ms(clip: Clip) -> float:
    """Where the clip first reaches a twentieth of its loudest 10 ms."""
    window = clip.sample_rate_hz // 100
    frames = clip.samples[: len(clip.samples) // window * window].reshape(-1, window).astype(np.float64)
    level = np.sqrt(np.mean(np.square(frames), axis=1))
    return float(np.flatnonzero(level > level.max() / 20)[0]) * 10
