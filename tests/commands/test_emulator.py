"""`voice-live emulator` as its user runs it."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.emulator.wire import connected

COMMAND = Path(sys.executable).with_name("voice-live")


@contextmanager
def command(*arguments: str, stdin: int | None = None) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [COMMAND, "emulator", *arguments],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def test_says_in_plain_words_where_it_is_and_what_goes_on() -> None:
    options = ("--tape", "--port", "0", "--log-level", "debug", "--api-key", "open sesame")
    with command(*options) as process:
        assert process.stderr is not None
        said = ""
        while "Ctrl-C" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        address = re.search(r"endpoint +http://127\.0\.0\.1:(\d+)", said)
        assert address, said
        async with connected(int(address[1]), headers={"api-key": "open sesame"}) as client:
            await client.expect("session.created")
            await client.say("My number is 5550100.")
            await client.expect("conversation.item.created")
        process.send_signal(signal.SIGINT)
        output, log = process.communicate(timeout=30)
    assert process.returncode == 0
    assert output == ""
    assert "session_opened" in log
    assert "conversation.item.create" in log
    assert "{" not in log
    for secret in ("sesame", "5550100"):
        assert secret not in said + log


def test_its_options_are_the_emulators_own() -> None:
    with command("--help") as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "--agent-url" in output


@pytest.mark.parametrize("option", ["--port", "--tls-port"])
def test_a_port_in_use_is_told_before_the_models_load(option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with command(*("--port", "0", option, port)) as process:
            _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors == f"Cannot listen on 127.0.0.1, port {port} ({option}): Address already in use.\n"


def test_ends_with_its_stdin() -> None:
    options = ("--tape", "--port", "0", "--tls-port", "0", "--until-stdin-ends")
    with command(*options, stdin=subprocess.PIPE) as process:
        assert process.stderr is not None
        while "Ctrl-C" not in process.stderr.readline():
            assert process.poll() is None
        process.communicate(timeout=60)  # closes its stdin
    assert process.returncode == 0


def test_a_certificate_file_that_cannot_be_written(tmp_path: Path) -> None:
    file = tmp_path / "nowhere" / "authority.pem"
    with command("--tape", "--port", "0", "--tls-port", "0", "--certificate-file", str(file)) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors == f"Cannot write {file}: No such file or directory.\n"


def test_what_is_wrong_is_said_in_one_line() -> None:
    with command("--agent", "openai") as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors == "--agent openai needs --agent-url and --agent-model.\n"
