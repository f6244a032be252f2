"""Filler words of a caller, which `remove_filler_words` takes out of what was understood. Pure."""

import re
from typing import Final

_FILLER: Final = re.compile(
    r"(?<!\S) (?: u+m+ | u+h+ | e+r+m* | a+h+ | h+m+ | m+-?h*m+ ) [,.!?\u2026]* (?: \s+ | $ )",
    re.IGNORECASE | re.VERBOSE,
)


def without_fillers(text: str) -> str:
    """Return the text without "um", "uh" and the like (English); empty where nothing else was said."""
    kept = _FILLER.sub("", text).strip(" ,")
    return kept[:1].upper() + kept[1:] if text[:1].isupper() else kept
