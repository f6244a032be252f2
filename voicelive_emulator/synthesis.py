"""Text to speech: clauses of an answer in, PCM16 with the times of its words out.

The answer is spoken clause by clause and each clause piece by piece, so that the first sound is ready
while the rest is not even written. What was said before is kept, since agents repeat themselves.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np
import soxr
from numpy.typing import NDArray

from voicelive_emulator.audio import SYNTHESIS_RATE_HZ, to_pcm16
from voicelive_emulator.clauses import split_clauses
from voicelive_emulator.model_files import ModelFiles
from voicelive_emulator.spoken_text import SpokenWord, spoken_words
from voicelive_emulator.voice import FRAME_SAMPLES, Utterance, Voice, is_sound

__all__ = [
    "SharedSpeech",
    "Speech",
    "SpeechCache",
    "SpeechStream",
    "Synthesizer",
    "Word",
    "split_clauses",
]

_GAIN = 1.3
_SILENCE_LEVEL = 0.01
_SILENCE_BEFORE_MS = 20
_SILENCE_AFTER_MS = {".": 240, "!": 240, "?": 240, ",": 140, ";": 140, ":": 140}
_SILENCE_AFTER_WORD_MS = 40
_FIRST_PIECE_FRAMES = 24
_LONGEST_PIECE_FRAMES = 96
_CACHE_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Word:
    """A word as written and when it is heard, counted from the start of its clause."""

    text: str
    offset_ms: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Speech:
    """A spoken clause or a piece of one: PCM16 LE, 24 kHz, mono, and words."""

    pcm: bytes
    words: tuple[Word, ...]


class Synthesizer:
    """Speaks English with one voice; one for all sessions, safe in threads."""

    def __init__(self, files: ModelFiles) -> None:
        self._voice = Voice(files.voice, files.voice_config)
        self._cache = SpeechCache(_CACHE_BYTES)

    def synthesize(self, clause: str) -> Speech:
        """Speak a whole clause; one that was spoken before comes from memory. No words, no sound.

        The times of the words are the voice model's own lengths of their phonemes, right to about
        12 ms. Blocks: about a tenth of the time that the clause lasts.
        """
        return _joined(list(self.stream(clause)))

    def stream(self, clause: str) -> "SpeechStream":
        """Speak a clause piece by piece, the first about a quarter of a second long, later ones longer.

        The first piece has all the words. Each step blocks, like `synthesize`, for its own part. A
        clause that others speak at the same time, or have left in the middle, is made only once.
        """
        clause = clause.strip()
        spoken = self._cache.get_or_add(clause, lambda: SharedSpeech(self._pieces(clause)))
        return SpeechStream(spoken, self._cache)

    def _pieces(self, clause: str) -> Iterator[Speech]:
        words = spoken_words(clause)
        phonemes = self._voice.phonemize(" ".join(word.spoken for word in words))
        if phonemes:
            yield from self._speak(words, self._voice.prepare(phonemes))

    def _speak(self, words: list[SpokenWord], utterance: Utterance) -> Iterator[Speech]:
        rate_hz = self._voice.sample_rate_hz
        resampler = soxr.ResampleStream(rate_hz, SYNTHESIS_RATE_HZ, 1, dtype="float32")
        end = _audible_end(utterance, rate_hz)
        position, frames = 0, _FIRST_PIECE_FRAMES
        timed: tuple[Word, ...] = ()
        while position < end:
            next_position = min(position + frames * FRAME_SAMPLES, end)
            sound = self._voice.sound(
                utterance, position // FRAME_SAMPLES, -(-next_position // FRAME_SAMPLES)
            )[: next_position - position]
            if position == 0:
                start = _audible_start(sound, rate_hz)
                sound = sound[start:]
                timed = tuple(_timed(words, self._sounds(words), utterance, start, rate_hz))
            resampled = resampler.resample_chunk(sound * _GAIN, last=next_position == end)
            yield Speech(to_pcm16(resampled).tobytes(), timed)
            timed = ()
            position, frames = next_position, min(frames * 2, _LONGEST_PIECE_FRAMES)

    def _sounds(self, words: list[SpokenWord]) -> list[str]:
        """Return each word's vowels and consonants when it is spoken alone."""
        return ["".join(filter(is_sound, self._voice.phonemize(word.spoken))) for word in words]


