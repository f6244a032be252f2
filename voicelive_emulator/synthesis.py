"""Text to speech: clauses of an answer in, PCM16 with the times of its words out.

The answer is spoken clause by clause, so that its first sound is ready while the rest is not even
written. What was said before is kept, since agents repeat themselves.
"""

import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np
import soxr
from numpy.typing import NDArray

from voicelive_emulator.audio import SYNTHESIS_RATE_HZ, to_pcm16
from voicelive_emulator.model_files import ModelFiles
from voicelive_emulator.spoken_text import ABBREVIATIONS, SpokenWord, spoken_words
from voicelive_emulator.voice import Sentence, Voice, is_sound

_GAIN = 1.3
_SILENCE_LEVEL = 0.01
_LEADING_SILENCE_MS = 20
_SENTENCE_SILENCE_MS = 240
_COMMA_SILENCE_MS = 140
_JOINT_SILENCE_MS = 20
_CACHE_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Word:
    """A word as written and when it is heard, counted from the start of its clause."""

    text: str
    offset_ms: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Speech:
    """A spoken clause: PCM16 LE, 24 kHz, mono, and its words."""

    pcm: bytes
    words: tuple[Word, ...]


class Synthesizer:
    """Speaks English with one voice; one for all sessions, safe in threads."""

    def __init__(self, files: ModelFiles) -> None:
        self._voice = Voice(files.voice, files.voice_config)
        self._cache = _SpeechCache(_CACHE_BYTES)

    def synthesize(self, clause: str) -> Speech:
        """Speak a clause; one that was spoken before comes from memory. No words, no sound.

        The times of the words are the voice model's own durations of their phonemes, right to about
        12 ms. Blocks: about a tenth of the time that the clause lasts.
        """
        clause = clause.strip()
        speech = self._cache.get(clause)
        if speech is None:
            speech = self._speak(spoken_words(clause))
            self._cache.put(clause, speech)
        return speech

    def _speak(self, words: list[SpokenWord]) -> Speech:
        sentences = [
            self._voice.speak(phonemes)
            for phonemes in self._voice.phonemize(" ".join(word.spoken for word in words))
        ]
        if not sentences:
            return Speech(b"", ())
        said = [self._phonemes(word.spoken) for word in words]
        pieces: list[NDArray[np.float32]] = []
        sounds: list[tuple[str, int, int]] = []
        position = 0
        for sentence in sentences:
            start, end = _audible_range(sentence, self._voice.sample_rate_hz)
            sounds += _sounds(sentence, position - start)
            pieces.append(sentence.sound[start:end])
            position += end - start
        sound = soxr.resample(np.concatenate(pieces) * _GAIN, self._voice.sample_rate_hz, SYNTHESIS_RATE_HZ)
        times = _word_times(said, sounds, self._voice.sample_rate_hz)
        return Speech(
            to_pcm16(sound).tobytes(),
            tuple(Word(word.text, *time) for word, time in zip(words, times, strict=True)),
        )

    def _phonemes(self, spoken: str) -> str:
        return "".join(filter(is_sound, "".join(self._voice.phonemize(spoken))))


class _SpeechCache:
    """Keeps what was spoken last, up to a number of bytes of sound."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: OrderedDict[str, Speech] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, clause: str) -> Speech | None:
        with self._lock:
            speech = self._entries.get(clause)
            if speech is not None:
                self._entries.move_to_end(clause)
            return speech

    def put(self, clause: str, speech: Speech) -> None:
        with self._lock:
            if clause in self._entries:
                return
            self._entries[clause] = speech
            self._bytes += len(speech.pcm)
            while self._bytes > self._max_bytes:
                _, oldest = self._entries.popitem(last=False)
                self._bytes -= len(oldest.pcm)


def _audible_range(sentence: Sentence, sample_rate_hz: int) -> tuple[int, int]:
    """Return the sound's first and last sample, with as much silence around as the punctuation asks for."""
    loud = np.flatnonzero(np.abs(sentence.sound) > _SILENCE_LEVEL)
    if not len(loud):
        return 0, len(sentence.sound)
    match sentence.phonemes[-1]:
        case "." | "!" | "?":
            silence_ms = _SENTENCE_SILENCE_MS
        case "," | ";" | ":":
            silence_ms = _COMMA_SILENCE_MS
        case _:
            silence_ms = _JOINT_SILENCE_MS
    first = int(loud[0]) - _LEADING_SILENCE_MS * sample_rate_hz // 1000
    last = int(loud[-1]) + silence_ms * sample_rate_hz // 1000
    return max(first, 0), min(last, len(sentence.sound))


