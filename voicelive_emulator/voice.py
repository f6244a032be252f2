"""One Piper voice: text to phonemes, phonemes to sound, and how long each phoneme lasts.

Piper's own `PiperVoice` is not used: it cannot take an inference session, loads the model with all
cores and raises every sentence to full scale. Piper and the phonemizer espeak-ng in it are GPL; they
stay in the emulator's process.
"""

import json
import threading
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from piper.phonemize_espeak import ESPEAK_DATA_DIR, EspeakPhonemizer

from voicelive_emulator.inference import Model

_START, _PAD, _END = "^", "_", "$"
_DURATIONS_TENSOR = "/Ceil_output_0"


@dataclass(frozen=True, slots=True)
class Sentence:
    """Sound in [-1, 1] at the voice's rate, the phonemes in it and the samples that each lasts.

    `phonemes` include punctuation and spaces; `lengths` has one more entry at either end, for the
    silence before the first phoneme and after the last.
    """

    sound: NDArray[np.float32]
    phonemes: str
    lengths: NDArray[np.int64]


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
        self._model = Model(model_file.read_bytes() + _graph_output(_DURATIONS_TENSOR))
        self._phonemizer = EspeakPhonemizer(ESPEAK_DATA_DIR)
        self._phonemizer_lock = threading.Lock()  # espeak-ng keeps its state in globals

    def phonemize(self, text: str) -> list[str]:
        """Return the phonemes of each sentence of `text`, one character each, words parted by spaces."""
        with self._phonemizer_lock:
            sentences: list[list[str]] = self._phonemizer.phonemize(self._language, text)
        known = ("".join(p for p in sentence if p in self._ids) for sentence in sentences)
        return [phonemes for phonemes in known if phonemes.strip()]

    def speak(self, phonemes: str) -> Sentence:
        """Return the sound of one sentence. Blocks: about a tenth of the time it lasts."""
        symbols = (_START, *phonemes)
        # The voice was trained with a pad after every phoneme; a phoneme's length counts its pad.
        groups = [[*self._ids[symbol], *self._ids[_PAD]] for symbol in symbols] + [self._ids[_END]]
        ids = np.concatenate(groups).astype(np.int64)[np.newaxis]
        sound, durations = self._model.run(
            {"input": ids, "input_lengths": np.array([ids.shape[1]], np.int64), "scales": self._scales}
        )
        starts = np.cumsum([0, *(len(group) for group in groups[:-1])])
        frames = np.add.reduceat(durations.ravel(), starts)
        lengths = (frames * (sound.size / frames.sum())).astype(np.int64)
        return Sentence(sound.ravel(), phonemes, lengths)


def is_sound(phoneme: str) -> bool:
    """Tell a vowel or consonant from stress marks, spaces and punctuation."""
    return unicodedata.category(phoneme) in {"Ll", "Lo"}


def _graph_output(tensor: str) -> bytes:
    """Return what makes `tensor` an output of a serialized ONNX model when appended to it.

    Protocol Buffers merge a repeated message field into the first: this is a ModelProto with a graph
    (field 7) with an output (field 12) with a name (field 1), and the voice's own graph keeps the rest.
    """
    message = tensor.encode()
    for tag in (0x0A, 0x62, 0x3A):
        message = bytes((tag, len(message))) + message
    return message
