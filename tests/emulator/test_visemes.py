"""Shapes of the mouth from spelling."""

import pytest

from voicelive_emulator.synthesis import Word
from voicelive_emulator.visemes import SILENCE, visemes


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        ("map", [21, 1, 21]),
        ("This,", [17, 6, 15]),
        ("phone", [18, 8, 19, 4]),
        ("\u2026", []),
    ],
)
def test_follow_the_letters_and_end_in_silence(text: str, shapes: list[int]) -> None:
    placed = visemes(Word(text, 1_000, 300))
    assert [shape for _, shape in placed] == [*shapes, SILENCE]
    assert [offset for offset, _ in placed] == sorted(offset for offset, _ in placed)
    assert placed[-1][0] == 1_300
    assert not shapes or placed[0][0] == 1_000
