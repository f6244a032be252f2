"""Whether a caller is done, by sound and by words."""

import pytest

from voicelive_emulator.completeness import completeness
from voicelive_emulator.turn_detection import Completeness

COMPLETE, PERHAPS, INCOMPLETE = Completeness


@pytest.mark.parametrize(
    ("probability", "text", "verdict"),
    [
        (0.9, "How much does it cost?", COMPLETE),
        (0.9, "My number is 555", COMPLETE),
        (0.9, "", COMPLETE),
        (0.9, "What is it for?", COMPLETE),
        (0.9, "I would like to know if", INCOMPLETE),
        (0.9, "My name is.", INCOMPLETE),
        (0.9, "I pay fifty dollars and...", INCOMPLETE),
        (0.9, "We have, um", INCOMPLETE),
        (0.1, "We are four people at home.", PERHAPS),
        (0.1, "Is there a contract?", PERHAPS),
        (0.1, "Yes.", PERHAPS),
        (0.1, "Hand me the band", INCOMPLETE),
        (0.1, "My number is 555.", INCOMPLETE),
        (0.1, "It is spelled T, H, O, M.", INCOMPLETE),
        (0.1, "five five", INCOMPLETE),
        (0.1, "", INCOMPLETE),
    ],
)
def test_sound_and_words_decide_together(probability: float, text: str, verdict: Completeness) -> None:
    assert completeness(probability, 0.5, text) is verdict


def test_the_threshold_is_that_of_the_session() -> None:
    assert completeness(0.4, 0.3, "Certainly.") is COMPLETE
    assert completeness(0.6, 0.7, "Certainly.") is PERHAPS
