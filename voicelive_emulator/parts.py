"""What hears, answers and speaks in a session: the models, or a tape in their place."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Protocol

from voicelive_emulator.agents import Agent, Foreseeable
from voicelive_emulator.answering import Speaker
from voicelive_emulator.foresight import Foresight
from voicelive_emulator.hearing import Hearing
from voicelive_emulator.pacing import Pacer
from voicelive_emulator.session_config import HearingOptions
from voicelive_emulator.speech_models import SpeechModels
from voicelive_emulator.synthesis import Word
from voicelive_emulator.turn_detection import TurnEvent
from voicelive_emulator.workers import Workers


class Ears(Protocol):
    """Follows the input audio of one session; `hearing.Hearing` explains each part."""

    @property
    def heard_ms(self) -> int: ...
    @property
    def words_so_far(self) -> "asyncio.Future[str] | None": ...
    @property
    def stops_in_s(self) -> float: ...
    def configure(self, options: HearingOptions) -> None: ...
    def forget(self) -> None: ...
    def hear(self, audio: bytes) -> AsyncGenerator[TurnEvent]: ...
    def recognize_turn(self) -> "asyncio.Future[str]": ...


class Mouth(Protocol):
    """Makes the audio of one response; `answering.Speaker` explains each part."""

    pacer: Pacer

    def speak(self, clause: str) -> AsyncGenerator[tuple[Sequence[Word], bytes]]: ...
    def rest(self) -> bytes: ...
    def chunks(self, audio: bytes) -> Iterator[tuple[bytes, float]]: ...


class Parts(Protocol):
    """Makes what each session needs besides the protocol."""

    def hearing(self, options: HearingOptions) -> Ears:
        """Ears for one session."""
        ...

    def speaker(self, audio_format: str, pacer: Pacer) -> Mouth:
        """A mouth for one response."""
        ...

    def new_agent(self) -> Agent:
        """An agent for one session."""
        ...

    def foresight(self, agent: Agent) -> Foresight | None:
        """What prepares the agent's answers; None where nothing is worth preparing."""
        ...


class ModelParts:
    """Parts that hear and speak with models, in the threads of `workers`."""

    def __init__(self, models: SpeechModels, workers: Workers) -> None:
        self._models = models
        self._workers = workers

    def hearing(self, options: HearingOptions) -> Ears:
        """Ears for one session."""
        return Hearing(self._models, self._workers, options)

    def speaker(self, audio_format: str, pacer: Pacer) -> Mouth:
        """A mouth for one response."""
        return Speaker(self._models, self._workers, audio_format, pacer)

    def new_agent(self) -> Agent:
        """An agent for one session."""
        return self._models.new_agent()

    def foresight(self, agent: Agent) -> Foresight | None:
        """What prepares the agent's answers, if it says ahead of time what they will be."""
        return Foresight(agent, self._models, self._workers) if isinstance(agent, Foreseeable) else None
