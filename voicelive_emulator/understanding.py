"""What a caller's words mean to a script: phrases, yes and no, numbers, digits, names.

Tolerates what recognition does to speech ("call back" or "callback", one wrong letter in a long
phrase) and nothing more: "contact" is not "contract". Pure text; no script, no dialogue.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

# Below this many letters one wrong letter is too often another word ("cancel", "cancer").
_SHORTEST_INEXACT_PHRASE = 9
_LONGEST_PHRASE_WORDS = 7

_UNIT_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
)
_TEN_WORDS = "twenty thirty forty fifty sixty seventy eighty ninety"
_UNITS = {word: value for value, word in enumerate(_UNIT_WORDS.split())}
_TENS = {word: value * 10 for value, word in enumerate(_TEN_WORDS.split(), 2)}
_SPOKEN_DIGITS = {word: str(value) for word, value in _UNITS.items() if value < 10} | {"oh": "0", "o": "0"}
_NEVER_IN_A_NAME = (
    "yes yeah yep no nope not sure ok okay what why who how when where is are do does it that this the a an "
    "i you we they my your please well maybe nothing never can could will would should need want say tell "
    "sorry thanks hello hi hey and or but so if to of in for with was were"
)
_NO_NAMES = frozenset(_NEVER_IN_A_NAME.split())
_BEFORE_A_NAME = re.compile(
    r"^(?:(?:yes|yeah|sure|okay|ok|well|um|uh|of course|hi|hello)[\s,.!]+)*"
    r"(?:(?:my|the)\s+(?:full\s+)?name(?:\s+is|'s)|it(?:\s+is|'s)|i\s+am|i'm|this\s+is|call\s+me)?\s*",
    re.IGNORECASE,
)


def words_of(text: str) -> tuple[str, ...]:
    """The words of `text` in lower case, without punctuation; "I'm" is one word, "im"."""
    return tuple(re.findall(r"[^\W_]+", _plain(text).replace("'", "").lower()))


def _plain(text: str) -> str:
    """`text` with typewriter apostrophes."""
    return text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")


@dataclass(frozen=True, slots=True)
class Utterance:
    """What the caller said, prepared for many look-ups."""

    text: str
    words: tuple[str, ...] = field(init=False)
    # Runs of one to seven words with the spaces taken out, all of them and by number of words and letters.
    _runs: frozenset[str] = field(init=False, repr=False)
    _runs_by_size: Mapping[tuple[int, int], Sequence[str]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        words = words_of(self.text)
        by_size: dict[tuple[int, int], list[str]] = {}
        for start in range(len(words)):
            run = ""
            for count, word in enumerate(words[start : start + _LONGEST_PHRASE_WORDS], 1):
                run += word
                by_size.setdefault((count, len(run)), []).append(run)
        object.__setattr__(self, "words", words)
        object.__setattr__(self, "_runs", frozenset(run for runs in by_size.values() for run in runs))
        object.__setattr__(self, "_runs_by_size", by_size)

    def contains(self, letters: str) -> bool:
        """Whether some run of words has exactly these letters, wherever the spaces are."""
        return letters in self._runs

    def nearly_contains(self, letters: str, words: int) -> bool:
        """Whether a run of as many words has these letters but for one."""
        return any(
            _one_letter_apart(letters, run)
            for length in (len(letters) - 1, len(letters), len(letters) + 1)
            for run in self._runs_by_size.get((words, length), ())
        )


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words that carry a meaning, as a script has them; a last `*` stands for any ending."""

    text: str
    _letters: str = field(init=False, repr=False)
    _word_count: int = field(init=False, repr=False)
    _any_ending: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        words = words_of(self.text)
        if not words or len(words) > _LONGEST_PHRASE_WORDS:
            raise ValueError(f"a phrase has one to {_LONGEST_PHRASE_WORDS} words, not {self.text!r}")
        object.__setattr__(self, "_letters", "".join(words))
        object.__setattr__(self, "_word_count", len(words))
        object.__setattr__(self, "_any_ending", self.text.endswith("*"))
        if self._any_ending and len(words) > 1:
            raise ValueError(f"only a phrase of one word may end in *, not {self.text!r}")

    def weight_in(self, utterance: Utterance) -> int:
        """How strongly the utterance contains this phrase: its letters when it does, 0 when not."""
        letters = self._letters
        if self._any_ending:
            return len(letters) if any(word.startswith(letters) for word in utterance.words) else 0
        if utterance.contains(letters):
            return len(letters)
        if len(letters) < _SHORTEST_INEXACT_PHRASE:
            return 0
        return len(letters) - 1 if utterance.nearly_contains(letters, self._word_count) else 0


def strongest(phrases: Sequence[Phrase], utterance: Utterance) -> int:
    """The weight of the strongest of `phrases` in the utterance, 0 when it contains none."""
    return max((phrase.weight_in(utterance) for phrase in phrases), default=0)


def _one_letter_apart(one: str, other: str) -> bool:
    if one[0] != other[0] and one[-1] != other[-1]:
        return False
    same_start = _shared_prefix(one, other)
    same_end = _shared_prefix(one[same_start:][::-1], other[same_start:][::-1])
    return max(len(one), len(other)) - same_start - same_end <= 1


def _shared_prefix(one: str, other: str) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def number_in(utterance: Utterance) -> int | None:
    """The first number said, in digits or words up to the hundreds; None when there is none."""
    value: int | None = None
    for word in utterance.words:
        if word.isascii() and word.isdigit() and value is None:
            return int(word[:9])
        if word == "hundred" and value is not None and value < 10:
            value *= 100
        elif word in _TENS and (value is None or value % 100 == 0):
            value = (value or 0) + _TENS[word]
        elif word in _UNITS and (value is None or _fits_after(value, _UNITS[word])):
            value = (value or 0) + _UNITS[word]
        elif value is not None and word != "and":
            return value
    return value


def _fits_after(value: int, unit: int) -> bool:
    """Whether `unit` goes on with the number: "forty" "two", "one hundred" "twelve"; not "two" "three"."""
    if value == 0:
        return False
    return value % 100 == 0 or (value % 10 == 0 and value % 100 >= 20 and 0 < unit < 10)


def digits_in(utterance: Utterance) -> str:
    """All digits said one by one or in groups, as one string: "nine oh two, 10" is "90210"."""
    digits = ""
    times = 1
    for word in utterance.words:
        if word in ("double", "triple"):
            times = 2 if word == "double" else 3
            continue
        if word.isascii() and word.isdigit():
            digits += word
        else:
            digits += _SPOKEN_DIGITS.get(word, "") * times
        times = 1
    return digits


def name_in(utterance: Utterance) -> str | None:
    """The caller's name when the utterance looks like one (one to four words, no digits)."""
    name = _BEFORE_A_NAME.sub("", _plain(utterance.text).strip(), count=1)
    parts = re.findall(r"[^\W\d_]+(?:['\-.][^\W\d_]+)*", name)
    if not 1 <= len(parts) <= 4 or re.search(r"\d", name) or _NO_NAMES & {part.lower() for part in parts}:
        return None
    return " ".join(part[0].upper() + part[1:] for part in parts)
