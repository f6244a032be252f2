"""The agent whose next answers a test sets: `PUT /answers` with a JSON array.

An answer is a text, `{"call": "name", "arguments": {…}}`, or `{"fail": true}`. Each response takes the
next one, in whichever session; when none is left, another agent answers.
"""

from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

import orjson

from voicelive_emulator.agents import Agent, CallFunction, Request

MOST_ANSWERS: Final = 1_000
_LONGEST_TEXT: Final = 100_000


class AnswerError(ValueError):
    """Answers that cannot be given; the text says why."""


class AnswerFailed(Exception):  # noqa: N818 (says what is the case)
    """A response fails because a test said so."""


class SetAnswers:
    """The answers that wait to be given, for all sessions of a process."""

    def __init__(self) -> None:
        self._waiting: deque[str | CallFunction | None] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def replace(self, answers: object) -> None:
        """Give these answers next, in place of those that wait. Raises AnswerError, then nothing changes."""
        if not isinstance(answers, list) or len(answers) > MOST_ANSWERS:
            raise AnswerError(f"Answers are a JSON array of at most {MOST_ANSWERS}.")
        self._waiting = deque([_answer(answer) for answer in answers])

    def take(self) -> str | CallFunction | None:
        """The next answer, None for one that fails. Raises IndexError when there is none."""
        return self._waiting.popleft()


def _answer(answer: Any) -> str | CallFunction | None:
    match answer:
        case str() if answer.strip() and len(answer) <= _LONGEST_TEXT:
            return answer
        case {"call": str() as name, **rest} if name and set(rest) <= {"arguments"}:
            arguments = rest.get("arguments", {})
            if isinstance(arguments, dict):
                return CallFunction(name, orjson.dumps(arguments).decode())
        case {"fail": True} if len(answer) == 1:
            return None
    raise AnswerError('An answer is a text, {"call": "name", "arguments": {…}} or {"fail": true}.')


class SetAnswersAgent:
    """Gives the set answers; when there are none left, what `otherwise` says."""

    def __init__(self, answers: SetAnswers, otherwise: Agent) -> None:
        self._answers = answers
        self._otherwise = otherwise

    async def reply(self, request: Request) -> AsyncGenerator[str | CallFunction]:
        """The next set answer."""
        if len(self._answers):
            answer = self._answers.take()
            if answer is None:
                raise AnswerFailed
            yield answer
            return
        async with aclosing(self._otherwise.reply(request)) as pieces:
            async for piece in pieces:
                yield piece
