"""Frames of a client as bytes: where one ends, and how many are too many. Pure; RFC 6455, section 5.2."""

import struct
from collections.abc import Callable
from typing import Final

BINARY_MESSAGE: Final = 0x82
"""First byte of a binary message in one frame."""

TEXT_MESSAGE: Final = 0x81
"""The same of a text message."""

MEDIUM_HEAD: Final = struct.Struct("!HH")
"""The first two bytes of a frame of 126 to 65,535 bytes, and its length."""

MEDIUM_BINARY: Final = BINARY_MESSAGE << 8 | 0x80 | 126
"""The first two bytes of a binary message of that length, masked, in one frame."""

CONTROL: Final = 0x08
"""Set in the first byte of pings, pongs and closes."""


class InvalidFrameError(Exception):
    """The frame is not masked, or longer than it may be: what comes after it cannot be made sense of."""


def end_of_frame(data: bytes, start: int, max_bytes: int) -> int | None:
    """Where the frame that begins at `start` ends; None while that cannot be known or is not there yet.

    Raises InvalidFrameError.
    """
    if len(data) - start < 2:
        return None
    second = data[start + 1]
    length = second & 0x7F
    body = start + 6
    if length == 126:
        body += 2
        length = int.from_bytes(data[start + 2 : start + 4], "big")
    elif length == 127:
        body += 8
        length = int.from_bytes(data[start + 2 : start + 10], "big")
    if second < 0x80:
        raise InvalidFrameError
    if len(data) < body:
        return None
    if length > max_bytes:
        raise InvalidFrameError
    return body + length if body + length <= len(data) else None


class Allowance:
    """How many frames a client may send: `per_second` for ever, and `burst` at once after a pause."""

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float]) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left = burst
        self._clock = clock
        self._refilled_at = clock()

    def take(self) -> bool:
        """Count one frame; False when it is one too many. The clock is read only when the rest is used up."""
        self._left -= 1
        if self._left >= 0:
            return True
        now = self._clock()
        self._left = min(self._burst, int((now - self._refilled_at) * self._per_second)) - 1
        self._refilled_at = now
        return self._left >= 0
