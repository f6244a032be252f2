"""The ears of one session: input audio becomes turns, and turns become words.

Recognition begins while the caller may still go on: at each pause in the turn the words so far are
recognised, and thrown away when the caller resumes. So the words are ready when the turn ends. Whether
the turn is complete is asked at the same time, and waited for only when the turn could end.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

import numpy as np

from voicelive_emulator.audio import MODEL_RATE_HZ, InputDecoder, Samples
from voicelive_emulator.completeness import completeness
from voicelive_emulator.session_config import HearingOptions
from voicelive_emulator.speech_models import FindsVoice, SpeechModels
from voicelive_emulator.turn_detection import (
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
    SpeechStopped,
    TurnDetector,
    TurnEvent,
)
from voicelive_emulator.voice_activity import FRAME_SAMPLES
from voicelive_emulator.workers import Workers

_SAMPLES_PER_MS: Final = MODEL_RATE_HZ // 1_000
_STEP_BYTES: Final = 48_000
"""What is decoded in one go: at most a second or so, so that sessions take turns on the thread."""
_NO_SAMPLES: Final[Samples] = np.zeros(0, np.float32)
_LONGEST_TURN_MS: Final = 5 * 60_000
"""Of a longer turn the end is kept."""
_LONG_ENOUGH_MS: Final = 4_000
"""A stretch of a turn up to a pause that is recognised for good: the rest is recognised by itself."""
_KEPT_IN_SILENCE_MS: Final = 1_000
"""Kept beyond the padding and the shortest speech, for the delay of the detector."""


class Hearing:
    """Follows the input audio of one session. For one task at a time."""

    def __init__(self, models: SpeechModels, workers: Workers, options: HearingOptions) -> None:
        self._models = models
        self._workers = workers
        self._voice: FindsVoice = models.voice_activity.new_stream()
        self._samples = _SampleBuffer()
        self._unasked = _NO_SAMPLES
        self._options = options
        self._decoder = _decoder(options)
        self._detector = TurnDetector(options.turns) if options.turns is not None else None
        self._turn_start_ms: int | None = None
        self._turn_end_ms: int | None = None
        self._words: asyncio.Future[str] | None = None
        self._completeness: asyncio.Future[float] | None = None
        self._known = _Known()
        self._paused_ms = 0

    @property
    def heard_ms(self) -> int:
        """How much audio has come so far."""
        return self._samples.end_ms

    @property
    def words_so_far(self) -> "asyncio.Future[str] | None":
        """The words up to the current pause while it lasts; shared, so not to be cancelled."""
        return self._words

    @property
    def stops_in_s(self) -> float:
        """How long the turn lasts at least if the caller says no more."""
        if self._detector is None:
            return 0.0
        return (self._detector.earliest_stop_ms - self._detector.position_ms) / 1_000

    def configure(self, options: HearingOptions) -> None:
        """Listen in another way from here on. A turn that is under way is forgotten if turns change."""
        before, self._options = self._options, options
        formats = (options.audio_format, options.sampling_rate_hz, options.channels)
        if formats != (before.audio_format, before.sampling_rate_hz, before.channels):
            self._decoder = _decoder(options)
        if options.turns != before.turns:
            self._restart()

    def forget(self) -> None:
        """Throw away what was heard since the last turn."""
        self._samples.drop_before(self._samples.end_ms)
        self._restart()

    async def hear(self, audio: bytes) -> AsyncGenerator[TurnEvent]:
        """Take audio in the input format; yield what it means for the turn, as it is found."""
        for start in range(0, len(audio), _STEP_BYTES):
            samples = self._decoder.decode(audio[start : start + _STEP_BYTES])
            self._samples.append(samples)
            for probability in await self._probabilities(samples):
                if self._detector is None:
                    break
                for event in self._detector.receive(probability):
                    self._follow(event)
                    yield event
                for event in await self._verdict():
                    self._follow(event)
                    yield event
            self._drop_old()

    def recognize_turn(self) -> "asyncio.Future[str]":
        """Return the words of the turn that has just ended, or of all that is buffered when none has."""
        if self._turn_end_ms is None:
            self._stop_speculating()
        words, self._words = self._words, None
        if words is None:
            if self._turn_start_ms is None:
                self._known = _Known("", self._samples.start_ms)
            end_ms = self._samples.end_ms if self._turn_end_ms is None else self._turn_end_ms
            words = self._recognize(end_ms, asyncio.get_running_loop().time())
        if self._turn_end_ms is None:
            self.forget()
        self._turn_start_ms = self._turn_end_ms = None
        return words

    async def _probabilities(self, samples: Samples) -> list[float]:
        """Ask the model, once a whole frame is there: going to its thread costs more than its work."""
        if self._detector is None:
            return []
        self._unasked = np.concatenate((self._unasked, samples))
        if len(self._unasked) < FRAME_SAMPLES:
            return []
        asked, self._unasked = self._unasked, _NO_SAMPLES
        return await self._workers.hear(self._voice.probabilities, asked)

    def _follow(self, event: TurnEvent) -> None:
        match event:
            case SpeechStarted(audio_start_ms=start_ms):
                self._turn_start_ms, self._turn_end_ms = start_ms, None
                self._known = _Known("", start_ms)
            case SpeechPaused(audio_ms=position_ms):
                due = asyncio.get_running_loop().time() + self.stops_in_s
                self._paused_ms = position_ms
                self._words = self._recognize(position_ms, due)
                self._completeness = self._judge(position_ms, due)
            case SpeechResumed():
                self._keep_words()
                self._stop_speculating()
            case SpeechStopped(audio_end_ms=end_ms):
                self._turn_end_ms = end_ms

    def _judge(self, position_ms: int, due: float) -> "asyncio.Future[float] | None":
        """Ask how likely the turn is complete, where the session wants to know."""
        turns = self._options.turns
        if turns is None or turns.end_of_utterance_timeout_ms is None:
            return None
        samples = self._samples.between(self._turn_start_ms or 0, position_ms)
        return self._workers.run(due, self._models.end_of_utterance.probability, samples)

    async def _verdict(self) -> list[TurnEvent]:
        """Tell the detector whether the turn is complete, at the moment when that decides something.

        Neither sooner nor later, so that a turn ends at the same place however fast the models are.
        """
        detector, asked = self._detector, self._completeness
        if asked is None or detector is None or not detector.awaits_verdict:
            return []
        self._completeness = None
        text = await self._text_so_far()
        verdict = completeness(await asked, self._options.end_of_utterance_threshold, text)
        return detector.receive_end_of_utterance(verdict)

    async def _text_so_far(self) -> str:
        try:
            return "" if self._words is None else await asyncio.shield(self._words)
        except Exception:  # noqa: BLE001 (who takes the words is told)
            return ""

    def _recognize(self, end_ms: int, due: float) -> "asyncio.Future[str]":
        """Find the words of the turn up to `end_ms`."""
        known = self._known
        samples = self._samples.between(known.end_ms, end_ms)
        transcribe = self._models.recognizer.transcribe
        return self._workers.run(due, lambda: f"{known.text} {transcribe(samples)}".strip())

    def _keep_words(self) -> None:
        """Keep the words up to a pause after which the caller goes on, if they are there and many."""
        words = self._words
        if words is None or not words.done() or words.cancelled() or words.exception() is not None:
            return
        if self._paused_ms - self._known.end_ms >= _LONG_ENOUGH_MS:
            self._known = _Known(words.result(), self._paused_ms)

    def _stop_speculating(self) -> None:
        for guess in (self._words, self._completeness):
            if guess is not None:
                guess.cancel()
        self._words = self._completeness = None

    def _restart(self) -> None:
        self._stop_speculating()
        self._turn_start_ms = self._turn_end_ms = None
        self._unasked = _NO_SAMPLES
        position_ms = self._samples.end_ms
        turns = self._options.turns
        self._detector = TurnDetector(turns, position_ms) if turns is not None else None

    def _drop_old(self) -> None:
        turns = self._options.turns
        kept_ms = _LONGEST_TURN_MS
        if turns is not None and self._turn_start_ms is None:
            kept_ms = turns.prefix_padding_ms + turns.speech_duration_ms + _KEPT_IN_SILENCE_MS
        self._samples.drop_before(self._samples.end_ms - kept_ms)


@dataclass(frozen=True, slots=True)
class _Known:
    """The words of the current turn up to a pause in it."""

    text: str = ""
    end_ms: int = 0


class _SampleBuffer:
    """The last samples of a session, by their position on its audio clock."""

    def __init__(self) -> None:
        self._chunks: deque[Samples] = deque()
        self._start = 0
        self._end = 0

    @property
    def start_ms(self) -> int:
        return self._start // _SAMPLES_PER_MS

    @property
    def end_ms(self) -> int:
        return self._end // _SAMPLES_PER_MS

    def append(self, samples: Samples) -> None:
        if len(samples):
            self._chunks.append(samples)
            self._end += len(samples)

    def between(self, start_ms: int, end_ms: int) -> Samples:
        """Return what is left of a stretch; nothing where it is gone."""
        if not self._chunks:
            return _NO_SAMPLES
        first = max(start_ms * _SAMPLES_PER_MS - self._start, 0)
        last = max(end_ms * _SAMPLES_PER_MS - self._start, 0)
        return np.concatenate(self._chunks)[first:last]

    def drop_before(self, position_ms: int) -> None:
        """Forget whole chunks that lie before a position."""
        position = position_ms * _SAMPLES_PER_MS
        while self._chunks and self._start + len(self._chunks[0]) <= position:
            self._start += len(self._chunks.popleft())


def _decoder(options: HearingOptions) -> InputDecoder:
    return InputDecoder(options.audio_format, options.sampling_rate_hz, options.channels)
