"""How fast caller speech goes on, in virtual time."""

import math

from hypothesis import given
from hypothesis import strategies as st

from app.caller_pace import FORGIVEN_S, STEP_MS, SUSTAINED_S, CallerAudioPace
from app.messages import BYTES_PER_MS

RATE = 1.25
BYTES_PER_S = 1000 * BYTES_PER_MS
FRAME = 20 * BYTES_PER_MS


class Line:
    """Sends what the pace lets through, as the gateway does; the clock is read when it must be."""

    def __init__(self, rate: float = RATE) -> None:
        self.pace = CallerAudioPace(rate, 0.0)
        self.waiting = 0
        self.sent: list[tuple[float, int]] = []
        self.clock_reads = 0

    def hear(self, now: float, size: int) -> None:
        self.waiting += size
        if self.waiting > self.pace.allowance:
            self.clock_reads += 1
            self.pace.refill(now)
        self.flush(now)

    def flush(self, now: float) -> None:
        size = int(min(self.waiting, self.pace.allowance))
        if size:
            self.pace.allowance -= size
            self.waiting -= size
            self.sent.append((now, size))


@given(
    st.lists(
        st.tuples(st.floats(0, 1.0), st.integers(0, 64 * 1024)),
        min_size=1,
        max_size=200,
    )
)
def test_in_no_five_seconds_goes_on_more_than_1_3_times_real_time(frames: list[tuple[float, int]]) -> None:
    line, now = Line(), 0.0
    for pause_s, size in frames:
        now += pause_s
        line.hear(now, size)
    for first, _ in line.sent:
        within = sum(size for at, size in line.sent if first <= at < first + 5)
        assert within <= 1.3 * 5 * BYTES_PER_S


@given(st.lists(st.floats(0, 0.1), min_size=50, max_size=500))
def test_speech_in_real_time_is_never_held_up_by_more_than_its_own_jitter(jitter: list[float]) -> None:
    """Frames of 20 ms that arrive up to 100 ms late."""
    line = Line()
    arrivals = sorted(number * 0.02 + late for number, late in enumerate(jitter))
    for at in arrivals:
        line.hear(at, FRAME)
        assert line.waiting <= 6 * FRAME
    assert line.clock_reads <= len(jitter) / 2 + 10


def test_without_jitter_it_goes_straight_through_and_hardly_asks_the_clock() -> None:
    line = Line()
    for number in range(3_000):
        line.hear(number * 0.02, FRAME)
        assert line.waiting == 0
    assert line.clock_reads <= 3_000 / 5


def test_what_was_said_before_the_session_goes_on_at_once() -> None:
    pace = CallerAudioPace(RATE, 0.0)
    pace.catch_up(2.0)
    assert pace.allowance >= 2 * BYTES_PER_S
    pace.refill(2.0)
    assert pace.allowance == STEP_MS * BYTES_PER_MS


def test_waiting_speech_knows_when_it_may_go() -> None:
    pace = CallerAudioPace(RATE, 0.0)
    pace.allowance = 0
    wait_s = pace.wait_s(10 * FRAME)
    pace.refill(wait_s)
    assert pace.allowance >= STEP_MS * BYTES_PER_MS - 1


def test_zero_is_no_limit() -> None:
    pace = CallerAudioPace(0, 0.0)
    pace.allowance -= 1e12
    pace.refill(1.0)
    pace.catch_up(2.0)
    assert pace.allowance == math.inf


def test_who_has_to_be_stopped_again_and_again_is_too_fast() -> None:
    pace = CallerAudioPace(RATE, 0.0)
    stops = [number * 2.0 for number in range(10)]
    assert [pace.stopped(now) for now in stops] == [now >= SUSTAINED_S for now in stops]


def test_who_was_stopped_long_ago_is_forgiven() -> None:
    pace = CallerAudioPace(RATE, 0.0)
    assert not any(pace.stopped(number * (FORGIVEN_S + 0.1)) for number in range(20))
