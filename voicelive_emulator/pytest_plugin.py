"""A pytest plugin: the fixture `voice_live_emulator` is a running emulator, new for each test.

The process starts once per run, when a test first asks for it. After each test its sessions are ended
and set answers are forgotten. `voice_live_emulator_options` in pytest's configuration are further
options of `python -m voicelive_emulator`; `--tape` needs no models.

Nothing of the emulator is imported into the process of the tests.
"""

import json
import os
import secrets
import shlex
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import IO, Any, Final

import pytest

START_TIMEOUT_S: Final = 120.0
"""Loading the models takes some seconds; on a busy small machine it can take many."""
_STOP_TIMEOUT_S: Final = 10.0
_REQUEST_TIMEOUT_S: Final = 10.0
_OPTIONS: Final = "voice_live_emulator_options"


class EmulatorDidNotStart(Exception):  # noqa: N818 (says what is the case)
    """The emulator ended or took too long; the text has its own last words."""


@dataclass(frozen=True, slots=True)
class VoiceLiveEmulator:
    """A running emulator, as a test uses it."""

    endpoint: str
    """What the Microsoft SDK takes as `endpoint`."""
    api_key: str
    """The only key that it accepts."""

    @property
    def environment(self) -> dict[str, str]:
        """The usual variables, for an app that reads them."""
        return {"AZURE_VOICELIVE_ENDPOINT": self.endpoint, "AZURE_VOICELIVE_API_KEY": self.api_key}

    def will_answer(self, *answers: str | dict[str, Any]) -> None:
        """Set what the next responses say, in any session.

        An answer is a text, `{"call": "name", "arguments": {…}}` or `{"fail": True}`. When none is left
        the telesales script answers.
        """
        self._ask("PUT", "/answers", list(answers))

    def sessions(self) -> list[dict[str, Any]]:
        """What goes on now: id, mode, model, age, state and counts of each session."""
        listed: list[dict[str, Any]] = self._ask("GET", "/sessions")["sessions"]
        return listed

    def reset(self) -> None:
        """End all sessions and forget set answers."""
        self.will_answer()
        self._ask("DELETE", "/sessions")

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 (always http, on this machine)
            f"{self.endpoint}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"api-key": self.api_key},
        )
        # Whatever proxy the environment names, the emulator is on this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        response: HTTPResponse
        with opener.open(request, timeout=_REQUEST_TIMEOUT_S) as response:
            return json.loads(response.read())


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the setting."""
    parser.addini(_OPTIONS, "Further options of the Voice Live emulator, for example --tape.", default="")


@pytest.fixture(scope="session")
def _voice_live_emulator_process(request: pytest.FixtureRequest) -> Iterator[VoiceLiveEmulator]:
    with running_emulator(shlex.split(str(request.config.getini(_OPTIONS)))) as emulator:
        yield emulator


@pytest.fixture
def voice_live_emulator(_voice_live_emulator_process: VoiceLiveEmulator) -> Iterator[VoiceLiveEmulator]:
    """A local Voice Live without sessions and without set answers; gives endpoint and key."""
    yield _voice_live_emulator_process
    _voice_live_emulator_process.reset()


@contextmanager
def running_emulator(options: list[str]) -> Iterator[VoiceLiveEmulator]:
    """Run the emulator as a process inside the block. Raises EmulatorDidNotStart."""
    key = secrets.token_urlsafe(16)
    fixed = ["--host", "127.0.0.1", "--port", "0", "--agent", "test", "--log-level", "warning"]
    fixed.append("--until-stdin-ends")  # so it ends even when the tests are killed
    process = subprocess.Popen(  # noqa: S603 (options are those of whoever runs the tests)
        [sys.executable, "-m", "voicelive_emulator", *fixed, *options],
        env=os.environ | {"EMULATOR_API_KEY": key},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None  # noqa: S101 (they are pipes)
    assert process.stdout is not None  # noqa: S101
    assert process.stderr is not None  # noqa: S101
    words: list[str] = []
    listening = threading.Thread(target=_collect, args=(process.stderr, words), daemon=True)
    listening.start()
    try:
        ready = _first_line(process, process.stdout)
        if ready is None:
            process.kill()
            listening.join(_STOP_TIMEOUT_S)
            said = "".join(words[-20:]).strip() or "It said nothing."
            raise EmulatorDidNotStart(f"The Voice Live emulator did not start. {said}")
        yield VoiceLiveEmulator(f"http://127.0.0.1:{ready['port']}", key)
    finally:
        _stop(process)
        listening.join(_STOP_TIMEOUT_S)
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()


def _first_line(process: "subprocess.Popen[str]", stdout: IO[str]) -> dict[str, Any] | None:
    """What the emulator says when it is ready; None when it ends or takes too long."""
    slow = threading.Timer(START_TIMEOUT_S, process.kill)
    slow.start()
    try:
        line = stdout.readline()
    finally:
        slow.cancel()
    ready: dict[str, Any] | None = json.loads(line) if line.strip() else None
    return ready


def _collect(stderr: IO[str], words: list[str]) -> None:
    for line in stderr:
        words.append(line)
        del words[:-100]


def _stop(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
