"""One Piper voice: text to phonemes, phonemes to sound, and how long each phoneme lasts.

Piper's own `PiperVoice` speaks a whole sentence in one go. Here the voice model is cut in three: the
lengths of the phonemes, the plan of the sentence, and the sound. The third is most of the work and only
looks a few frames around, so it runs piece by piece, and the first piece is ready soon however long the
sentence is. The model's random numbers come from the phonemes, so the same text always sounds the same.

Piper and the phonemizer espeak-ng in it are GPL; they stay in the emulator's process.
"""

import json
import tempfile
import threading
import unicodedata
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from piper.phonemize_espeak import ESPEAK_DATA_DIR, EspeakPhonemizer

from voicelive_emulator.inference import Model
from voicelive_emulator.model_parts import ModelGraph

FRAME_SAMPLES = 256
"""Samples in one frame of the voice model."""

_START, _PAD, _END = "^", "_", "$"
_CONTEXT_FRAMES = 10
_PLAN_CHANNELS = 192

# Tensors of the voice model at which it is cut.
_STATISTICS = "/enc_p/Mul_2_output_0"
_MASK = "/enc_p/encoder/Unsqueeze_output_0"
_DURATIONS = "/Ceil_output_0"
_DURATION_NOISE = "/dp/RandomNormalLike_output_0"
_PLAN_NOISE = "/RandomNormalLike_output_0"
_PLAN = "/Mul_7_output_0"


@dataclass(frozen=True, slots=True)
class Utterance:
    """What is to be said, planned but not yet sounded.

    `ends` has the sample after the end of the silence before the first phoneme, then after the end of
    each phoneme. Spaces and punctuation are phonemes too.
    """

    phonemes: str
    ends: NDArray[np.int64]
    plan: NDArray[np.float32]

    @property
    def frames(self) -> int:
        """The length in frames."""
        return int(self.plan.shape[2])


class Voice:
    """A Piper voice, safe in threads."""

    def __init__(self, model_file: Path, config_file: Path) -> None:
        config = json.loads(config_file.read_text(encoding="utf-8"))
        self.sample_rate_hz: int = config["audio"]["sample_rate"]
        self._language: str = config["espeak"]["voice"]
        self._ids: dict[str, list[int]] = config["phoneme_id_map"]
        inference = config["inference"]
        scales = [inference["noise_scale"], inference["length_scale"], inference["noise_w"]]
        self._scales = np.array(scales, np.float32)
        graph = ModelGraph(model_file.read_bytes())
        measured = [_STATISTICS, _MASK, _DURATIONS]
        self._measure = _load(graph.part(["input", "input_lengths", "scales", _DURATION_NOISE], measured))
        self._plan = _load(graph.part([*measured, "scales", _PLAN_NOISE], [_PLAN]))
        self._sound = _load(graph.part([_PLAN], ["output"]))
        self._phonemizer = EspeakPhonemizer(ESPEAK_DATA_DIR)
        self._phonemizer_lock = threading.Lock()  # espeak-ng keeps its state in globals

    def phonemize(self, text: str) -> str:
        """Return the phonemes of `text`, one character each, with spaces and punctuation; "" for no words."""
        with self._phonemizer_lock:
            sentences: list[list[str]] = self._phonemizer.phonemize(self._language, text)
        phonemes = " ".join("".join(p for p in sentence if p in self._ids) for sentence in sentences)
        return phonemes if any(map(is_sound, phonemes)) else ""

    def prepare(self, phonemes: str) -> Utterance:
        """Decide how `phonemes` are said. Blocks: a few ms for each word."""
        # The voice was trained with a pad after every phoneme; a phoneme's length counts its pad.
        groups = [[*self._ids[symbol], *self._ids[_PAD]] for symbol in (_START, *phonemes)]
        groups.append(self._ids[_END])
        ids = np.concatenate(groups).astype(np.int64)[np.newaxis]
        random = np.random.default_rng(zlib.crc32(phonemes.encode()))
        statistics, mask, durations = self._measure.run(
            {
                "input": ids,
                "input_lengths": np.array([ids.shape[1]], np.int64),
                "scales": self._scales,
                _DURATION_NOISE: random.standard_normal((1, 2, ids.shape[1]), np.float32),
            }
        )
        frames = int(durations.sum())
        (plan,) = self._plan.run(
            {
                _STATISTICS: statistics,
                _MASK: mask,
                _DURATIONS: durations,
                "scales": self._scales,
                _PLAN_NOISE: random.standard_normal((1, _PLAN_CHANNELS, frames), np.float32),
            }
        )
        starts = np.cumsum([0, *(len(group) for group in groups[:-1])])
        ends = np.cumsum(np.add.reduceat(durations.ravel(), starts)).astype(np.int64)
        return Utterance(phonemes, ends[:-1] * FRAME_SAMPLES, plan)

    def sound(self, utterance: Utterance, first_frame: int, end_frame: int) -> NDArray[np.float32]:
        """Return the samples of some frames, equal to those of the whole. Blocks: about a tenth of the time.

        The frames around them are computed too, since each sample depends on that many.
        """
        before = min(first_frame, _CONTEXT_FRAMES)
        (sound,) = self._sound.run(
            {_PLAN: utterance.plan[:, :, first_frame - before : end_frame + _CONTEXT_FRAMES]}
        )
        start = before * FRAME_SAMPLES
        samples: NDArray[np.float32] = sound.ravel()[
            start : start + (end_frame - first_frame) * FRAME_SAMPLES
        ]
        return samples


def _load(model: bytes) -> Model:
    """Load a model through a file: onnxruntime keeps the bytes of one that it is given in memory."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "part.onnx")
        file.write_bytes(model)
        return Model(file)


def is_sound(phoneme: str) -> bool:
    """Tell a vowel or consonant from stress marks, spaces and punctuation."""
    return unicodedata.category(phoneme) in {"Ll", "Lo"}
