"""Reads of all Voice Live sockets of a process through one buffer.

picows gives each connection a read buffer of its own, which grows with the largest burst that ever came and
does not shrink: a greeting of a second leaves 57 KiB behind, for as long as the call lasts. A `MessageReader`
takes the reads over: what is complete when it is read needs no memory of the connection.

Messages of one frame, which nearly all are, are delivered from here. Everything else goes on to picows, which
knows the rules of RFC 6455 and answers.
"""

import asyncio
import struct
from collections.abc import Callable
from typing import Final

READ_BYTES: Final = 64 * 1024

_WHOLE_MESSAGES: Final = (0x81, 0x82)
"""First byte of a frame that is a whole text or binary message."""

_CONTROL: Final = 0x08
_FINAL: Final = 0x80
_MEDIUM: Final = 126
_LONG: Final = 127
_medium_length: Final = struct.Struct("!H").unpack_from
_long_length: Final = struct.Struct("!Q").unpack_from


def read_buffer() -> memoryview:
    """A buffer for the connections of one event loop: in use only while one of them is being read."""
    return memoryview(bytearray(READ_BYTES))


class MessageReader(asyncio.BufferedProtocol):
    """The protocol of a connection's transport, before the one of picows that shook hands."""

    __slots__ = (
        "_buffer",
        "_fragmented",
        "_max_bytes",
        "_on_message",
        "_picows",
        "_rest",
        "_strange",
        "_wanted",
    )

    def __init__(
        self,
        picows: asyncio.BufferedProtocol,
        buffer: memoryview,
        on_message: Callable[[memoryview], None],
        max_bytes: int,
    ) -> None:
        """`picows` must have read whole frames so far; it refuses messages of more than `max_bytes`.

        What is given to `on_message`, which must not raise, is valid during that call only.
        """
        self._picows = picows
        self._buffer = buffer
        self._on_message = on_message
        self._max_bytes = max_bytes
        self._rest: bytearray | None = None
        """The beginning of a frame, worth a look when it has `_wanted` bytes."""

        self._wanted = 0
        self._fragmented = False
        self._strange = False

    # --------------------------------------------------------------------------------- from the transport

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """Where to read to."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes were read."""
        data = self._buffer[:nbytes]
        if self._rest is not None:
            self._rest += data
            if len(self._rest) < self._wanted:
                return
            data, self._rest = memoryview(self._rest), None
        start, size = 0, len(data)
        while start < size and not self._strange:
            begin, end = self._frame_at(data, start)
            if end > size:
                self._rest, self._wanted = bytearray(data[start:]), end - start
                return
            kind = data[start]
            if kind in _WHOLE_MESSAGES and not self._fragmented and not self._strange:
                self._on_message(data[begin:end])
            else:
                if not kind & _CONTROL:
                    self._fragmented = not kind & _FINAL
                self._pass_on(data[start:end])
            start = end
        if start < size:
            self._pass_on(data[start:])

    def eof_received(self) -> bool | None:
        """The service sends nothing more."""
        return self._picows.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is no more."""
        self._picows.connection_lost(exc)

    def pause_writing(self) -> None:
        """The service does not keep up."""
        self._picows.pause_writing()

    def resume_writing(self) -> None:
        """The service has caught up."""
        self._picows.resume_writing()

    # --------------------------------------------------------------------------------------------- frames

    def _frame_at(self, data: memoryview, start: int) -> tuple[int, int]:
        """Where the payload of the frame at `start` begins and ends; beyond `data` where not all is there.

        From a frame on that no server may send, or that is too large, everything is strange.
        """
        begin = start + 2
        try:
            length = data[start + 1]
            valid = length < _MEDIUM
            if length == _MEDIUM:
                (length,) = _medium_length(data, begin)
                begin += 2
                valid = length >= _MEDIUM
            elif length == _LONG:
                (length,) = _long_length(data, begin)
                begin += 8
                valid = length > 0xFFFF
        except (IndexError, struct.error):
            return begin, len(data) + 1  # the next byte may tell
        if not valid or length > self._max_bytes:
            self._strange = True
            return start, len(data)
        return begin, begin + length

    def _pass_on(self, data: memoryview) -> None:
        while data:
            room = memoryview(self._picows.get_buffer(-1))
            count = min(len(room), len(data))
            room[:count] = data[:count]
            self._picows.buffer_updated(count)
            data = data[count:]