class SharedSpeech:
    """A clause that is being spoken: each piece is made when it is first asked for, by whoever asks."""

    def __init__(self, pieces: Iterator[Speech]) -> None:
        self._rest = pieces
        self._made: list[Speech] = []
        self._lock = threading.Lock()
        self.finished = False
        """Whether every piece is made."""
        self.broken = False
        """Whether a piece could not be made; there are no more."""
        self.size_bytes = 0

    def has(self, index: int) -> bool:
        """Whether `piece` returns at once."""
        return self.finished or index < len(self._made)

    def piece(self, index: int) -> Speech | None:
        """Return a piece, None after the last. Blocks while it is made."""
        with self._lock:
            while not self.has(index):
                self._make()
        return self._made[index] if index < len(self._made) else None

    def _make(self) -> None:
        try:
            piece = next(self._rest, None)
        except BaseException:
            self.finished = self.broken = True
            raise
        if piece is None:
            self.finished = True
        else:
            self._made.append(piece)
            self.size_bytes += len(piece.pcm)


class SpeechStream(Iterator[Speech]):
    """The pieces of a clause, one after the other. For one listener."""

    def __init__(self, speech: SharedSpeech, cache: "SpeechCache") -> None:
        self._speech = speech
        self._cache = cache
        self._position = 0

    @property
    def is_ready(self) -> bool:
        """Whether the next step does not block, since its piece is made."""
        return self._speech.has(self._position)

    def __next__(self) -> Speech:
        was_ready = self.is_ready
        piece = self._speech.piece(self._position)
        if piece is None:
            if not was_ready:
                self._cache.trim()
            raise StopIteration
        self._position += 1
        return piece


class SpeechCache:
    """Keeps what was spoken last, up to a number of bytes of sound; safe in threads."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[str, SharedSpeech] = OrderedDict()
        self._lock = threading.Lock()

    def get_or_add(self, clause: str, make: Callable[[], SharedSpeech]) -> SharedSpeech:
        """Return the clause, made or still being made; one that is new, or broke, is added."""
        with self._lock:
            speech = self._entries.get(clause)
            if speech is None or speech.broken:
                speech = self._entries[clause] = make()
            self._entries.move_to_end(clause)
            return speech

    def trim(self) -> None:
        """Drop the clauses not asked for the longest while there is too much sound."""
        with self._lock:
            size_bytes = sum(speech.size_bytes for speech in self._entries.values())
            while size_bytes > self._max_bytes:
                _, oldest = self._entries.popitem(last=False)
                size_bytes -= oldest.size_bytes


def _joined(pieces: list[Speech]) -> Speech:
    if len(pieces) == 1:
        return pieces[0]
    return Speech(b"".join(piece.pcm for piece in pieces), tuple(w for piece in pieces for w in piece.words))


def _audible_start(sound: NDArray[np.float32], rate_hz: int) -> int:
    first = int((np.abs(sound) > _SILENCE_LEVEL).argmax())
    return max(first - _SILENCE_BEFORE_MS * rate_hz // 1000, 0)


def _audible_end(utterance: Utterance, rate_hz: int) -> int:
    """Return the sample after the last word and as much silence as the punctuation asks for."""
    last = max(index for index, phoneme in enumerate(utterance.phonemes) if is_sound(phoneme))
    silence_ms = _SILENCE_AFTER_MS.get(utterance.phonemes[-1], _SILENCE_AFTER_WORD_MS)
    end = int(utterance.ends[last + 1]) + silence_ms * rate_hz // 1000
    return min(end, utterance.frames * FRAME_SAMPLES)


def _timed(
    words: list[SpokenWord], alone: list[str], utterance: Utterance, start: int, rate_hz: int
) -> Iterator[Word]:
    """Find when each word is heard; `alone` are its sounds when it is spoken by itself.

    In a sentence words run together and lose sounds ("of the" is one word to the phonemizer), so the
    two are aligned; a word's edge that falls between aligned sounds goes to the nearest.
    """
    places = [index for index, phoneme in enumerate(utterance.phonemes) if is_sound(phoneme)]
    together = "".join(utterance.phonemes[place] for place in places)
    matcher = SequenceMatcher(None, "".join(alone), together, autojunk=False)
    matched = [(a + i, b + i) for a, b, size in matcher.get_matching_blocks() for i in range(size)]
    length = sum(map(len, alone))
    edges = np.interp(
        np.arange(length + 1),
        [-1, *(a for a, _ in matched), length],
        [-1, *(b for _, b in matched), len(places)],
    )
    position = 0
    for word, sounds in zip(words, alone, strict=True):
        first = min(max(round(edges[position]), 0), len(places) - 1)
        position += len(sounds)
        last = min(max(round(edges[position]) - 1, first), len(places) - 1)
        begins, ends = (int(utterance.ends[i]) - start for i in (places[first], places[last] + 1))
        offset_ms = max(begins, 0) * 1000 // rate_hz
        yield Word(word.text, offset_ms, ends * 1000 // rate_hz - offset_ms)
