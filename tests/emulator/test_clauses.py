"""Where an answer may be cut to be spoken."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicelive_emulator.synthesis import split_clauses


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("", []),
        ("Hello.", ["Hello."]),
        ("Sure, one moment, please.", ["Sure, one moment, ", "please."]),
        ("No problem, I will take you off our list.", ["No problem, ", "I will take you off our list."]),
        ("Okay. Great! Shall we?", ["Okay. ", "Great! ", "Shall we?"]),
        ("It is $19.99, all in.", ["It is $19.99, ", "all in."]),
        ("You save $1,200, really.", ["You save $1,200, ", "really."]),
        ("Dr. Smith and J. Doe, e.g. today, agree.", ["Dr. Smith and J. Doe, ", "e.g. today, agree."]),
        ('She said "yes." Then she left.', ['She said "yes." ', "Then she left."]),
        ("One line\nand the next", ["One line\n", "and the next"]),
        ("  Well, yes.  ", ["  Well, yes.  "]),
        (
            "We offer you a very fast connection at home with our best service and no setup fee.",
            ["We offer you a very fast connection at home with our best service and no setup fee."],
        ),
        (
            "I will pass you over to a colleague for a talk about the contract that you have now.",
            ["I will pass you over to a colleague for a talk about the contract that you have now."],
        ),
        (
            "We have a plan with everything that you asked for and a price that you will like.",
            ["We have a plan ", "with everything that you asked for and a price that you will like."],
        ),
    ],
)
def test_examples(text: str, clauses: list[str]) -> None:
    assert split_clauses(text) == clauses


@given(st.text() | st.text(alphabet="ab 1.,!?$\n-:;"))
def test_nothing_is_lost(text: str) -> None:
    clauses = split_clauses(text)
    assert "".join(clauses) == text
    assert all(clauses)


@pytest.mark.parametrize("text", ["word " * 1_000, "x" * 1_000, "one, " + "word " * 200 + "$1,200 " * 100])
def test_no_clause_is_endless(text: str) -> None:
    clauses = split_clauses(text)
    assert "".join(clauses) == text
    assert max(map(len, clauses)) <= 300
    assert text.count(" ") == 0 or [word for clause in clauses for word in clause.split()] == text.split()


words = st.sampled_from(
    ["yes", "$19.99", "1,200", "3:30", "Dr.", "e.g.", "555-214-9876", "ok,", "fine.", "why?", "No."]
)


@given(st.lists(words, min_size=1, max_size=30))
def test_words_stay_whole(spoken: list[str]) -> None:
    clauses = split_clauses(" ".join(spoken))
    assert [word for clause in clauses for word in clause.split()] == spoken
    assert not any(re.search(r"(Dr|e\.g)\.$", clause.strip()) for clause in clauses[:-1])
