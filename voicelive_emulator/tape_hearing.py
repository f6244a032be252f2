"""Ears without models: turns are found by loudness, and the words of a turn are canned."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from voicelive_emulator.audio import G711_RATE_HZ, decode_alaw, decode_ulaw
from voicelive_emulator.session_config import HearingOptions
from voicelive_emulator.turn_detection import FRAME_MS, TurnDetector, TurnEvent

WORDS: Final = (
    "Yes, sure.",
    "There are three of us.",
    "Mostly movies.",
    "About fifty dollars.",
    "How long is the contract?",
    "Yes, please.",
    "My name is Ann Miller.",
    "Nine oh two one oh.",
    "Yes, that's right.",
    "What does it cost?",
    "How fast is it?",
    "What is included?",
)
"""What callers say, turn by turn; then from the beginning."""

_LOUD: Final = 300
"""Mean amplitude of 16 bit samples from which a frame is speech: about -40 dB."""
_EACH: Final = 4
"""Of so many samples one is looked at: loudness needs no more."""
_SPEECH, _SILENCE = 0.95, 0.02


class TapeHearing:
    """Follows the input audio of one session. For one task at a time."""

    def __init__(self, options: HearingOptions, words_take_s: Callable[[], float]) -> None:
        self._words_take_s = words_take_s
        self._options = options
        self._frames = _Frames(options)
        self._heard_before_ms = 0
        self._detector = TurnDetector(options.turns) if options.turns is not None else None
        self._speech_heard = False
        self._turns = 0

    @property
    def heard_ms(self) -> int:
        """How much audio has come so far."""
        return self._heard_before_ms + self._frames.taken_ms

    @property
    def words_so_far(self) -> "asyncio.Future[str] | None":
        """Nothing is known before a turn has ended."""
        return None

    @property
    def stops_in_s(self) -> float:
        """Nothing is known before a turn has ended."""
        return 0.0

    def configure(self, options: HearingOptions) -> None:
        """Listen in another way from here on. A turn that is under way is forgotten if turns change."""
        before, self._options = self._options, options
        formats = (options.audio_format, options.sampling_rate_hz, options.channels)
        if formats != (before.audio_format, before.sampling_rate_hz, before.channels):
            self._heard_before_ms = self.heard_ms
            self._frames = _Frames(options)
        if options.turns != before.turns:
            self.forget()

    def forget(self) -> None:
        """Throw away what was heard since the last turn."""
        self._speech_heard = False
        turns = self._options.turns
        self._detector = TurnDetector(turns, self.heard_ms) if turns is not None else None

    async def hear(self, audio: bytes) -> AsyncGenerator[TurnEvent]:
        """Take audio in the input format; yield what it means for the turn, as it is found."""
        for is_loud in self._frames.loud(audio):
            self._speech_heard = self._speech_heard or is_loud
            if self._detector is not None:
                for event in self._detector.receive(_SPEECH if is_loud else _SILENCE):
                    yield event

    def recognize_turn(self) -> "asyncio.Future[str]":
        """Return the words of the turn that has just ended, or of all that is buffered when none has."""
        words = WORDS[self._turns % len(WORDS)] if self._speech_heard else ""
        self._turns += self._speech_heard
        self._speech_heard = False
        loop = asyncio.get_running_loop()
        future: asyncio.Future[str] = loop.create_future()
        loop.call_later(self._words_take_s(), _resolve, future, words)
        return future


class _Frames:
    """Cuts input audio into frames of 32 ms; keeps what is not a whole one."""

    def __init__(self, options: HearingOptions) -> None:
        self._expand = _EXPAND[options.audio_format]
        is_pcm = options.audio_format == "pcm16"
        rate_hz = options.sampling_rate_hz if is_pcm else G711_RATE_HZ
        self._shape = (rate_hz * FRAME_MS // 1_000, options.channels)
        self._size = self._shape[0] * options.channels * (2 if is_pcm else 1)
        self._rest = b""
        self._taken = 0

    @property
    def taken_ms(self) -> int:
        return self._taken * FRAME_MS // self._size

    def loud(self, audio: bytes) -> list[bool]:
        """Say of each frame that is complete now whether it is loud; the first channel counts."""
        self._taken += len(audio)
        audio = self._rest + audio
        whole = len(audio) - len(audio) % self._size
        self._rest = audio[whole:]
        samples = self._expand(audio[:whole]).reshape(-1, *self._shape)[:, ::_EACH, 0]
        amplitude = np.add.reduce(np.abs(samples.astype(np.int32)), axis=1)
        loud: list[bool] = (amplitude >= _LOUD * samples.shape[1]).tolist()
        return loud


def _pcm16(audio: bytes) -> NDArray[np.int16]:
    return np.frombuffer(audio, "<i2")


_EXPAND: Final = {"pcm16": _pcm16, "g711_ulaw": decode_ulaw, "g711_alaw": decode_alaw}


def _resolve(words: "asyncio.Future[str]", text: str) -> None:
    if not words.done():
        words.set_result(text)
