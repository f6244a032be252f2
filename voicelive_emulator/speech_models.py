"""The models of the emulator in one bundle: loaded once, shared by all sessions."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from voicelive_emulator.agents import Agent
from voicelive_emulator.audio import MODEL_RATE_HZ, Samples
from voicelive_emulator.clauses import split_clauses
from voicelive_emulator.model_files import find_model_files
from voicelive_emulator.recognition import Recognizer
from voicelive_emulator.script import load_script
from voicelive_emulator.scripted_agent import ScriptedAgent
from voicelive_emulator.synthesis import Speech, Synthesizer
from voicelive_emulator.voice_activity import EndOfUtteranceModel, VoiceActivityModel


class FindsVoice(Protocol):
    """Follows the audio of one session."""

    def probabilities(self, samples: Samples) -> list[float]:
        """Return the probability of speech in each whole 32 ms frame."""
        ...


class OffersVoiceActivity(Protocol):
    """Makes the state of a session."""

    def new_stream(self) -> FindsVoice:
        """Return the state of a new session."""
        ...


class JudgesTurns(Protocol):
    """Says whether a turn sounds complete."""

    def probability(self, samples: Samples) -> float:
        """Return the probability that the turn is complete."""
        ...


class Recognizes(Protocol):
    """Turns speech into text."""

    def transcribe(self, samples: Samples) -> str:
        """Return the words; empty where there are none."""
        ...


class Speaks(Protocol):
    """Turns text into speech."""

    def stream(self, clause: str) -> Iterator[Speech]:
        """Return the clause in pieces, PCM16 LE 24 kHz; each step blocks. The first has all the words."""
        ...


@dataclass(frozen=True, slots=True)
class SpeechModels:
    """Everything that a session needs besides the protocol. All of it may be used from several threads."""

    voice_activity: OffersVoiceActivity
    end_of_utterance: JudgesTurns
    recognizer: Recognizes
    synthesizer: Speaks
    new_agent: Callable[[], Agent]


def load_speech_models() -> SpeechModels:
    """Load the real models and use each once, so that the first caller does not wait.

    What they speak is the script's greeting: of all answers it alone follows no pause in which to prepare it.
    Blocks for some seconds. Raises ModelsMissing.
    """
    files = find_model_files()
    script = load_script()
    synthesizer = Synthesizer(files)
    models = SpeechModels(
        voice_activity=VoiceActivityModel(files),
        end_of_utterance=EndOfUtteranceModel(files),
        recognizer=Recognizer(files),
        synthesizer=synthesizer,
        new_agent=lambda: ScriptedAgent(script),
    )
    silence = np.zeros(MODEL_RATE_HZ, np.float32)
    models.voice_activity.new_stream().probabilities(silence)
    models.end_of_utterance.probability(silence)
    greeting = b"".join(synthesizer.synthesize(clause).pcm for clause in split_clauses(script.opener[0]))
    models.recognizer.transcribe(np.divide(np.frombuffer(greeting, "<i2"), 32_768, dtype=np.float32))
    return models
