"""What was heard: the transcript cut at a position in the audio."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.heard import Heard, SpokenWord, heard_part

TEXT = "Sure, it's 39 dollars a month. Shall I go on?"
WORDS = [SpokenWord(word, number * 500, 400) for number, word in enumerate(TEXT.split())]


@pytest.mark.parametrize(
    ("heard_ms", "text"),
    [
        (0, ""),
        (199, ""),
        (200, "Sure,"),
        (1250, "Sure, it's 39"),
        (2700, "Sure, it's 39 dollars a month."),
        (99_999, TEXT),
    ],
)
def test_a_word_is_heard_from_its_middle_on(heard_ms: int, text: str) -> None:
    assert heard_part(TEXT, WORDS, heard_ms, 5000) == Heard(text, estimated=False)


def test_words_without_punctuation_take_it_along() -> None:
    words = [SpokenWord(word.strip(",.?"), number * 500, 400) for number, word in enumerate(TEXT.split())]
    assert heard_part(TEXT, words, 2700, 5000).text == "Sure, it's 39 dollars a month."


@given(
    text=st.text(max_size=200),
    heard_ms=st.integers(0, 10_000),
    total_ms=st.integers(1, 10_000),
    words=st.lists(st.builds(SpokenWord, st.text(max_size=5), st.integers(0, 5000), st.integers(0, 500))),
)
def test_it_is_always_a_beginning_of_the_transcript(
    text: str, heard_ms: int, total_ms: int, words: list[SpokenWord]
) -> None:
    part = heard_part(text, words, heard_ms, total_ms)
    assert text.startswith(part.text)


def test_an_estimate_ends_at_a_word() -> None:
    assert heard_part("one two three four", [], 2000, 4000) == Heard("one two", estimated=True)
    assert heard_part("one two three four", [], 9000, 4000) == Heard("one two three four", estimated=True)
