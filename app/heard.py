"""How much of what the agent said was heard: the transcript, cut where the caller stopped listening. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """One word and where in its response's audio it is spoken."""

    text: str
    offset_ms: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Heard:
    """The part that was heard; `estimated` where no word timestamps said so."""

    text: str
    estimated: bool


def heard_part(transcript: str, words: Sequence[SpokenWord], heard_ms: int, total_ms: int) -> Heard:
    """Cut `transcript` to what is heard in the first `heard_ms` of `total_ms` of audio.

    A word counts as heard from its middle on. Without word timestamps the cut is proportional, at a word
    boundary.
    """
    if heard_ms <= 0 or not transcript:
        return Heard("", estimated=False)
    if words:
        heard = [word.text for word in words if word.offset_ms + word.duration_ms / 2 <= heard_ms]
        return Heard(_cut_after(transcript, heard), estimated=False)
    if heard_ms >= total_ms:
        return Heard(transcript, estimated=True)
    target = round(len(transcript) * heard_ms / total_ms)
    ends = [match.end() for match in re.finditer(r"\S+", transcript) if match.end() <= target]
    return Heard(transcript[: ends[-1]] if ends else "", estimated=True)


def _cut_after(transcript: str, heard_words: Sequence[str]) -> str:
    """The transcript up to the last of the heard words, with the punctuation that clings to it."""
    position = 0
    for word in heard_words:
        found = transcript.find(word, position)
        if found >= 0:
            position = found + len(word)
    clinging = re.match(r"[^\w\s]*", transcript[position:])
    return transcript[: position + (clinging.end() if clinging and position else 0)]
