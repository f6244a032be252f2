"""A caller's microphone: recorded speech, sent in real time, with silence before and after it.

An open microphone never stops sending, which is what turn detection on the other side relies on.
"""

import asyncio
from collections import deque
from typing import Final

from voicelive_client.call import VoiceLiveCall
from voicelive_client.speech import FRAME_MS, SILENT_FRAME, Frame, frames_of

_PAUSE_S: Final = 0.2
"""Shorter gaps belong to the flow of speech."""


class Microphone:
    """Sends one 20 ms frame every 20 ms on a call, speech when there is some to say."""

    def __init__(self, call: VoiceLiveCall) -> None:
        self._call = call
        self._speech: deque[Frame] = deque()
        self._last_sound_at: float | None = None
        self._paused_at: float | None = None

    @property
    def speaking(self) -> bool:
        """Whether there is still something to say."""
        return bool(self._speech)

    @property
    def last_sound_at(self) -> float | None:
        """When the last frame with a sound in it was sent (time of the event loop)."""
        return self._last_sound_at

    def fell_silent_at(self, now: float) -> float | None:
        """When the last pause in the speech began, which may be over again; None before the first sound."""
        in_flow = self._last_sound_at is not None and now - self._last_sound_at < _PAUSE_S
        return self._paused_at if in_flow and self._paused_at is not None else self._last_sound_at

    def say(self, pcm: bytes) -> None:
        """Speaks `pcm` (PCM16, 24 kHz, mono) after what is still to be said."""
        self._speech.extend(frames_of(pcm))

    async def run(self) -> None:
        """Sends until cancelled. Frames follow a fixed schedule; late ones are sent at once.

        Raises CallClosedError when the call is over.
        """
        clock = asyncio.get_running_loop().time
        due = clock()
        while True:
            frame = self._speech.popleft() if self._speech else SILENT_FRAME
            await self._call.send_audio(frame.pcm)
            if frame.sounding:
                self._note_sound(clock())
            due += FRAME_MS / 1000
            await asyncio.sleep(due - clock())

    def _note_sound(self, now: float) -> None:
        if self._last_sound_at is not None and now - self._last_sound_at >= _PAUSE_S:
            self._paused_at = self._last_sound_at
        self._last_sound_at = now
