"""Written text as it is said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicelive_emulator.spoken_text import spoken_words


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("Plain words, unchanged.", "Plain words, unchanged."),
        ("It is $19.99.", "It is 19 dollars and 99 cents."),
        ("$1 or $5", "1 dollar or 5 dollars"),
        ("$0.99", "99 cents"),
        ("$1.01", "1 dollar and 1 cent"),
        ("$1,200/year", "1200 dollars a year"),
        ("$19/month", "19 dollars a month"),
        ("$1.5 million!", "1.5 million dollars!"),
        ("€3.50 and £1.02", "3 euros and 50 cents and 1 pound and 2 pence"),
        ("1,234,567 homes", "1234567 homes"),
        ("555-214-9876,", "5 5 5, 2 1 4, 9 8 7 6,"),
        ("(555) 214-9876", "5 5 5, 2 1 4, 9 8 7 6"),
        ("ZIP 94107", "ZIP 9 4 1 0 7"),
        ("007", "0 0 7"),
        ("5-10 days", "5 to 10 days"),
        ("at 3:30 pm", "at 3 30 P M"),
        ("at 9:05", "at 9 oh 5"),
        ("at 12:00", "at 12 o'clock"),
        ("at 3 p.m. today", "at 3 P M today"),
        ("24/7", "24 7"),
        ("500 Mbps", "500 megabits per second"),
        ("Dr. Miller & Sons, e.g.", "Doctor Miller and Sons, for example"),
        ("No. 5 and #7", "number 5 and number 7"),
        ("No. I do not.", "No. I do not."),
        ("Well... yes", "Well, yes"),
        ("yes - no", "yes, no"),
        ("*bold* and `code` 😀", "bold and code"),
    ],
)
def test_examples(text: str, spoken: str) -> None:
    assert " ".join(word.spoken for word in spoken_words(text)) == spoken


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It is $19.99, all in.", ["It", "is", "$19.99,", "all", "in."]),
        ("$1.5 million more", ["$1.5 million", "more"]),
        ("yes - no", ["yes", "no"]),
        ("... 😀", []),
        ("", []),
    ],
)
def test_words_as_written(text: str, words: list[str]) -> None:
    assert [word.text for word in spoken_words(text)] == words


@given(st.text() | st.text(alphabet="$€1290.,:-/ apm#No"))
def test_any_text_can_be_said(text: str) -> None:
    for word in spoken_words(text):
        assert word.text.strip() == word.text != ""
        assert any(character.isalnum() for character in word.spoken)
