"""The microphone and the loudspeaker of this machine, for a call.

Through `sounddevice` (PortAudio), which is not among the dependencies and is imported when it is needed. Its
callbacks run in a thread of its own; everything else here in the event loop's.
"""

import asyncio
import importlib
import threading
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any, Final

from voicelive_client.call import VoiceLiveCall
from voicelive_client.events import (
    AgentAudio,
    ClearPlayback,
    Closed,
    Event,
    HoldPlayback,
    Reconnecting,
    ResumePlayback,
)
from voicelive_client.speech import FRAME_BYTES, SAMPLE_RATE_HZ

MAX_WAITING_FRAMES: Final = 50
"""A second of the microphone that could not be sent yet; past this the newest is dropped."""

_BYTES_PER_SAMPLE: Final = 2


class SoundDeviceError(Exception):
    """There is nothing to talk through; `str()` says in one line what to do."""


class Loudspeaker:
    """What waits to be played. `receive` is called by the event loop, `take` by the sound device's thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[tuple[str, bytearray]] = []
        self._held = False

    def receive(self, event: Event) -> None:
        """Takes agent speech, and holds, goes on or drops when told."""
        with self._lock:
            match event:
                case AgentAudio(pcm, response_id):
                    self._waiting.append((response_id, bytearray(pcm)))
                case ClearPlayback(response_id):
                    self._waiting = [each for each in self._waiting if each[0] != response_id]
                    self._held = False
                case Reconnecting() | Closed():
                    self._waiting = []
                    self._held = False
                case HoldPlayback():
                    self._held = True
                case ResumePlayback():
                    self._held = False
                case _:
                    pass

    def take(self, size: int) -> bytes:
        """Exactly `size` bytes to play now: speech, then silence where there is no more."""
        with self._lock:
            speech = bytearray()
            while self._waiting and not self._held and len(speech) < size:
                pcm = self._waiting[0][1]
                missing = size - len(speech)
                speech += pcm[:missing]
                del pcm[:missing]
                if not pcm:
                    del self._waiting[0]
            return bytes(speech).ljust(size, b"\0")


class SoundDevice:
    """An open microphone and loudspeaker. Give every event of the call to `loudspeaker`, and `run` beside."""

    def __init__(self) -> None:
        self.loudspeaker: Final = Loudspeaker()
        self._frames: asyncio.Queue[bytes] = asyncio.Queue(MAX_WAITING_FRAMES)

    def hear(self, pcm: bytes) -> None:
        """20 ms of the microphone have been recorded."""
        if not self._frames.full():
            self._frames.put_nowait(pcm)

    async def run(self, call: VoiceLiveCall) -> None:
        """Sends the microphone until cancelled. Raises CallClosedError when the call is over."""
        while True:
            await call.send_audio(await self._frames.get())


@asynccontextmanager
async def open_sound_device() -> AsyncIterator[SoundDevice]:
    """Opens the machine's default microphone and loudspeaker. Raises SoundDeviceError."""
    sounddevice = _load()
    device = SoundDevice()
    loop = asyncio.get_running_loop()

    def recorded(data: Any, *_: object) -> None:
        loop.call_soon_threadsafe(device.hear, bytes(data))

    def played(data: Any, *_: object) -> None:
        data[:] = device.loudspeaker.take(len(data))

    form = {
        "samplerate": SAMPLE_RATE_HZ,
        "channels": 1,
        "dtype": "int16",
        "blocksize": FRAME_BYTES // _BYTES_PER_SAMPLE,
    }
    with ExitStack() as streams:
        try:
            streams.enter_context(sounddevice.RawOutputStream(callback=played, **form))
            streams.enter_context(sounddevice.RawInputStream(callback=recorded, **form))
        except (sounddevice.PortAudioError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise SoundDeviceError(
                f"No microphone and loudspeaker work ({reason}): connect them, or call with a WAV file."
            ) from None
        yield device


def _load() -> Any:
    try:
        return importlib.import_module("sounddevice")
    except ImportError:
        raise SoundDeviceError(
            "Talking needs the Python package sounddevice: install it with: pip install sounddevice"
        ) from None
    except OSError:  # the package is there, the library behind it is not
        raise SoundDeviceError(
            "Talking needs the PortAudio library: install it, on Debian with: apt-get install libportaudio2"
        ) from None
