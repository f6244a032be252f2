"""The product as its users run it: the emulator and the gateway as processes of their own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parent.parent
STOP_WAIT_S = 20


@dataclass(frozen=True, slots=True)
class EmulatorProcess:
    """A running emulator."""

    process: subprocess.Popen[str]
    port: int
    tls_port: int
    certificate_file: str

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def tls_address(self) -> str:
        return f"https://localhost:{self.tls_port}"


@dataclass(frozen=True, slots=True)
class GatewayProcess:
    """A running gateway and its log so far."""

    process: subprocess.Popen[str]
    port: int
    log: list[dict[str, Any]]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and wait; its exit status. The rest of its log is kept."""
        self.process.send_signal(how)
        output, _ = self.process.communicate(timeout=STOP_WAIT_S)
        self.log.extend(json.loads(line) for line in output.splitlines() if line)
        return self.process.returncode


@contextmanager
def emulator_process(*options: str) -> Iterator[EmulatorProcess]:
    """Run the emulator on free ports, plain and over TLS."""
    command = [sys.executable, "-m", "voicelive_emulator", "--port", "0", "--tls-port", "0", *options]
    with _child(command, {}) as process:
        ready = _line(process, lambda line: line.get("event") == "ready")[-1]
        yield EmulatorProcess(process, ready["port"], ready["tls_port"], ready["certificate_file"])


PYTHON_APP_MAIN = (sys.executable, "-m", "app.main")
VOICE_LIVE_SERVE = (str(Path(sys.executable).with_name("voice-live")), "serve")


@contextmanager
def gateway_process(
    variables: Mapping[str, str], command: Sequence[str] = PYTHON_APP_MAIN
) -> Iterator[GatewayProcess]:
    """Run the gateway with these variables alone, on a free port."""
    environment = {"APP_HOST": "127.0.0.1", "APP_PORT": "0", **variables}
    with _child([*command], environment) as process:
        log = _line(process, lambda line: line.get("event") == "gateway.ready")
        yield GatewayProcess(process, log[-1]["port"], log)


@contextmanager
def _child(command: list[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command,
        cwd=PROJECT / "tests",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _line(process: subprocess.Popen[str], wanted: Any) -> list[dict[str, Any]]:
    """Every JSON line up to the one that is wanted."""
    assert process.stdout is not None
    lines = []
    for text in process.stdout:
        lines.append(json.loads(text))
        if wanted(lines[-1]):
            return lines
    raise AssertionError(f"ended with status {process.wait()} before it was ready")
