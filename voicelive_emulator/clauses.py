"""Text into clauses, the units that are spoken one after the other."""

import re
from collections.abc import Iterator

from voicelive_emulator.spoken_text import ABBREVIATIONS

_FIRST_CLAUSE_WORDS = 2
_NEXT_CLAUSE_WORDS = 4
_LONGEST_FIRST_CLAUSE_WORDS = 12
_EARLIEST_PHRASE_END, _LATEST_PHRASE_END = 3, 6
_LONGEST_CLAUSE = 300
_BREAK = re.compile(
    r"""[.!?,;:\u2026\u2013\u2014]+["')\]\u2019\u201d]*\s+ | \s[-\u2013\u2014]+\s+ | \n\s*""", re.VERBOSE
)
_INITIAL = re.compile(r"[A-Z]\.")
_PHRASE_OPENERS = frozenset(
    {"and", "or", "but", "so", "because", "that", "which", "who", "if", "when", "while", "where"}
    | {"for", "with", "without", "from", "at", "by", "in", "on", "about", "after", "before", "until"}
)


def split_clauses(text: str) -> list[str]:
    """Split text into clauses to speak one after the other; joined they are the text again.

    Clauses end at punctuation, never inside a number, price or abbreviation. The first is short, so
    that it is known and heard soon: without early punctuation it ends before a word that opens a phrase.
    No clause is longer than 300 characters, since all of it has to be planned before it is heard.
    """
    clauses: list[str] = []
    pending = ""
    for piece in _pieces(text):
        pending += piece
        fewest = _NEXT_CLAUSE_WORDS if clauses else _FIRST_CLAUSE_WORDS
        if len(pending.split()) >= fewest or _ends_sentence(piece):
            clauses.append(pending)
            pending = ""
    if pending.strip() or not clauses:
        clauses.append(pending)
    else:
        clauses[-1] += pending
    return [part for clause in (*_split_first(clauses[0]), *clauses[1:]) for part in _bounded(clause) if part]


def _pieces(text: str) -> Iterator[str]:
    start = 0
    for match in _BREAK.finditer(text):
        words = text[start : match.end()].split()
        if words and words[-1] not in ABBREVIATIONS and not _INITIAL.fullmatch(words[-1]):
            yield text[start : match.end()]
            start = match.end()
    yield text[start:]


def _ends_sentence(piece: str) -> bool:
    return piece.rstrip().rstrip("\"')]\u2019\u201d").endswith((".", "!", "?"))


def _split_first(clause: str) -> Iterator[str]:
    words = re.findall(r"\s*\S+\s*", clause)
    openers = [
        i
        for i in range(_EARLIEST_PHRASE_END, _LATEST_PHRASE_END + 1)
        if len(words) > _LONGEST_FIRST_CLAUSE_WORDS and words[i].strip().lower() in _PHRASE_OPENERS
    ]
    cut = len("".join(words[: openers[0]])) if openers else len(clause)
    yield clause[:cut]
    yield clause[cut:]


def _bounded(clause: str) -> Iterator[str]:
    while len(clause) > _LONGEST_CLAUSE:
        # Without a space in sight even a word is cut.
        cut = clause.rfind(" ", 0, _LONGEST_CLAUSE) + 1 or _LONGEST_CLAUSE
        yield clause[:cut]
        clause = clause[cut:]
    yield clause
