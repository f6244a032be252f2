"""Caller speech on its way to Voice Live: whole samples, in order, bounded."""

from hypothesis import given
from hypothesis import strategies as st

from app.caller_audio import MAX_CHUNK_BYTES, MAX_HELD_BYTES, CallerAudioBuffer


@given(st.lists(st.binary(max_size=9), max_size=30))
def test_frames_of_any_length_give_whole_samples_in_order(frames: list[bytes]) -> None:
    buffer = CallerAudioBuffer()
    taken = b""
    for frame in frames:
        buffer.add(frame)
        chunk = buffer.take()
        assert len(chunk) % 2 == 0
        taken += chunk
    said = b"".join(frames)
    assert taken == said[: len(said) // 2 * 2]
    assert buffer.take() == b""


def test_a_caller_who_comes_back_begins_with_a_whole_sample() -> None:
    buffer = CallerAudioBuffer()
    buffer.add(b"\x01\x01\x02")
    buffer.break_off()
    buffer.add(b"\x03\x03")
    assert buffer.take() == b"\x01\x01\x03\x03"


def test_the_newest_is_refused_when_ten_seconds_are_held() -> None:
    buffer = CallerAudioBuffer()
    buffer.add(b"\x01" * (MAX_HELD_BYTES - 2))
    buffer.add(b"\x02" * 4)
    buffer.add(b"\x03" * 2)
    assert buffer.refused_bytes == 4
    chunks = []
    while chunk := buffer.take():
        assert len(chunk) <= MAX_CHUNK_BYTES
        chunks.append(chunk)
    assert b"".join(chunks) == b"\x01" * (MAX_HELD_BYTES - 2) + b"\x03" * 2
