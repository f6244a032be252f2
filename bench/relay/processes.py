"""Processes of the bench: pinned to a core, found by port, ended by their group."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psutil

PROJECT: Final = Path(__file__).parent.parent.parent
BUILD: Final = Path(__file__).parent / "build"

GATEWAY_CORE: Final = "0"
LOAD_CORE: Final = "1"
END_WAIT_S: Final = 20
POLL_S: Final = 0.05


class BenchError(Exception):
    """A program of the bench did not do what the measurement needs."""


def on_core(core: str, command: Sequence[str]) -> list[str]:
    """The command, pinned to this core."""
    return [shutil.which("taskset") or "taskset", "-c", core, *command]


@contextmanager
def running(
    core: str, command: Sequence[str], environment: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[str]"]:
    """A process group on this core; what the process prints can be read, what it logs is dropped."""
    process = subprocess.Popen(  # noqa: S603
        on_core(core, command),
        cwd=BUILD,  # no `.env` here
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), **(environment or {})},
        stdout=subprocess.DEVNULL if environment is not None else subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):  # it may have ended already
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.communicate(timeout=END_WAIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def free_port() -> int:
    """A port of the loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int, process: "subprocess.Popen[str]", timeout_s: float) -> None:
    """Return when something listens there. Raises BenchError."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise BenchError(f"ended with status {process.returncode} before it listened")
        with socket.socket() as probe:
            probe.settimeout(0.5)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(POLL_S)
    raise BenchError(f"did not listen within {timeout_s:.0f} s")


def family(process: "subprocess.Popen[str]") -> list[int]:
    """The ids of the process and all its descendants."""
    return [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]
