"""Is somebody speaking, and does a turn sound complete: the two models behind turn detection.

Silero answers the first for every 32 ms, smart-turn the second for the end of what was said. Both
are loaded once; a session only keeps Silero's small state.
"""

import numpy as np

from voicelive_emulator.audio import MODEL_RATE_HZ, Samples
from voicelive_emulator.features import log_mel
from voicelive_emulator.inference import Model
from voicelive_emulator.model_files import ModelFiles

FRAME_SAMPLES = 512
"""Samples in one frame: 32 ms."""

_CONTEXT_SAMPLES = 64
_STATE_SHAPE = (1, 1, 128)
_TURN_SAMPLES = 8 * MODEL_RATE_HZ


class VoiceActivityModel:
    """Silero; one for all sessions, safe in threads."""

    def __init__(self, files: ModelFiles) -> None:
        self._model = Model(files.voice_activity)

    def new_stream(self) -> "VoiceActivityStream":
        """Return the state of a new session."""
        return VoiceActivityStream(self._model)


class VoiceActivityStream:
    """Follows the audio of one session; not for several threads at once."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._pending = np.zeros(_CONTEXT_SAMPLES, np.float32)
        self._hidden = np.zeros(_STATE_SHAPE, np.float32)
        self._cell = np.zeros(_STATE_SHAPE, np.float32)

    def probabilities(self, samples: Samples) -> list[float]:
        """Return the probability of speech in each whole 32 ms frame; the rest waits for the next call.

        Blocks for about 0.3 ms per frame.
        """
        pending = np.concatenate((self._pending, samples))
        count = (len(pending) - _CONTEXT_SAMPLES) // FRAME_SAMPLES
        self._pending = pending[count * FRAME_SAMPLES :]
        if count == 0:
            return []
        # The model sees each frame together with the last samples of the one before.
        frames = np.lib.stride_tricks.sliding_window_view(pending, _CONTEXT_SAMPLES + FRAME_SAMPLES)
        speech, self._hidden, self._cell = self._model.run(
            {"input": frames[::FRAME_SAMPLES][:count], "h": self._hidden, "c": self._cell}
        )
        return [float(probability) for probability in speech]


class EndOfUtteranceModel:
    """Smart-turn v3.2; one for all sessions, safe in threads."""

    def __init__(self, files: ModelFiles) -> None:
        self._model = Model(files.end_of_utterance)

    def probability(self, samples: Samples) -> float:
        """Return the probability that the turn in `samples` is complete; its last 8 s count. Blocks."""
        heard = samples[-_TURN_SAMPLES:]
        turn = np.concatenate((np.zeros(_TURN_SAMPLES - len(heard), np.float32), heard))
        (complete,) = self._model.run({"input_features": log_mel(turn)[np.newaxis]})
        return float(complete.item())
