"""`voice-live demo` as a newcomer runs it: real emulator, real gateway, a real call."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from app.commands.demo import demo_settings
from tests.speech_data import human_clips
from voicelive_client.speech import read_wav

COMMAND = Path(sys.executable).with_name("voice-live")
WAIT_S = 120


@dataclass
class Demo:
    """A running demonstration and what it printed."""

    process: subprocess.Popen[str]
    printed: list[str] = field(default_factory=list)

    def prints(self, pattern: str) -> re.Match[str]:
        """Reads on until a line matches."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed.append(line)
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"it ended without {pattern!r}: {self.printed}")

    def ends(self) -> int:
        """Reads the rest and waits; its exit status."""
        rest, _ = self.process.communicate(timeout=WAIT_S)
        self.printed.append(rest)
        return self.process.returncode

    @property
    def emulator(self) -> psutil.Process:
        (child,) = psutil.Process(self.process.pid).children()
        return child


@contextmanager
def demo(folder: Path, *options: str) -> Iterator[Demo]:
    process = subprocess.Popen(
        [COMMAND, "demo", *options],
        cwd=folder,
        # Neither these nor a `.env` may lead the demonstration anywhere else.
        env=os.environ | {"AZURE_VOICELIVE_ENDPOINT": "https://example.invalid", "VAD_TYPE": "nonsense"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield Demo(process)
    finally:
        children = psutil.Process(process.pid).children() if process.poll() is None else []
        process.kill()
        for child in children:
            child.kill()
        process.communicate()


def test_a_newcomer_calls_and_is_answered(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("AZURE_VOICELIVE_AGENT_ID=real\nAPP_PORT=1\n", "utf-8")
    speech = human_clips()[0].write_wav(tmp_path / "speech.wav")
    saved = tmp_path / "reply.wav"
    with demo(tmp_path, "--port", "0") as running:
        page = running.prints(r"Open (http://127\.0\.0\.1:\d+/)")[1]
        url = running.prints(r"--url (ws://\S+)")[1]
        assert url == page.replace("http", "ws") + "ws/voice"
        emulator = running.emulator
        call = subprocess.run(
            [COMMAND, "call", str(speech), "--url", url, "--save", str(saved)],
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )
        assert call.returncode == 0, call.stdout + call.stderr
        assert "AI assistant" in call.stdout
        assert re.search(r"caller +\w+", call.stdout)
        assert len(read_wav(saved)) > 5 * 48_000
        running.process.send_signal(signal.SIGINT)
        assert running.ends() == 0
        assert "copy .env.example to .env" in running.printed[-1]
        assert not emulator.is_running()


def test_kill_takes_the_emulator_along_while_it_loads(tmp_path: Path) -> None:
    with demo(tmp_path, "--port", "0") as running:
        running.prints("Starting the emulator")
        emulator = running.emulator
        running.process.terminate()
        assert running.ends() == 0
        assert not emulator.is_running()


@pytest.mark.parametrize("when", ["Starting the emulator", "Ctrl-C"])
def test_a_demonstration_that_is_killed_leaves_no_emulator(tmp_path: Path, when: str) -> None:
    with demo(tmp_path, "--port", "0") as running:
        running.prints(when)
        emulator = running.emulator
        running.process.kill()
        emulator.wait(timeout=WAIT_S)


def test_an_emulator_that_dies_ends_the_demonstration(tmp_path: Path) -> None:
    with demo(tmp_path, "--port", "0") as running:
        running.prints("Ctrl-C")
        running.emulator.kill()
        assert running.ends() == 1
        assert "The emulator ended with status -9." in running.printed[-1]


@pytest.mark.parametrize("option", ["--port", "--emulator-port"])
def test_a_port_in_use_gives_one_clear_line(tmp_path: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ports = {"--port": "0", "--emulator-port": "0", option: port}
        with demo(tmp_path, *(word for pair in ports.items() for word in pair)) as running:
            assert running.ends() == 1
    said = "".join(running.printed)
    assert "Traceback" not in said
    assert "ddress already in use" in said


def test_the_settings_of_the_demonstration_lead_to_this_machine_only() -> None:
    settings = demo_settings(1234, "key")
    assert settings.endpoint == "http://127.0.0.1:1234"
    assert settings.vad_type == "server_vad"
    assert settings.describe()["agent_mode"] == "model"
