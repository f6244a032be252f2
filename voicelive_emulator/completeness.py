"""Is the caller done: judged by how the turn sounds and by how it is worded.

Pure. The model that listens knows intonation; it mistakes flat speech that stops in the middle for
finished, and some finished sentences for open ones. The words (English) tell part of these apart.
"""

import re
from typing import Final

from voicelive_emulator.turn_detection import Completeness

_OPEN: Final = re.compile(
    r"(?:\b(?:an?|the|my|your|our|their|his|its|and|or|but|because|if|than|to|of|from|with|for|at|i|we|they"
    r"|um|uh|er|erm|every)|\b(?:name|number|address|code|e-?mail) is)$",
    re.IGNORECASE,
)
_SPELLED: Final = re.compile(
    r"(?:\d|\b[a-z]|\b(?:zero|one|two|three|four|five|six|seven|eight|nine|double))$", re.IGNORECASE
)
_MARKS: Final = ".,;:!?\u2026- "


def completeness(probability: float, threshold: float, text: str) -> Completeness:
    """Judge a turn: `probability` is the model's that it is complete, `text` what was said in it.

    Words after which something must follow outweigh the model. Below `threshold` a sentence that could
    be the whole turn is not as open as a number or a name that is being spelled.
    """
    words = text.strip(_MARKS)
    if _OPEN.search(words) and not text.rstrip().endswith("?"):
        return Completeness.INCOMPLETE
    if probability >= threshold:
        return Completeness.COMPLETE
    if not words or _SPELLED.search(words):
        return Completeness.INCOMPLETE
    return Completeness.PERHAPS if text.rstrip().endswith((".", "!", "?")) else Completeness.INCOMPLETE