def _sounds(sentence: Sentence, offset: int) -> Iterator[tuple[str, int, int]]:
    """Return each vowel and consonant with its first sample and the one after its last."""
    ends = np.cumsum(sentence.lengths)
    for index, phoneme in enumerate(sentence.phonemes):
        if is_sound(phoneme):
            yield phoneme, offset + int(ends[index]), offset + int(ends[index + 1])


def _word_times(
    said: list[str], sounds: list[tuple[str, int, int]], sample_rate_hz: int
) -> Iterator[tuple[int, int]]:
    """Find each word's offset and duration in ms: `said` are its phonemes when spoken alone.

    In a sentence words run together and lose phonemes ("of the" is one word to the phonemizer), so the
    two are aligned; the edge of a word that falls between aligned phonemes goes to the nearest.
    """
    alone = "".join(said)
    blocks = SequenceMatcher(
        None, alone, "".join(phoneme for phoneme, _, _ in sounds), autojunk=False
    ).get_matching_blocks()
    known = [(block.a + i, block.b + i) for block in blocks for i in range(block.size)]
    places = np.interp(
        np.arange(len(alone) + 1),
        [-1, *(a for a, _ in known), len(alone)],
        [-1, *(b for _, b in known), len(sounds)],
    )
    begin = 0
    for phonemes in said:
        first = min(max(round(places[begin]), 0), len(sounds) - 1)
        last = min(max(round(places[begin + len(phonemes)]) - 1, first), len(sounds) - 1)
        start, end = sounds[first][1], sounds[last][2]
        yield round(start * 1000 / sample_rate_hz), round((end - start) * 1000 / sample_rate_hz)
        begin += len(phonemes)


_FIRST_CLAUSE_WORDS = 2
_NEXT_CLAUSE_WORDS = 4
_LONGEST_FIRST_CLAUSE_WORDS = 7
_BREAK = re.compile(r"[.!?,;:\u2026\u2013\u2014]+[\"')\]\u2019\u201d]*\s+|\s[-\u2013\u2014]+\s+|\n\s*")
_PHRASE_OPENERS = frozenset(
    [
        "and",
        "or",
        "but",
        "so",
        "because",
        "that",
        "which",
        "who",
        "if",
        "when",
        "while",
        "where",
        "for",
        "with",
        "without",
        "to",
        "from",
        "at",
        "by",
        "in",
        "on",
        "of",
        "is",
        "are",
        "was",
        "were",
        "will",
        "would",
        "can",
        "could",
    ]
)


def split_clauses(text: str) -> list[str]:
    """Split text into clauses to speak one after the other; joined they are the text again.

    Clauses end at punctuation, never inside a number, price or abbreviation. The first is short, so
    that its sound is ready soon: without early punctuation it ends before a word that opens a phrase.
    """
    clauses: list[str] = []
    pending = ""
    for piece in _pieces(text):
        pending += piece
        fewest = _NEXT_CLAUSE_WORDS if clauses else _FIRST_CLAUSE_WORDS
        if len(pending.split()) >= fewest or piece.rstrip().endswith((".", "!", "?")):
            clauses.append(pending)
            pending = ""
    if pending.strip() or not clauses:
        clauses.append(pending)
    else:
        clauses[-1] += pending
    return [clause for clause in (*_split_first(clauses[0]), *clauses[1:]) if clause]


def _pieces(text: str) -> Iterator[str]:
    start = 0
    for match in _BREAK.finditer(text):
        if _ends_clause(text[start : match.end()]):
            yield text[start : match.end()]
            start = match.end()
    yield text[start:]


def _ends_clause(piece: str) -> bool:
    last = piece.split()[-1] if piece.split() else ""
    return last not in ABBREVIATIONS and not re.fullmatch(r"[A-Z]\.", last)


def _split_first(clause: str) -> Iterator[str]:
    words = re.findall(r"\S+\s*", clause)
    if len(words) <= _LONGEST_FIRST_CLAUSE_WORDS:
        yield clause
        return
    openers = (i for i in range(3, 6) if words[i].strip().lower() in _PHRASE_OPENERS)
    cut = clause.index(words[0]) + len("".join(words[: next(openers, 5)]))
    yield clause[:cut]
    yield clause[cut:]
