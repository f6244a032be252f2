"""Where a frame ends, and how many are too many."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.websocket.client_frames import Allowance, InvalidFrameError, end_of_frame, frame_run, is_counted
from tests.websocket.raw_client import BINARY, CONTINUATION, TEXT, frame

MAX_BYTES = 70_000


@given(st.integers(0, MAX_BYTES), st.binary(max_size=20), st.binary(max_size=20), st.integers(0, 15))
def test_a_whole_frame_ends_where_it_ends(length: int, before: bytes, after: bytes, opcode: int) -> None:
    one = frame(opcode, bytes(length))
    assert end_of_frame(before + one + after, len(before), MAX_BYTES) == len(before) + len(one)


@given(st.integers(0, 70_000), st.data())
def test_a_part_of_one_does_not_end(length: int, data: st.DataObject) -> None:
    one = frame(BINARY, bytes(length))
    cut = data.draw(st.integers(0, len(one) - 1))
    assert end_of_frame(one[:cut], 0, MAX_BYTES) is None


@given(st.integers(1, 30), st.integers(480, 1_500), st.integers(1, 20_000), st.data())
def test_a_run_ends_at_another_frame_at_the_bound_and_at_a_cut(
    count: int, length: int, max_bytes: int, data: st.DataObject
) -> None:
    payloads = [bytes([number]) * length for number in range(count)]
    one = frame(BINARY, payloads[0])
    size = len(one)
    other = frame(BINARY, b"x" * 479)
    rest = data.draw(st.sampled_from([b"", one[: data.draw(st.integers(1, size - 1))], other]))
    stream = b"before" + b"".join(frame(BINARY, payload) for payload in payloads) + rest
    run = frame_run(one[:4])
    taken, stop = run.take(stream, 6, max_bytes)
    whole = max(1, min(count, max_bytes // size))
    assert taken == b"".join(payloads[:whole])
    assert stop == 6 + whole * size
    assert run.is_cut_off(stream, stop) == (whole == count and rest is not other)


def test_only_large_binary_messages_in_one_frame_are_free() -> None:
    free = [frame(BINARY, bytes(length)) for length in (480, 960, 65_536)]
    counted = [
        *(frame(BINARY, bytes(length)) for length in (0, 1, 125, 479)),
        frame(TEXT, bytes(960)),
        frame(BINARY, bytes(960), fin=False),
        frame(CONTINUATION, bytes(960)),
    ]
    assert not any(is_counted(one, 0, len(one)) for one in free)
    assert all(is_counted(one, 0, len(one)) for one in counted)


@pytest.mark.parametrize("length", [MAX_BYTES + 1, 1 << 40, (1 << 64) - 1])
def test_too_long_is_known_by_its_head(length: int) -> None:
    with pytest.raises(InvalidFrameError):
        end_of_frame(b"\x82\xff" + length.to_bytes(8, "big") + b"mask", 0, MAX_BYTES)


def test_unmasked_is_known_by_its_head() -> None:
    with pytest.raises(InvalidFrameError):
        end_of_frame(frame(BINARY, b"x", masked=False), 0, MAX_BYTES)


def taken(allowance: Allowance) -> int:
    count = 0
    while allowance.take():
        count += 1
    return count


def test_an_allowance_is_a_burst_and_then_a_rate() -> None:
    now = 0.0
    allowance = Allowance(10, 100, lambda: now)
    assert taken(allowance) == 100
    now = 5.0
    assert taken(allowance) == 50
    now = 1000.0
    assert taken(allowance) == 100


@given(st.lists(st.floats(0, 2), min_size=1, max_size=300))
def test_no_pattern_takes_more_than_burst_and_rate(gaps: list[float]) -> None:
    now = 0.0
    allowance = Allowance(10, 20, lambda: now)
    count = 0
    for gap in gaps:
        now += gap
        count += allowance.take()
    assert count <= 2 * 20 + 10 * now


@given(st.integers(1, 9))
def test_who_keeps_below_the_rate_is_never_refused(per_second: int) -> None:
    now = 0.0
    allowance = Allowance(10, 20, lambda: now)
    for _ in range(500):
        now += 1 / per_second
        assert allowance.take()
