"""Caller speech on its way to Voice Live: whole samples, in order, bounded. Pure."""

from typing import Final

from app.messages import BYTES_PER_MS

MAX_HELD_BYTES: Final = 10_000 * BYTES_PER_MS
"""Ten seconds, so that no first words are lost while the upstream session opens."""

MAX_CHUNK_BYTES: Final = 1_000 * BYTES_PER_MS


class CallerAudioBuffer:
    """The queue between the caller's socket and Voice Live's. PCM16 LE, 24 kHz, mono."""

    def __init__(self) -> None:
        self.refused_bytes = 0
        self._held = bytearray()
        self._odd_byte = b""

    def __bool__(self) -> bool:
        """Whether anything waits here."""
        return bool(self._held or self._odd_byte)

    def add(self, data: bytes | memoryview) -> None:
        """Take a frame; an odd byte is kept for the next one. When full, the newest is refused."""
        whole = len(data)
        if self._odd_byte or whole % 2:
            data = self._odd_byte + data
            whole = len(data) - len(data) % 2
            self._odd_byte = data[whole:]
        if len(self._held) + whole > MAX_HELD_BYTES:
            self.refused_bytes += whole
            return
        self._held += data[:whole]

    def break_off(self) -> None:
        """The caller's connection is lost: the other half of an odd byte never comes."""
        self._odd_byte = b""

    def __len__(self) -> int:
        """How many bytes wait that can be taken."""
        return len(self._held)

    def take(self, at_most: float = MAX_CHUNK_BYTES) -> bytes:
        """The oldest audio in whole samples, so many bytes and one second at most; empty for none."""
        size = int(min(at_most, MAX_CHUNK_BYTES)) // 2 * 2
        chunk = bytes(self._held[:size])
        del self._held[:size]
        return chunk
