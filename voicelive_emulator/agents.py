"""Who answers in the emulator: an agent turns the conversation so far into the next reply.

`ScriptedAgent` follows a script (`script.py`). It keeps nothing between replies: each one is worked
out by replaying the conversation, so that deleting or truncating items changes what it knows.
"""

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Literal, Protocol

from voicelive_emulator.dialogue import Dialogue, understand
from voicelive_emulator.script import Script, ScriptError, load_script

__all__ = ["Agent", "Message", "Script", "ScriptError", "ScriptedAgent", "load_script"]

_EXACT_TEXT = re.compile(r"\bexactly\b[^\"“«]*[\"“«](?P<text>.+)[\"”»]\W*\Z", re.DOTALL | re.IGNORECASE)
_SENTENCE = re.compile(r".+?(?:[.!?] |\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the conversation; of an interrupted assistant message, only what was heard."""

    role: Literal["system", "user", "assistant"]
    text: str


class Agent(Protocol):
    """Answers for one session."""

    def reply(self, history: Sequence[Message]) -> AsyncIterator[str]:
        """The next assistant message, in pieces; joined they are the message."""
        ...


class ScriptedAgent:
    """Leads callers through a script. The same history always gives the same reply."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._understand = lru_cache(maxsize=256)(partial(understand, script))

    async def reply(self, history: Sequence[Message]) -> AsyncIterator[str]:
        """The next assistant message, sentence by sentence.

        A last system message that asks to say exactly a text in quotes gets exactly this text.
        """
        if history and history[-1].role == "system" and (exact := _EXACT_TEXT.search(history[-1].text)):
            yield exact["text"]
            return
        for sentence in _SENTENCE.findall(self._next(history)):
            yield sentence

    def _next(self, history: Sequence[Message]) -> str:
        dialogue = Dialogue(self._script)
        for exchange in _exchanges(history):
            if exchange.caller is None:
                reply = dialogue.open()
            else:
                reply = dialogue.answer(self._understand(exchange.caller))
            if not exchange.heard:
                return reply
            dialogue.hear(reply, exchange.heard)
        return dialogue.go_on()


@dataclass(slots=True)
class _Exchange:
    """What the caller said in one go (None: nothing yet), and the replies to it that were heard."""

    caller: str | None
    heard: list[str] = field(default_factory=list)


def _exchanges(history: Sequence[Message]) -> list[_Exchange]:
    """The conversation in exchanges; what was said before any reply was heard is one utterance."""
    current = _Exchange(None)
    exchanges = [current]
    for message in history:
        if message.role == "assistant" and message.text.strip():
            current.heard.append(message.text)
        elif message.role == "user" and current.heard:
            current = _Exchange(message.text)
            exchanges.append(current)
        elif message.role == "user":
            current.caller = message.text if current.caller is None else f"{current.caller} {message.text}"
    return exchanges
