"""Frames of a client as bytes: where one ends, and how many are too many. Pure; RFC 6455, section 5.2."""

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from websockets.frames import apply_mask  # type: ignore[attr-defined]

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

UNCOUNTED_BYTES: Final = 480
"""A binary message of 10 ms and more, in one frame, is limited as audio, by the call."""

_MEDIUM_HEADER_BYTES: Final = 8


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


def is_counted(data: bytes, start: int, stop: int) -> bool:
    """Whether the frame counts as a message: all do but large binary messages in one frame."""
    return data[start] != BINARY_MESSAGE or stop - start < _MEDIUM_HEADER_BYTES + UNCOUNTED_BYTES


class FrameRun:
    """Large binary messages of one length, as audio comes: those that came together are unmasked together."""

    __slots__ = ("_frame", "frame_bytes", "head", "split")

    def __init__(self, head: bytes) -> None:
        self.head: Final = head
        """The first four bytes of each frame: MEDIUM_BINARY and the length."""

        self._frame = struct.Struct(f"4s4s{int.from_bytes(head[2:], 'big')}s")
        self.frame_bytes: Final = self._frame.size
        self.split: Final = self._frame.unpack
        """Head, masking key and masked payload of `frame_bytes` bytes."""

    def take(self, data: bytes, start: int, max_bytes: int) -> tuple[bytes, int]:
        """The payloads of the frames that follow each other from `start` on, joined, and where they end.

        The first one must be whole, and is taken in any case.
        """
        size = self.frame_bytes
        frames = max(1, min(len(data) - start, max_bytes) // size)
        payloads = []
        for head, key, masked in self._frame.iter_unpack(memoryview(data)[start : start + frames * size]):
            if head != self.head:
                break
            payloads.append(apply_mask(masked, key))
        return b"".join(payloads), start + len(payloads) * size

    def is_cut_off(self, data: bytes, start: int) -> bool:
        """Whether what is left from `start` on is nothing, or part of one more such frame."""
        return len(data) - start < self.frame_bytes and self.head.startswith(data[start : start + 4])


frame_run = lru_cache(maxsize=64)(FrameRun)
"""The same one for all clients that send the same length."""


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
