"""`voice-live emulator` as its user runs it."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.emulator.wire import connected

COMMAND = Path(sys.executable).with_name("voice-live")


@contextmanager
def command(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [COMMAND, "emulator", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
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


def test_what_is_wrong_is_said_in_one_line() -> None:
    with command("--agent", "openai") as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors == "--agent openai needs --agent-url and --agent-model.\n"
