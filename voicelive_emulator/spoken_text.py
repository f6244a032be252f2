"""From written English to words as they are spoken: prices, numbers, times, abbreviations.

The phonemizer reads plain words and whole numbers well; what it does not ("$19.99" becomes "dollar
nineteen point nine nine") is written out here.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

_FIRST_PLACEHOLDER = 0xE000  # Unicode's private use area
_PLACEHOLDER = re.compile("[\ue000-\uf8ff]")

_CURRENCIES = {"$": ("dollar", "cent"), "€": ("euro", "cent"), "£": ("pound", "penny")}
_PLURALS = {"penny": "pence"}
_PER = {
    "mo": "a month",
    "month": "a month",
    "yr": "a year",
    "year": "a year",
    "week": "a week",
    "day": "a day",
}
_UNITS = {
    "GB": "gigabytes",
    "MB": "megabytes",
    "TB": "terabytes",
    "Gbps": "gigabits per second",
    "Mbps": "megabits per second",
    "kWh": "kilowatt hours",
    "km": "kilometers",
    "kg": "kilograms",
}
_ABBREVIATIONS = {
    "Dr.": "Doctor",
    "Mr.": "Mister",
    "Mrs.": "Missis",
    "Ms.": "Miz",
    "Prof.": "Professor",
    "Jr.": "Junior",
    "Sr.": "Senior",
    "vs.": "versus",
    "e.g.": "for example",
    "i.e.": "that is",
    "etc.": "et cetera",
    "approx.": "approximately",
    "Inc.": "Incorporated",
    "Ltd.": "Limited",
}
ABBREVIATIONS = frozenset({*_ABBREVIATIONS, "No."})
"""Words that end in a full stop without ending a sentence."""


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word as written, its punctuation included, and as spoken."""

    text: str
    spoken: str


def spoken_words(text: str) -> list[SpokenWord]:
    """Return the words of `text`; "$1.5 million" counts as one, since its parts are not said in order."""
    matches: list[re.Match[str]] = []

    def hide(match: re.Match[str]) -> str:
        matches.append(match)
        return chr(_FIRST_PLACEHOLDER + len(matches) - 1)

    def hidden(placeholder: re.Match[str]) -> re.Match[str]:
        return matches[ord(placeholder[0]) - _FIRST_PLACEHOLDER]

    def said(placeholder: re.Match[str]) -> str:
        match = hidden(placeholder)
        return f" {_RULES[str(match.lastgroup)][1](match)} "

    words: list[SpokenWord] = []
    for token in _PATTERN.sub(hide, _PLACEHOLDER.sub("", text)).split():
        written = _PLACEHOLDER.sub(lambda placeholder: hidden(placeholder)[0], token).strip()
        spoken = re.sub(r" (?=[.,!?;:])", "", " ".join(_PLACEHOLDER.sub(said, token).split()))
        if any(character.isalnum() for character in spoken):
            words.append(SpokenWord(written, spoken))
        elif words:  # a dash between words is a rest after the first
            words[-1] = SpokenWord(words[-1].text, words[-1].spoken + spoken)
    return words


def _count(number: str, unit: str) -> str:
    amount = number.replace(",", "")
    return f"{amount} {unit if amount == '1' else _PLURALS.get(unit, unit + 's')}"


def _price(match: re.Match[str]) -> str:
    unit, hundredth = _CURRENCIES[match["currency"]]
    whole, fraction, scale = match["whole"].replace(",", ""), match["fraction"] or "", match["scale"]
    per = f" {_PER.get(match['per'], 'per ' + match['per'])}" if match["per"] else ""
    if scale:
        return f"{whole}{'.' if fraction else ''}{fraction} {scale} {unit}s{per}"
    hundredths = int(fraction.ljust(2, "0")[:2]) if fraction else 0
    parts = []
    if int(whole) or not hundredths:
        parts.append(_count(whole, unit))
    if hundredths:
        parts.append(_count(str(hundredths), hundredth))
    return " and ".join(parts) + per


def _digits(match: re.Match[str]) -> str:
    """Say one digit at a time, with a short rest between groups."""
    return ", ".join(" ".join(group) for group in re.findall(r"\d+", match[0]))


def _time(match: re.Match[str]) -> str:
    hour, minute, half = match["hour"], match["minute"], match["half"]
    parts = [hour]
    if minute != "00":
        parts.append(f"oh {minute[1]}" if minute.startswith("0") else minute)
    elif not half:
        parts.append("o'clock")
    if half:
        parts.append(f"{half[0].upper()} M")
    return " ".join(parts)


_RULES: dict[str, tuple[str, Callable[[re.Match[str]], str]]] = {
    "price": (
        r"(?P<currency>[$€£])\s?(?P<whole>\d{1,3}(?:,\d{3})+|\d+)(?:\.(?P<fraction>\d+))?"
        r"(?:\s(?P<scale>thousand|million|billion)\b)?(?:/(?P<per>[a-z]+))?",
        _price,
    ),
    "phone": (
        r"(?<![\w-])(?:\+?\d{1,2}[- ])?(?:\(\d{3}\)\s?|\d{3}[-.])?\d{3}[-.]\d{4}(?![\w-])",
        _digits,
    ),
    "time": (
        r"\b(?P<hour>1?\d|2[0-4]):(?P<minute>[0-5]\d)\b(?:\s?(?P<half>[AaPp]\.[Mm]\.|[AaPp][Mm]\b))?",
        _time,
    ),
    "full_hour": (
        r"\b1?\d\s?(?:[AaPp]\.[Mm]\.|[AaPp][Mm]\b)",
        lambda match: "{} {} M".format(*re.findall(r"\d+|[AP]", match[0].upper())),
    ),
    "range": (
        r"(?<![\w.-])\d+\s?[-\u2013]\s?\d+(?![\w-])",
        lambda match: "{} to {}".format(*re.findall(r"\d+", match[0])),
    ),
    "thousands": (r"\b\d{1,3}(?:,\d{3})+(?!\d)", lambda match: match[0].replace(",", "")),
    "code": (r"(?<![\w.,-])(?:\d{5,}|0\d+)(?![\w%-]|[.,]\d)", _digits),
    "unit": (rf"(?<=\d)\s?(?:{'|'.join(_UNITS)})\b", lambda match: _UNITS[match[0].strip()]),
    "number": (r"\b[Nn]o\.\s?(?=\d)|#(?=\d)", lambda _: "number"),
    "abbreviation": (
        rf"(?<!\w)(?:{'|'.join(re.escape(short) for short in _ABBREVIATIONS)})",
        lambda match: _ABBREVIATIONS[match[0]],
    ),
    "around_the_clock": (r"\b24/7\b", lambda _: "24 7"),
    "ampersand": (r"&", lambda _: "and"),
    "rest": (r"\.\.\.+|\u2026|(?<!\S)-+(?!\S)|[\u2013\u2014]", lambda _: ","),
    "markup": (r"[*_`#~|<>\[\]{}\\]|[\u2190-\u2bff\U0001f000-\U0001faff\ufe0f\u200d]", lambda _: ""),
}
_PATTERN = re.compile("|".join(f"(?P<{name}>{pattern})" for name, (pattern, _) in _RULES.items()))
