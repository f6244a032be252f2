"""The speech models, loaded once for all tests of a run.

A test module takes them with `pytest_plugins = ("tests.emulator.speech_fixtures",)`.
"""

import pytest

from voicelive_emulator.model_files import ModelFiles, find_model_files
from voicelive_emulator.recognition import Recognizer
from voicelive_emulator.synthesis import Synthesizer
from voicelive_emulator.voice_activity import EndOfUtteranceModel, VoiceActivityModel


@pytest.fixture(scope="session")
def model_files() -> ModelFiles:
    return find_model_files()


@pytest.fixture(scope="session")
def voice_activity(model_files: ModelFiles) -> VoiceActivityModel:
    return VoiceActivityModel(model_files)


@pytest.fixture(scope="session")
def end_of_utterance(model_files: ModelFiles) -> EndOfUtteranceModel:
    return EndOfUtteranceModel(model_files)


@pytest.fixture(scope="session")
def recognizer(model_files: ModelFiles) -> Recognizer:
    return Recognizer(model_files)


@pytest.fixture(scope="session")
def synthesizer(model_files: ModelFiles) -> Synthesizer:
    return Synthesizer(model_files)
