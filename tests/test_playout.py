"""Playout: order, pace, play clock, bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.messages import AgentAudioEnd
from app.playout import (
    MAX_FRAME_BYTES,
    MAX_HELD_BYTES,
    NEVER,
    Playout,
    PlayoutOverflowError,
)

MS = 48


def release_all(playout: Playout, now: float) -> bytes:
    released = b""
    while (held := playout.release(now)) is not None:
        if isinstance(held, bytes):
            released += held
    return released


class TestPace:
    @given(
        chunks=st.lists(st.integers(1, 3000), min_size=1, max_size=10),
        steps=st.lists(st.floats(0.001, 0.5), max_size=40),
        lead_ms=st.integers(1, 2000),
    )
    def test_never_more_than_the_lead_and_one_frame_ahead(
        self, chunks: list[int], steps: list[float], lead_ms: int
    ) -> None:
        playout, now, sent = Playout(lead_ms), 50.0, 0
        for ms in chunks:
            playout.add_audio("r", bytes(ms * MS))
        for step in [0.0, *steps]:
            now += step
            sent += len(release_all(playout, now))
            ahead_ms = playout.released_ms("r") - playout.played_ms("r", now)
            assert ahead_ms <= lead_ms + MAX_FRAME_BYTES // MS + 1

    @given(
        chunks=st.lists(
            st.binary(min_size=2, max_size=20_000).map(lambda b: b[: len(b) // 2 * 2]), max_size=8
        )
    )
    def test_every_byte_is_released_once_and_in_order(self, chunks: list[bytes]) -> None:
        playout, now, released = Playout(100), 1.0, b""
        for chunk in chunks:
            playout.add_audio("r", chunk)
        for _ in range(10_000):
            if (due := playout.next_release_at()) == NEVER:
                break
            now = max(now, due)
            released += release_all(playout, now)
        assert released == b"".join(chunks)

    def test_the_wake_up_it_asks_for_is_never_in_vain(self) -> None:
        playout, now = Playout(1000), 12345.678
        playout.add_audio("r", bytes(60_000 * MS))
        release_all(playout, now)
        for _ in range(100):
            due = playout.next_release_at()
            assert now < due < NEVER
            now = due
            assert release_all(playout, now)

    def test_a_message_keeps_its_place(self) -> None:
        playout = Playout(0)
        playout.add_audio("r", bytes(2 * MS))
        playout.add_message("r", AgentAudioEnd("r", 2))
        playout.add_audio("s", bytes(2 * MS))
        order = [playout.release(0.0) for _ in range(3)]
        assert [type(held) for held in order] == [bytes, AgentAudioEnd, bytes]


class TestPlayClock:
    def test_it_stands_still_while_nothing_is_there_to_play(self) -> None:
        playout = Playout(1000)
        playout.add_audio("r", bytes(100 * MS))
        release_all(playout, 10.0)
        assert playout.played_ms("r", 10.05) == 50
        assert playout.played_ms("r", 20.0) == 100
        playout.add_audio("r", bytes(100 * MS))
        release_all(playout, 20.0)
        assert playout.played_ms("r", 20.03) == 130

    def test_the_second_response_begins_when_the_first_has_been_played(self) -> None:
        playout = Playout(0)
        playout.add_audio("r", bytes(1000 * MS))
        playout.add_audio("s", bytes(1000 * MS))
        release_all(playout, 0.0)
        assert (playout.played_ms("r", 0.5), playout.played_ms("s", 0.5)) == (500, 0)
        assert (playout.played_ms("r", 1.5), playout.played_ms("s", 1.5)) == (1000, 500)

    def test_what_was_never_released_was_never_played(self) -> None:
        playout = Playout(100)
        playout.add_audio("r", bytes(10_000 * MS))
        release_all(playout, 0.0)
        assert playout.played_ms("r", 60.0) == playout.released_ms("r") < 10_000


class TestClear:
    def test_what_is_held_is_dropped_and_the_pace_begins_anew(self) -> None:
        playout = Playout(100)
        playout.add_audio("r", bytes(10_000 * MS))
        release_all(playout, 0.0)
        playout.clear(0.05)
        assert playout.next_release_at() == NEVER
        playout.add_audio("s", bytes(100 * MS))
        assert release_all(playout, 0.05) == bytes(100 * MS)

    def test_more_than_can_be_held_is_refused(self) -> None:
        playout = Playout(1000)
        playout.add_audio("r", bytes(MAX_HELD_BYTES))
        with pytest.raises(PlayoutOverflowError):
            playout.add_audio("r", bytes(2))
