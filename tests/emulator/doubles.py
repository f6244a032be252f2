"""Models that need no model: fast, exact, and the same every time.

Speech is whatever is loud, words are told by length, and each spoken word is a steady tone. The
protocol is tested with these; what the real models make of real speech has tests of its own.
"""

import threading
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field

import numpy as np

from voicelive_emulator.agents import Agent, CallFunction, Message, Request
from voicelive_emulator.audio import Samples
from voicelive_emulator.speech_models import SpeechModels
from voicelive_emulator.synthesis import Speech, Word

WORD_MS = 200
WORD_BYTES = WORD_MS * 48
FRAME_SAMPLES = 512


class LoudnessStream:
    """Says that loud frames are speech."""

    def __init__(self) -> None:
        self._rest = np.zeros(0, np.float32)

    def probabilities(self, samples: Samples) -> list[float]:
        pending = np.concatenate((self._rest, samples))
        count = len(pending) // FRAME_SAMPLES
        self._rest = pending[count * FRAME_SAMPLES :]
        frames = pending[: count * FRAME_SAMPLES].reshape(count, FRAME_SAMPLES)
        return [0.95 if np.abs(frame).max() > 0.1 else 0.02 for frame in frames]


class LoudnessModel:
    def new_stream(self) -> LoudnessStream:
        return LoudnessStream()


@dataclass
class FixedVerdict:
    """Says of every turn that it is as complete as it was told."""

    complete: float = 1.0
    asked: int = 0

    def probability(self, samples: Samples) -> float:
        self.asked += 1
        return self.complete


@dataclass
class LoudSeconds:
    """Recognises how long the loud part lasted, or `text`; silence has no words. `error` makes it fail."""

    error: Exception | None = None
    text: str | None = None
    heard: list[Samples] = field(default_factory=list)

    def transcribe(self, samples: Samples) -> str:
        if self.error is not None:
            raise self.error
        self.heard.append(samples)
        loud = np.flatnonzero(np.abs(samples) > 0.1)
        if not len(loud):
            return ""
        return self.text or f"I spoke for {round((loud[-1] - loud[0]) / 16_000, 1)} seconds."


class Tones:
    """Speaks each word as 200 ms of tone. `hold` makes every clause after the first wait for `go_on`."""

    def __init__(self) -> None:
        self.hold = False
        self.go_on = threading.Event()
        self.spoken: list[str] = []

    def stream(self, clause: str) -> Iterator[Speech]:
        if self.hold and self.spoken:
            self.go_on.wait(timeout=10)
        self.spoken.append(clause)
        words = clause.split()
        samples = np.sin(np.arange(len(words) * WORD_MS * 24) * 0.05) * 8_000
        placed = (Word(word, index * WORD_MS, WORD_MS) for index, word in enumerate(words))
        pcm = samples.astype("<i2").tobytes()
        yield Speech(pcm[:WORD_BYTES], tuple(placed))
        yield Speech(pcm[WORD_BYTES:], ())


class EchoAgent:
    """Repeats the last thing that it was told. `error` makes it fail."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    async def reply(self, request: Request) -> AsyncGenerator[str | CallFunction]:
        if self._error is not None:
            raise self._error
        spoken = (entry for entry in reversed(request.history) if isinstance(entry, Message))
        said = next((message.text for message in spoken if message.role != "assistant"), "nothing")
        yield f"You said: {said} "
        yield "Is there anything else that I can do for you today?"


@dataclass
class Doubles:
    """One double of each model."""

    verdict: FixedVerdict = field(default_factory=FixedVerdict)
    recognizer: LoudSeconds = field(default_factory=LoudSeconds)
    synthesizer: Tones = field(default_factory=Tones)
    agent_error: Exception | None = None
    agent: Agent | None = None
    """Answers instead of an echo."""

    def models(self) -> SpeechModels:
        return SpeechModels(
            voice_activity=LoudnessModel(),
            end_of_utterance=self.verdict,
            recognizer=self.recognizer,
            synthesizer=self.synthesizer,
            new_agent=lambda: self.agent or EchoAgent(error=self.agent_error),
        )


def speech(milliseconds: int, sample_rate_hz: int = 24_000) -> bytes:
    """Return a loud tone as PCM16."""
    time = np.arange(milliseconds * sample_rate_hz // 1_000) / sample_rate_hz
    return (np.sin(time * 2_000) * 20_000).astype("<i2").tobytes()


def silence(milliseconds: int, sample_rate_hz: int = 24_000) -> bytes:
    """Return silence as PCM16."""
    return bytes(milliseconds * sample_rate_hz // 1_000 * 2)
