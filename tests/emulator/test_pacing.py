"""When audio is sent."""

import pytest

from voicelive_emulator.pacing import Pacer


def test_without_a_pace_nothing_waits() -> None:
    assert [Pacer(0).wait_s(100, 0.0) for _ in range(3)] == [0.0] * 3


@pytest.mark.parametrize(("pace", "step_s"), [(1, 0.1), (2, 0.05), (0.5, 0.2)])
def test_each_piece_waits_until_those_before_were_played(pace: float, step_s: float) -> None:
    pacer = Pacer(pace)
    assert [pacer.wait_s(100, 5.0) for _ in range(4)] == pytest.approx([n * step_s for n in range(4)])


def test_what_was_made_late_is_sent_at_once() -> None:
    pacer = Pacer(1)
    assert pacer.wait_s(100, 0.0) == 0.0
    assert pacer.wait_s(100, 3.0) == 0.0
    assert pacer.wait_s(100, 3.0) == 0.0
