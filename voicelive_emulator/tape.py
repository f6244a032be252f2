"""Calls from tape: no model is loaded, so that one process can hold hundreds of calls.

The caller's turns are found by loudness and have canned words; the answer is real text with made-up
sound of the right length. Sizes and times are those of a recording of the live service (a cascade,
September 2026): 57 tokens of audio, which are 2.85 s, came in 7 deltas within 171 ms; the words 197 ms
after the turn, the first text 296 ms after `response.created`, the first audio 137 ms after that. One
recording has no spread; the one here is a guess.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from random import Random
from typing import Final

import numpy as np

from voicelive_emulator.agents import Agent, CallFunction, Request
from voicelive_emulator.audio import SYNTHESIS_RATE_HZ, OutputEncoder
from voicelive_emulator.pacing import Pacer
from voicelive_emulator.parts import Ears, Mouth
from voicelive_emulator.session_config import HearingOptions
from voicelive_emulator.synthesis import Word
from voicelive_emulator.tape_hearing import TapeHearing

DELTA_MS: Final = 400
WORD_MS: Final = 333
WORDS_S: Final = 0.197
FIRST_TEXT_S: Final = 0.296
FIRST_AUDIO_S: Final = 0.137
NEXT_AUDIO_S: Final = 0.171 / 6
SPREAD: Final = 0.25
"""Standard deviation of the logarithm of each time."""

_TAPE_S: Final = 20
_SYLLABLES_PER_S: Final = 4
_PITCH_HZ: Final = 120
_HARMONICS: Final = 12
_BYTES_PER_MS: Final = SYNTHESIS_RATE_HZ * 2 // 1_000
_OUTPUT_BYTES_PER_MS: Final = {
    "pcm16": 48,
    "pcm16_16000hz": 32,
    "pcm16_8000hz": 16,
    "g711_ulaw": 8,
    "g711_alaw": 8,
}


class TapeTimes:
    """How long the parts of a call take. Without `random` they take no time."""

    def __init__(self, random: Random | None) -> None:
        self._random = random

    def around(self, median_s: float) -> float:
        """A time around this one, in seconds."""
        if self._random is None:
            return 0.0
        return median_s * math.exp(self._random.gauss(0, SPREAD))


class Tape:
    """The parts of sessions whose calls come from tape."""

    def __init__(self, new_agent: Callable[[], Agent], times: TapeTimes) -> None:
        self._new_agent = new_agent
        self._times = times
        self._sound = _speech_like_sound()

    def hearing(self, options: HearingOptions) -> Ears:
        """Ears for one session."""
        return TapeHearing(options, lambda: self._times.around(WORDS_S))

    def speaker(self, audio_format: str, pacer: Pacer) -> Mouth:
        """A mouth for one response."""
        return TapeSpeaker(self._sound, self._times, audio_format, pacer)

    def new_agent(self) -> Agent:
        """An agent that takes its time."""
        return _SlowAgent(self._new_agent(), self._times)

    def foresight(self, agent: Agent) -> None:
        """Nothing is prepared: a tape's times are its own."""


class TapeSpeaker:
    """Plays the tape for as long as the words would take, in deltas of the recorded length."""

    def __init__(self, sound: bytes, times: TapeTimes, audio_format: str, pacer: Pacer) -> None:
        self.pacer = pacer
        self._sound = sound
        self._times = times
        self._encoder = OutputEncoder(audio_format)
        self._bytes_per_ms = _OUTPUT_BYTES_PER_MS[audio_format.replace("-", "_")]
        self._made_ms = 0
        self._played_ms = 0

    async def speak(self, clause: str) -> AsyncGenerator[tuple[Sequence[Word], bytes]]:
        """Yield the clause in pieces: the words that lie in the audio from here on, and audio to send."""
        waiting_ms = self._made_ms - self._played_ms
        words = clause.split()
        self._made_ms += WORD_MS * len(words)
        yield [Word(text, waiting_ms + n * WORD_MS, WORD_MS) for n, text in enumerate(words)], b""
        while self._made_ms - self._played_ms >= DELTA_MS:
            if wait_s := self._times.around(NEXT_AUDIO_S if self._played_ms else FIRST_AUDIO_S):
                await asyncio.sleep(wait_s)
            yield (), self._encoder.encode(self._play(DELTA_MS))

    def rest(self) -> bytes:
        """Return the end of the audio."""
        return self._encoder.encode(self._play(self._made_ms - self._played_ms), last=True)

    def chunks(self, audio: bytes) -> Iterator[tuple[bytes, float]]:
        """Yield pieces for one delta each, with their length in milliseconds."""
        size = DELTA_MS * self._bytes_per_ms
        for start in range(0, len(audio), size):
            chunk = audio[start : start + size]
            yield chunk, len(chunk) / self._bytes_per_ms

    def _play(self, duration_ms: int) -> bytes:
        start = self._played_ms * _BYTES_PER_MS % (len(self._sound) // 2)
        self._played_ms += duration_ms
        return self._sound[start : start + duration_ms * _BYTES_PER_MS]


class _SlowAgent:
    """Another agent whose first words take as long as a model's."""

    def __init__(self, agent: Agent, times: TapeTimes) -> None:
        self._agent = agent
        self._times = times

    async def reply(self, request: Request) -> AsyncGenerator[str | CallFunction]:
        if wait_s := self._times.around(FIRST_TEXT_S):
            await asyncio.sleep(wait_s)
        async with aclosing(self._agent.reply(request)) as pieces:
            async for piece in pieces:
                yield piece


def _speech_like_sound() -> bytes:
    """Syllables of a humming voice, PCM16; twice as long as any stretch that is taken from it."""
    time = np.arange(_TAPE_S * SYNTHESIS_RATE_HZ) / SYNTHESIS_RATE_HZ
    pitch = 2 * np.pi * _PITCH_HZ * time + 2 * np.sin(2 * np.pi * 0.7 * time)
    voice = sum(np.sin(n * pitch) / n for n in range(1, _HARMONICS))
    loudness = np.clip(np.sin(2 * np.pi * _SYLLABLES_PER_S * time) + 0.4, 0, 1)
    return np.asarray(voice * loudness * 6_000).astype("<i2").tobytes()
