"""However the bytes are cut, every message arrives once and in order, and the rest is picows' to judge."""

import asyncio
import struct
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.voicelive.message_reader import READ_BYTES, MessageReader, read_buffer

MAX_BYTES = 200_000

TEXT, BINARY, CONTINUATION, CLOSE, PING = 1, 2, 0, 8, 9
FINAL = 0x80


def frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    return (
        struct.pack("!BBH" if size < 65536 else "!BBQ", first, 126 if size < 65536 else 127, size) + payload
    )


class Picows(asyncio.BufferedProtocol):
    """The protocol behind: a small buffer, and all that came through it."""

    def __init__(self, log: list[tuple[str, bytes]]) -> None:
        self.told: list[str] = []
        self._log = log
        self._room = bytearray(100)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        if self._log and self._log[-1][0] == "picows":
            self._log[-1] = ("picows", self._log[-1][1] + self._room[:nbytes])
        else:
            self._log.append(("picows", bytes(self._room[:nbytes])))

    def eof_received(self) -> bool | None:
        self.told.append("eof")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append("lost")

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")


class Reading:
    """A reader, and in `log` what it made of the bytes: of ("message", payload) and ("picows", bytes)."""

    def __init__(self, buffer: memoryview | None = None) -> None:
        self.log: list[tuple[str, bytes]] = []
        self.picows = Picows(self.log)
        self.reader = MessageReader(self.picows, buffer or read_buffer(), self._note, MAX_BYTES)

    def _note(self, message: memoryview) -> None:
        self.log.append(("message", bytes(message)))

    def read(self, data: bytes) -> None:
        while data:
            room = self.reader.get_buffer(-1)
            count = min(len(room), len(data))
            room[:count] = data[:count]
            self.reader.buffer_updated(count)
            data = data[count:]


messages = st.tuples(
    st.sampled_from((TEXT, BINARY)), st.sampled_from((0, 1, 125, 126, 1_300, 65_535, 65_536, 90_000))
)
fragments = st.lists(st.sampled_from((0, 5, 70_000)), min_size=2, max_size=3)
controls = st.sampled_from((frame(FINAL | PING, b"p"), frame(FINAL | CLOSE, b"\x03\xe8")))


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[tuple[str, bytes]]]:
    """The bytes of a service, and what is to become of them."""
    stream = b""
    expected: list[tuple[str, bytes]] = []

    def to_picows(data: bytes) -> None:
        nonlocal stream
        stream += data
        if expected and expected[-1][0] == "picows":
            data = expected.pop()[1] + data
        expected.append(("picows", data))

    for number, part in enumerate(draw(st.lists(st.one_of(messages, fragments, controls), max_size=8))):
        filler = bytes((number + 1,))
        if isinstance(part, bytes):
            to_picows(part)
        elif isinstance(part, list):
            for at, size in enumerate(part):
                first = (CONTINUATION if at else TEXT) | (FINAL if at == len(part) - 1 else 0)
                to_picows(frame(first, filler * size))
        else:
            kind, size = part
            stream += frame(FINAL | kind, filler * size)
            expected.append(("message", filler * size))
    return stream, expected


class TestMessages:
    @given(stream=streams(), data=st.data())
    def test_each_arrives_once_and_in_order_however_the_stream_is_cut(
        self, stream: tuple[bytes, list[tuple[str, bytes]]], data: st.DataObject
    ) -> None:
        sent, expected = stream
        cuts = data.draw(st.lists(st.integers(0, len(sent)), max_size=20))
        reading = Reading()
        for begin, end in pairwise(sorted({0, len(sent), *cuts})):
            reading.read(sent[begin:end])
        assert reading.log == expected

    def test_byte_by_byte(self) -> None:
        reading = Reading()
        for byte in frame(FINAL | TEXT, b"a" * 126) + frame(FINAL | PING, b"") + frame(FINAL | BINARY, b"b"):
            reading.read(bytes((byte,)))
        assert reading.log == [
            ("message", b"a" * 126),
            ("picows", frame(FINAL | PING, b"")),
            ("message", b"b"),
        ]

    def test_two_connections_share_the_buffer(self) -> None:
        buffer = read_buffer()
        one, other = Reading(buffer), Reading(buffer)
        sent = frame(FINAL | TEXT, b"1" * 1_000), frame(FINAL | TEXT, b"2" * 1_000)
        for at in range(0, len(sent[0]), 100):
            one.read(sent[0][at : at + 100])
            other.read(sent[1][at : at + 100])
        assert one.log == [("message", b"1" * 1_000)]
        assert other.log == [("message", b"2" * 1_000)]

    def test_a_burst_leaves_nothing_behind(self) -> None:
        readings = [Reading(buffer) for buffer in [read_buffer()] for _ in range(10)]
        tracemalloc.start()
        try:
            for reading in readings:
                reading.read(frame(FINAL | TEXT, b"x" * 100_000) * 3)
                reading.log.clear()
            assert tracemalloc.get_traced_memory()[0] < READ_BYTES
        finally:
            tracemalloc.stop()


class TestWhatNoServerMaySend:
    @pytest.mark.parametrize(
        "strange",
        [
            bytes((FINAL | TEXT, 0x80)) + b"mask",
            struct.pack("!BBH", FINAL | TEXT, 126, 125) + b"x" * 125,
            struct.pack("!BBQ", FINAL | TEXT, 127, 65_535),
            struct.pack("!BBQ", FINAL | TEXT, 127, 1 << 63),
            struct.pack("!BBQ", FINAL | BINARY, 127, MAX_BYTES + 1),
            frame(FINAL | TEXT | 0x40, b"compressed"),
            frame(FINAL | 3, b"unknown kind"),
        ],
    )
    def test_it_is_for_picows_to_refuse(self, strange: bytes) -> None:
        reading = Reading()
        reading.read(frame(FINAL | TEXT, b"before") + strange)
        assert reading.log == [("message", b"before"), ("picows", strange)]

    def test_nothing_after_a_frame_too_large_is_taken_for_a_message(self) -> None:
        reading = Reading()
        large = struct.pack("!BBQ", FINAL | TEXT, 127, MAX_BYTES + 1)
        reading.read(large)
        reading.read(frame(FINAL | TEXT, b"payload of it") * 2)
        assert reading.log == [("picows", large + frame(FINAL | TEXT, b"payload of it") * 2)]

    def test_a_message_between_fragments_is_not_delivered(self) -> None:
        reading = Reading()
        sent = frame(TEXT, b"begin") + frame(FINAL | TEXT, b"intruder")
        reading.read(sent)
        assert reading.log == [("picows", sent)]


def test_picows_is_told_of_the_transport() -> None:
    reading = Reading()
    reading.reader.pause_writing()
    reading.reader.resume_writing()
    reading.reader.eof_received()
    reading.reader.connection_lost(None)
    assert reading.picows.told == ["pause", "resume", "eof", "lost"]
