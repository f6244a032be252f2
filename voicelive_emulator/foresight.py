"""The beginning of an answer, made ready while it is not certain that the caller's turn is over.

In a pause the words so far are known before the turn may end. Where the agent can say what it would
answer to them, the first sound of that is made and kept by the synthesizer. Nothing of it is sent: the
answer that comes when the turn is over finds its first words spoken, and if the caller goes on they
are simply not asked for.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Final

from voicelive_emulator.agents import Agent, Foreseeable, Request
from voicelive_emulator.answering import clauses
from voicelive_emulator.speech_models import SpeechModels
from voicelive_emulator.workers import Workers

_AHEAD_MS: Final = 800
"""How much sound is made: as long as it plays, the rest of the answer can be made."""
_BYTES_PER_MS: Final = 48


class Foresight:
    """Prepares the answers of one session, one at a time."""

    def __init__(self, agent: Agent, models: SpeechModels, workers: Workers) -> None:
        self._agent = agent
        self._models = models
        self._workers = workers
        self._task: asyncio.Task[None] | None = None

    def begin(
        self,
        tasks: asyncio.TaskGroup,
        words: "asyncio.Future[str]",
        expected: Callable[[str], Request | None],
        due: float,
    ) -> None:
        """Prepare the answer to `words`; `expected` says what the agent would be asked.

        `due` is the time of the loop at which the turn may be over.
        """
        self.drop()
        if isinstance(self._agent, Foreseeable):
            self._task = tasks.create_task(self._prepare(self._agent, words, expected, due))

    def drop(self) -> None:
        """The caller goes on."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _prepare(
        self,
        agent: Foreseeable,
        words: "asyncio.Future[str]",
        expected: Callable[[str], Request | None],
        due: float,
    ) -> None:
        try:
            request = expected(await asyncio.shield(words))
            if request is not None:
                await self._speak(agent.foresee(request), due)
        except Exception:  # noqa: BLE001, S110 (what fails here fails again, and is told, when it is needed)
            pass

    async def _speak(self, pieces: Sequence[str], due: float) -> None:
        made_ms = 0.0
        async with aclosing(clauses(_each(pieces))) as texts:
            async for clause in texts:
                stream = self._models.synthesizer.stream(clause)
                while (
                    speech := await self._workers.run(due + made_ms / 1_000, next, stream, None)
                ) is not None:
                    made_ms += len(speech.pcm) / _BYTES_PER_MS
                    if made_ms >= _AHEAD_MS:
                        return


async def _each(pieces: Sequence[str]) -> AsyncIterator[str]:
    for piece in pieces:
        yield piece
