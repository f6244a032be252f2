"""`voice-live call --mic`: with and without a sound device.

The machine that runs the tests has none, so a module in its place stands for `sounddevice`: its streams call
back from a thread, as PortAudio's do.
"""

import asyncio
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.played_gateway import Gateway, StartGateway
from voicelive_client import AgentAudio, ClearPlayback, HoldPlayback, Reconnecting, ResumePlayback
from voicelive_client.sound_device import Loudspeaker

COMMAND = Path(sys.executable).with_name("voice-live")

NO_PACKAGE = "raise ImportError('sounddevice')"
NO_LIBRARY = "raise OSError('PortAudio library not found')"
NO_DEVICE = """
class PortAudioError(Exception): pass
def RawOutputStream(**_): raise PortAudioError("Error querying device -1")
RawInputStream = RawOutputStream
"""
DEVICE = """
import threading, time

class PortAudioError(Exception): pass

class Stream:
    def __init__(self, *, samplerate, channels, dtype, blocksize, callback):
        assert (samplerate, channels, dtype) == (24_000, 1, "int16")
        self.frame, self.callback, self.closed = bytearray(blocksize * 2), callback, threading.Event()
        self.thread = threading.Thread(target=self.run)
    def __enter__(self):
        self.thread.start()
    def __exit__(self, *_):
        self.closed.set()
        self.thread.join()
    def run(self):
        while not self.closed.wait(0.02):
            self.call()

class RawInputStream(Stream):
    def call(self):
        self.callback(b"\\x07\\x07" * (len(self.frame) // 2), len(self.frame) // 2, None, None)

class RawOutputStream(Stream):
    def call(self):
        self.callback(self.frame, len(self.frame) // 2, None, None)
        with open("PLAYED", "ab") as file:
            file.write(self.frame)
"""


@dataclass(frozen=True)
class Talk:
    """A running `voice-live call --mic`."""

    process: asyncio.subprocess.Process

    async def ends(self) -> tuple[int | None, str, str]:
        """Exit status, output, errors."""
        output, errors = await self.process.communicate()
        return self.process.returncode, output.decode(), errors.decode()


async def start_talk(tmp_path: Path, sounddevice: str, url: str) -> Talk:
    (tmp_path / "sounddevice.py").write_text(sounddevice.replace("PLAYED", str(tmp_path / "played")))
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        *("call", "--mic", "--url", url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    return Talk(process)


@pytest.mark.parametrize(
    ("sounddevice", "line"),
    [
        (
            NO_PACKAGE,
            "Talking needs the Python package sounddevice: install it with: pip install sounddevice\n",
        ),
        (
            NO_LIBRARY,
            "Talking needs the PortAudio library: install it, on Debian with: "
            "apt-get install libportaudio2\n",
        ),
        (
            NO_DEVICE,
            "No microphone and loudspeaker work (Error querying device -1): "
            "connect them, or call with a WAV file.\n",
        ),
    ],
    ids=["package", "library", "device"],
)
async def test_without_a_sound_device_one_line_says_what_to_do(
    tmp_path: Path, sounddevice: str, line: str
) -> None:
    talk = await start_talk(tmp_path, sounddevice, "ws://127.0.0.1:1/ws/voice")
    assert await talk.ends() == (1, "", line)


async def test_the_microphone_is_sent_and_the_agent_is_played_until_the_gateway_ends(
    tmp_path: Path, start_gateway: StartGateway
) -> None:
    heard: list[bytes] = []

    async def script(gateway: Gateway) -> None:
        await gateway.tells(type="session_started", session_id="s1")
        heard.append(await gateway.receives_audio())
        await gateway.speaks("r1", b"\1\2" * 4800)
        report = await gateway.receives()
        assert report["played_ms"] == 200
        await gateway.tells(type="agent_transcript", response_id="r1", text="Good day.")
        while (tmp_path / "played").read_bytes().count(b"\1\2" * 480) < 10:
            await gateway.receives_audio()
        await gateway.tells(type="session_ended", reason="ended")
        await gateway.socket.close()

    async with start_gateway(script) as url:
        status, output, errors = await (await start_talk(tmp_path, DEVICE, url)).ends()
    assert (status, errors) == (0, "")
    assert heard == [b"\7\7" * 480]
    assert "agent     Good day." in output


async def test_ctrl_c_hangs_up(tmp_path: Path, start_gateway: StartGateway) -> None:
    closed = asyncio.Event()
    speaking = asyncio.Event()
    codes: list[int | None] = []

    async def script(gateway: Gateway) -> None:
        await gateway.tells(type="session_started", session_id="s1")
        await gateway.receives_audio()
        speaking.set()
        await gateway.socket.wait_closed()
        codes.append(gateway.socket.close_code)
        closed.set()

    async with start_gateway(script) as url:
        talk = await start_talk(tmp_path, DEVICE, url)
        await speaking.wait()
        talk.process.send_signal(signal.SIGINT)
        status, _, errors = await talk.ends()
        await closed.wait()
    assert (status, errors, codes) == (0, "", [1000])


def speech(response_id: str, *values: int) -> AgentAudio:
    return AgentAudio(bytes(values), response_id)


class TestLoudspeaker:
    def test_it_plays_in_order_and_then_silence(self) -> None:
        loudspeaker = Loudspeaker()
        loudspeaker.receive(speech("r1", 1, 1, 2, 2))
        loudspeaker.receive(speech("r1", 3, 3))
        assert loudspeaker.take(2) == bytes([1, 1])
        assert loudspeaker.take(6) == bytes([2, 2, 3, 3, 0, 0])

    def test_what_is_held_plays_when_it_is_resumed(self) -> None:
        loudspeaker = Loudspeaker()
        loudspeaker.receive(speech("r1", 1, 1))
        loudspeaker.receive(HoldPlayback("r1"))
        assert loudspeaker.take(2) == bytes(2)
        loudspeaker.receive(ResumePlayback("r1"))
        assert loudspeaker.take(2) == bytes([1, 1])

    def test_a_cleared_response_is_silent_at_once_and_the_next_one_is_not(self) -> None:
        loudspeaker = Loudspeaker()
        loudspeaker.receive(speech("r1", 1, 1))
        loudspeaker.receive(HoldPlayback("r1"))
        loudspeaker.receive(ClearPlayback("r1"))
        assert loudspeaker.take(2) == bytes(2)
        loudspeaker.receive(speech("r2", 2, 2))
        assert loudspeaker.take(2) == bytes([2, 2])

    def test_what_comes_again_after_a_lost_connection_is_not_played_twice(self) -> None:
        loudspeaker = Loudspeaker()
        loudspeaker.receive(speech("r1", 1, 1, 2, 2))
        assert loudspeaker.take(2) == bytes([1, 1])
        loudspeaker.receive(Reconnecting())
        loudspeaker.receive(speech("r1", 2, 2))
        assert loudspeaker.take(4) == bytes([2, 2, 0, 0])
