"""The shapes of the mouth while a word is said, as Azure numbers them (0 to 21). Pure.

They are read off the spelling and spread evenly over the word: enough to move a mouth, less exact than
the service, which knows the phonemes.
"""

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from voicelive_emulator.synthesis import Word

SILENCE: Final = 0
_VISEMES: Final = {
    **dict.fromkeys(("sh", "ch", "j"), 16),
    "th": 17,
    **dict.fromkeys(("ph", "f", "v"), 18),
    **dict.fromkeys(("ng", "c", "k", "g", "q"), 20),
    **dict.fromkeys(("oo", "u", "w"), 7),
    **dict.fromkeys(("ee", "ea", "i", "y"), 6),
    "ou": 9,
    **dict.fromkeys(("oi", "oy"), 10),
    "a": 1,
    "e": 4,
    "o": 8,
    "h": 12,
    "r": 13,
    "l": 14,
    **dict.fromkeys(("s", "z", "x"), 15),
    **dict.fromkeys(("d", "t", "n"), 19),
    **dict.fromkeys(("p", "b", "m"), 21),
}
_SOUND: Final = re.compile("|".join(sorted(_VISEMES, key=len, reverse=True)))


def visemes(word: "Word") -> list[tuple[int, int]]:
    """Return offset in milliseconds and number of each shape of a word, the last one silence."""
    shapes = [_VISEMES[sound] for sound in _SOUND.findall(word.text.lower())]
    step_ms = word.duration_ms / max(len(shapes), 1)
    placed = [(word.offset_ms + round(index * step_ms), shape) for index, shape in enumerate(shapes)]
    return [*placed, (word.offset_ms + word.duration_ms, SILENCE)]
