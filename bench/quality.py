"""What the emulator understands, and what it takes for speech: `python -m bench.quality`.

Word error rates on recordings of people and on speech by espeak-ng; turns and words that come of
sounds which are no speech; how long the emulator waits after turns that are complete and that are not.
All of it through the ears of a session, as fast as the machine is: time is the audio's own.
"""

import asyncio
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import soxr

from bench.callers import last_sound_s, synthetic_clips
from tests.noise_data import noises
from tests.speech_data import Clip, human_clips, word_error_rate
from voicelive_emulator.hearing import Hearing
from voicelive_emulator.session_config import HearingOptions
from voicelive_emulator.speech_models import SpeechModels, load_speech_models
from voicelive_emulator.turn_detection import SpeechPaused, SpeechStarted, SpeechStopped, TurnOptions
from voicelive_emulator.workers import Workers

_RATE_HZ: Final = 24_000
_SPEEDS: Final = (130, 150, 180)
_NOISE_LEVELS: Final = (0.3, 1.0, 3.0)
_SILENCE: Final = bytes(_RATE_HZ * 2)
_TURNS: Final = {
    "server_vad": TurnOptions(0.5, 400, 500, 200, None),
    "azure_semantic_vad": TurnOptions(0.5, 420, 500, 80, None),
}
_END_OF_UTTERANCE: Final = TurnOptions(0.5, 420, 200, 80, 1_000)
_UNFINISHED: Final = (
    "My number is five five five",
    "My number is five five five, two one",
    "It is spelled T, H, O, M",
    "My postal code is nine eight one",
    "I would like to know if",
    "We have about four or",
    "I pay fifty dollars and",
    "Could you please tell me the",
    "My name is",
    "I was thinking that maybe we",
)


@dataclass(slots=True)
class Heard:
    """What came of a stretch of audio."""

    starts_ms: list[int] = field(default_factory=list)
    ends_ms: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)


def main() -> None:
    """Measure and print."""
    asyncio.run(_measure(load_speech_models()))


async def _measure(models: SpeechModels) -> None:
    workers = Workers()
    try:
        people, machines = list(human_clips()), [clip for speed in _SPEEDS for clip in synthetic_clips(speed)]
        await _words(models, workers, "people", people)
        await _words(models, workers, "people, without the longest", people[:-1])
        await _words(models, workers, "espeak-ng", machines)
        for name, turns in _TURNS.items():
            await _noise(models, workers, name, turns)
        finished = [clip for clip in (*people[:-2], *synthetic_clips()) if not _is_list(clip)]
        await _waits(models, workers, "after finished turns", finished)
        await _waits(models, workers, "after unfinished turns", synthetic_clips(lines=_UNFINISHED))
    finally:
        await workers.close()


async def _words(models: SpeechModels, workers: Workers, name: str, clips: Sequence[Clip]) -> None:
    recognized = [models.recognizer.transcribe(clip.model_samples()) for clip in clips]
    turns = [
        " ".join((await _hear(models, workers, _TURNS["server_vad"], clip.at(_RATE_HZ).tobytes())).texts)
        for clip in clips
    ]
    references = [clip.reference for clip in clips]
    words = sum(len(reference.split()) for reference in references)
    whole, by_turns = (word_error_rate(references, texts) for texts in (recognized, turns))
    _line(
        f"word error rate, {name}",
        f"{whole:.1%} of {words} words in {len(clips)} clips; {by_turns:.1%} when heard turn by turn",
    )


async def _noise(models: SpeechModels, workers: Workers, name: str, turns: TurnOptions) -> None:
    seconds = sounds = made_turns = made_words = 0
    guilty: list[str] = []
    for sound, samples in noises().items():
        for level in _NOISE_LEVELS:
            loud = np.clip(soxr.resample(samples, 16_000, _RATE_HZ) * level, -1, 1)
            heard = await _hear(models, workers, turns, (loud * 32_767).astype("<i2").tobytes())
            sounds += 1
            seconds += len(loud) // _RATE_HZ
            made_turns += len(heard.starts_ms)
            made_words += sum(len(text.split()) for text in heard.texts)
            guilty += [f"{sound} x{level}"] * len(heard.starts_ms)
    about = f" ({', '.join(guilty)})" if guilty else ""
    _line(
        f"noise, {name}",
        f"{made_turns} turns and {made_words} words from {sounds} sounds, {seconds} s{about}",
    )


async def _waits(models: SpeechModels, workers: Workers, name: str, clips: Iterable[Clip]) -> None:
    waits = []
    for clip in clips:
        samples = clip.at(_RATE_HZ)
        heard = await _hear(models, workers, _END_OF_UTTERANCE, samples.tobytes())
        if heard.ends_ms:
            waits.append(heard.ends_ms[-1] - 1_000 - last_sound_s(samples, _RATE_HZ) * 1_000)
    longer = sum(wait > 600 for wait in waits)
    _line(
        f"wait {name}, 200 ms + end of utterance",
        f"p50 {np.median(waits):.0f} ms, shortest {min(waits):.0f} ms; {longer} of {len(waits)} wait longer",
    )


async def _hear(models: SpeechModels, workers: Workers, turns: TurnOptions, pcm: bytes) -> Heard:
    """Hear audio between one second of silence and two."""
    hearing = Hearing(models, workers, HearingOptions("pcm16", _RATE_HZ, 1, turns, 0.5))
    heard = Heard()
    async for event in hearing.hear(_SILENCE + pcm + 2 * _SILENCE):
        match event:
            case SpeechStarted(audio_start_ms=position_ms):
                heard.starts_ms.append(position_ms)
            case SpeechStopped(audio_end_ms=position_ms):
                heard.ends_ms.append(position_ms)
                heard.texts.append(await hearing.recognize_turn())
            case SpeechPaused():
                # In real time the words are there before the caller goes on.
                if (words := hearing.words_so_far) is not None:
                    await asyncio.wait([words])
            case _:
                pass
    return heard


def _is_list(clip: Clip) -> bool:
    """Tell cards and digits, which sound as if more could follow."""
    return not clip.name.startswith(("sense", "espeak", "goforward"))


def _line(name: str, figure: str) -> None:
    sys.stdout.write(f"{name:56} {figure}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
