"""When the caller's turn starts, pauses and ends, from the probability of speech in each frame.

Pure: no model, no clock, no await. Time is the session's audio clock, which each frame moves on by
32 ms, so the same audio always gives the same events.
"""

from dataclasses import dataclass
from enum import Enum, auto

FRAME_MS = 32

_HYSTERESIS = 0.15
_LOWEST_THRESHOLD = 0.01
_LONGEST_PAUSE_MS = 192


@dataclass(frozen=True, slots=True)
class TurnOptions:
    """The options of Voice Live's `turn_detection` that decide when a turn starts and ends.

    `threshold` is the probability from which a frame counts as speech. `speech_duration_ms` of speech
    start a turn; `silence_duration_ms` of silence end it. `end_of_utterance_timeout_ms` is the
    `timeout_ms` of `end_of_utterance_detection`, None without it: the silence after which a turn that
    is not complete ends all the same; two fifths of it are enough for one that may be complete.
    """

    threshold: float
    prefix_padding_ms: int
    silence_duration_ms: int
    speech_duration_ms: int
    end_of_utterance_timeout_ms: int | None


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The caller speaks. `audio_start_ms` is the first voiced sample less the prefix padding."""

    audio_start_ms: int


@dataclass(frozen=True, slots=True)
class SpeechPaused:
    """The caller may be done: recognise what was said up to `audio_ms`, and ask if it is complete."""

    audio_ms: int


@dataclass(frozen=True, slots=True)
class SpeechResumed:
    """The caller was not done: what was found out since the pause is void."""


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """The turn is over. `audio_end_ms` is where the turn's audio ends, its last silence included."""

    audio_end_ms: int


TurnEvent = SpeechStarted | SpeechPaused | SpeechResumed | SpeechStopped


class Completeness(Enum):
    """Whether a turn that pauses is over: it is, it may be, or more has to follow."""

    COMPLETE = auto()
    PERHAPS = auto()
    INCOMPLETE = auto()


@dataclass(frozen=True, slots=True)
class _Quiet:
    """Nobody speaks; `voiced_since_ms` is where speech that is still too short began."""

    voiced_since_ms: int | None = None
    voiced_ms: int = 0


@dataclass(frozen=True, slots=True)
class _Speaking:
    """The turn goes on; `silent_since_ms` is where a silence that is still short began."""

    silent_since_ms: int | None = None


@dataclass(frozen=True, slots=True)
class _Paused:
    """The turn may be over."""

    silent_since_ms: int
    verdict: Completeness | None
    """None until it is known."""


class TurnDetector:
    """Follows one session's audio and says when turns start, pause, resume and stop.

    The events of a turn are: started, then pauses that each end in resumed, then a last pause and
    stopped. A new detector takes over from an old one with `started_at_ms`, the position reached.
    """

    def __init__(self, options: TurnOptions, started_at_ms: int = 0) -> None:
        self._options = options
        self._silence_threshold = max(options.threshold - _HYSTERESIS, _LOWEST_THRESHOLD)
        # Recognition has to fit between the pause and the earliest end of the turn.
        self._pause_ms = min(options.silence_duration_ms // 3, _LONGEST_PAUSE_MS)
        self._position_ms = started_at_ms
        self._earliest_start_ms = started_at_ms
        self._state: _Quiet | _Speaking | _Paused = _Quiet()

    @property
    def position_ms(self) -> int:
        """The end of the last frame on the session's audio clock."""
        return self._position_ms

    @property
    def earliest_stop_ms(self) -> int:
        """Where a turn that pauses stops at the earliest; without a pause, the position."""
        match self._state:
            case _Paused(silent_since_ms=since):
                return max(since + self._options.silence_duration_ms, self._position_ms)
            case _:
                return self._position_ms

    @property
    def awaits_verdict(self) -> bool:
        """Whether the turn would be over now if it was known to sound complete."""
        match self._state:
            case _Paused(silent_since_ms=since, verdict=None):
                return self._position_ms - since >= self._options.silence_duration_ms
            case _:
                return False

    def receive(self, probability: float) -> list[TurnEvent]:
        """Take the probability of speech in the next 32 ms and return what it means for the turn."""
        frame_start_ms = self._position_ms
        self._position_ms += FRAME_MS
        match self._state:
            case _Quiet() as quiet:
                return self._receive_in_quiet(quiet, probability, frame_start_ms)
            case _Speaking() as speaking:
                return self._receive_in_speech(speaking, probability, frame_start_ms)
            case _Paused() as paused:
                return self._receive_in_pause(paused, probability)

    def receive_end_of_utterance(self, verdict: Completeness) -> list[TurnEvent]:
        """Take the verdict on the current pause: is the turn complete?

        Only a detector with `end_of_utterance_timeout_ms` heeds it. A verdict that is not about the
        current pause must not be passed on; one that comes while nobody pauses is ignored.
        """
        match self._state:
            case _Paused(silent_since_ms=since):
                self._state = _Paused(since, verdict)
                return self._stop_if_due(self._state)
            case _:
                return []

    def _receive_in_quiet(self, quiet: _Quiet, probability: float, frame_start_ms: int) -> list[TurnEvent]:
        if probability < self._silence_threshold:
            self._state = _Quiet()
            return []
        if probability >= self._options.threshold:
            since_ms = frame_start_ms if quiet.voiced_since_ms is None else quiet.voiced_since_ms
            quiet = _Quiet(since_ms, quiet.voiced_ms + FRAME_MS)
        self._state = quiet
        if quiet.voiced_since_ms is None or quiet.voiced_ms < self._options.speech_duration_ms:
            return []
        self._state = _Speaking()
        padded_ms = quiet.voiced_since_ms - self._options.prefix_padding_ms
        return [SpeechStarted(max(padded_ms, self._earliest_start_ms))]

    def _receive_in_speech(
        self, speaking: _Speaking, probability: float, frame_start_ms: int
    ) -> list[TurnEvent]:
        since_ms = speaking.silent_since_ms
        if probability >= self._options.threshold:
            since_ms = None
        elif since_ms is None and probability < self._silence_threshold:
            since_ms = frame_start_ms
        self._state = _Speaking(since_ms)
        if since_ms is None or self._position_ms - since_ms < self._pause_ms:
            return []
        self._state = _Paused(since_ms, None)
        return [SpeechPaused(self._position_ms), *self._stop_if_due(self._state)]

    def _receive_in_pause(self, paused: _Paused, probability: float) -> list[TurnEvent]:
        if probability >= self._options.threshold:
            self._state = _Speaking()
            return [SpeechResumed()]
        return self._stop_if_due(paused)

    def _stop_if_due(self, paused: _Paused) -> list[TurnEvent]:
        wait_ms = self._options.silence_duration_ms
        timeout_ms = self._options.end_of_utterance_timeout_ms
        if timeout_ms is not None and paused.verdict is not Completeness.COMPLETE:
            longest_ms = timeout_ms * 2 // 5 if paused.verdict is Completeness.PERHAPS else timeout_ms
            wait_ms = max(wait_ms, longest_ms)
        if self._position_ms - paused.silent_since_ms < wait_ms:
            return []
        self._state = _Quiet()
        self._earliest_start_ms = self._position_ms
        return [SpeechStopped(self._position_ms)]
