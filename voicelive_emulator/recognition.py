"""Speech to text: Moonshine tiny (English), an encoder and a decoder that writes one token at a time.

One pair of models serves all sessions. Long audio is cut at its quietest points, since the model
knows short utterances. The model writes something for any sound ("You", "Thank you for watching!"), so
what Silero takes for no speech is not shown to it.
"""

from pathlib import Path

import numpy as np

from voicelive_emulator.audio import MODEL_RATE_HZ, Samples
from voicelive_emulator.inference import Model, Tensor
from voicelive_emulator.model_files import ModelFiles
from voicelive_emulator.voice_activity import FRAME_SAMPLES, VoiceActivityModel

_SPEECH_PROBABILITY = 0.5
_FEWEST_SPEECH_FRAMES = 2
_SPEECH_MARGIN = MODEL_RATE_HZ // 5
_LONGEST_PIECE = 12 * MODEL_RATE_HZ
_EARLIEST_CUT = 6 * MODEL_RATE_HZ
_LOUDNESS_WINDOW = MODEL_RATE_HZ // 5
_SHORTEST_INPUT = MODEL_RATE_HZ // 10

_START_TOKEN = 1
_END_TOKEN = 2
_TOKENS_PER_SECOND = 6.5
_SPARE_TOKENS = 8
_HEADS = 8
_HEAD_SIZE = 36

_LONGEST_REPEAT = 8
_REPEATS = 4


class Recognizer:
    """Recognises English speech; one for all sessions, safe in threads."""

    def __init__(self, files: ModelFiles) -> None:
        self._voice_activity = VoiceActivityModel(files)
        self._encoder = Model(files.recognition_encoder)
        self._decoder = Model(files.recognition_decoder)
        self._past_names = [name for name in self._decoder.inputs if name.startswith("past_key_values")]
        self._tokens = _read_tokens(files.recognition_tokens)

    def transcribe(self, samples: Samples) -> str:
        """Return what is said in `samples`, "" for no speech. Blocks: about 45 ms for each second."""
        speech = self._speech_in(samples)
        if not len(speech):
            return ""
        texts = (self._transcribe_piece(piece) for piece in split_at_pauses(speech))
        return " ".join(text for text in texts if any(map(str.isalnum, text)))

    def _speech_in(self, samples: Samples) -> Samples:
        """Return the part from the first speech to the last, with a margin; nothing without speech."""
        probabilities = np.array(self._voice_activity.new_stream().probabilities(samples))
        speech = np.flatnonzero(probabilities >= _SPEECH_PROBABILITY)
        if len(speech) < _FEWEST_SPEECH_FRAMES:
            return samples[:0]
        start = int(speech[0]) * FRAME_SAMPLES - _SPEECH_MARGIN
        end = (int(speech[-1]) + 1) * FRAME_SAMPLES + _SPEECH_MARGIN
        return samples[max(start, 0) : end]

    def _transcribe_piece(self, samples: Samples) -> str:
        longest = int(len(samples) / MODEL_RATE_HZ * _TOKENS_PER_SECOND) + _SPARE_TOKENS
        audio = np.pad(samples, (0, max(0, _SHORTEST_INPUT - len(samples))))[np.newaxis]
        # The decoder takes the mask of the samples, not of the encoder's frames.
        mask = np.ones(audio.shape, np.int64)
        (encoded,) = self._encoder.run({"input_values": audio, "attention_mask": mask})
        return self._detokenized(self._decode(encoded, mask, longest))

    def _decode(self, encoded: Tensor, mask: Tensor, longest: int) -> list[int]:
        """Write the likeliest token after token, until the end or the longest plausible text."""
        past = dict.fromkeys(self._past_names, np.zeros((1, _HEADS, 0, _HEAD_SIZE), np.float32))
        tokens: list[int] = []
        while len(tokens) < longest:
            last = tokens[-1] if tokens else _START_TOKEN
            logits, *present = self._decoder.run(
                {
                    "input_ids": np.array([[last]], np.int64),
                    "encoder_hidden_states": encoded,
                    "encoder_attention_mask": mask,
                    "use_cache_branch": np.array([bool(tokens)]),
                    **past,
                }
            )
            token = int(logits[0, -1].argmax())
            if token == _END_TOKEN:
                break
            for name, value in zip(self._past_names, present, strict=True):
                # The cross-attention is computed once; later steps return it empty.
                if not tokens or ".decoder." in name:
                    past[name] = value
            tokens.append(token)
            repeated = repeated_length(tokens)
            if repeated:
                return tokens[: len(tokens) - repeated * (_REPEATS - 1)]
        return tokens

    def _detokenized(self, tokens: list[int]) -> str:
        text = b"".join(self._tokens[token] for token in tokens if token > _END_TOKEN)
        # The model likes to write a second comma after "In short,".
        return text.decode("utf-8", "ignore").replace("\u2581", " ").replace(",,", ",").strip()


def split_at_pauses(samples: Samples) -> list[Samples]:
    """Cut audio into pieces of at most 12 s, each at the quietest point after its first 6 s."""
    pieces = []
    while len(samples) > _LONGEST_PIECE:
        energy = np.cumsum(np.square(samples[_EARLIEST_CUT:_LONGEST_PIECE], dtype=np.float64))
        loudness = energy[_LOUDNESS_WINDOW:] - energy[:-_LOUDNESS_WINDOW]
        cut = _EARLIEST_CUT + int(loudness.argmin()) + _LOUDNESS_WINDOW // 2
        pieces.append(samples[:cut])
        samples = samples[cut:]
    return [*pieces, samples]


def repeated_length(tokens: list[int]) -> int:
    """Return the length of the phrase that ends the text four times over, 0 without one.

    A decoder that has lost the audio repeats a phrase until it is stopped.
    """
    for length in range(1, _LONGEST_REPEAT + 1):
        tail = tokens[-length * _REPEATS :]
        if len(tail) == length * _REPEATS and tail == tail[:length] * _REPEATS:
            return length
    return 0


def _read_tokens(path: Path) -> list[bytes]:
    """Read the vocabulary: for each token its length and its UTF-8 bytes, "▁" standing for a space.

    A length of 128 or more takes two bytes, low seven bits first.
    """
    data = path.read_bytes()
    tokens = []
    position = 0
    while position < len(data):
        length = data[position]
        position += 1
        if length >= 128:
            length = data[position] * 128 + length - 128
            position += 1
        tokens.append(data[position : position + length])
        position += length
    return tokens
