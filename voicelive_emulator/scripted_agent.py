"""The agent that follows a script (`script.py`): a conversation in, the next reply out.

It keeps nothing between replies: each one is worked out by replaying the conversation.
"""

import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial

from voicelive_emulator.agents import (
    CallFunction,
    Entry,
    FunctionCalled,
    FunctionReturned,
    Message,
    Request,
    Tool,
)
from voicelive_emulator.dialogue import Dialogue, understand
from voicelive_emulator.function_calls import arguments_from, speakable, tool_for, tool_named_in
from voicelive_emulator.script import Script
from voicelive_emulator.understanding import Utterance

_EXACT_TEXT = re.compile(r"\bexactly\b[^\"“«]*[\"“«](?P<text>.+)[\"”»]\W*\Z", re.DOTALL | re.IGNORECASE)
_SENTENCE = re.compile(r".+?(?:[.!?] |\Z)", re.DOTALL)


@dataclass(slots=True)
class _Exchange:
    """What the caller said in one go (None: nothing yet), and what came of it."""

    caller: str | None
    heard: list[str] = field(default_factory=list)
    called: list[str] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)


class ScriptedAgent:
    """Leads callers through a script. The same conversation always gets the same reply."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._understand = lru_cache(maxsize=1024)(partial(understand, script))

    async def reply(self, request: Request) -> AsyncGenerator[str | CallFunction]:
        """The next assistant message, sentence by sentence, or a call of one of the tools.

        A last system message that asks to say exactly a text in quotes gets exactly this text.
        """
        reply = self._reply(request)
        if isinstance(reply, CallFunction):
            yield reply
            return
        for sentence in reply:
            yield sentence

    def foresee(self, request: Request) -> Sequence[str]:
        """The sentences of the next assistant message, none if a tool would be called."""
        reply = self._reply(request)
        return () if isinstance(reply, CallFunction) else reply

    def _reply(self, request: Request) -> Sequence[str] | CallFunction:
        last = request.history[-1] if request.history else None
        if isinstance(last, Message) and last.role == "system" and (exact := _EXACT_TEXT.search(last.text)):
            return [exact["text"]]
        reply = self._next(request)
        return reply if isinstance(reply, CallFunction) else _SENTENCE.findall(reply)

    def _next(self, request: Request) -> str | CallFunction:
        dialogue = Dialogue(self._script)
        exchanges = _exchanges(request.history)
        called: set[str] = set()
        reply = ""
        for exchange in exchanges:
            tool = None
            if exchange.caller is None:
                reply = dialogue.open()
            else:
                caller = self._understand(exchange.caller)
                named = tool_named_in(caller.utterance, request.tools)
                reply = dialogue.answer(caller, can_look_up=named is not None)
                tool = named if dialogue.looks_up else self._tool(dialogue, request.tools, called)
            if exchange.returned and dialogue.informs and (told := speakable(exchange.returned[-1])):
                reply = dialogue.tell(told)
            called.update(exchange.called)
            if not exchange.heard:
                if request.must_call:
                    return self._call(request.tools[0], dialogue, exchange)
                if tool is not None and not exchange.called:
                    return self._call(tool, dialogue, exchange)
                return reply
            dialogue.hear(reply, exchange.heard)
        if request.must_call:
            return self._call(request.tools[0], dialogue, exchanges[-1])
        return dialogue.go_on()

    def _tool(self, dialogue: Dialogue, tools: Sequence[Tool], called: set[str]) -> Tool | None:
        """The tool that the script has come to, if the client offers one and it is time to call it."""
        tool = tool_for(dialogue.tool, tools)
        if tool is None or (dialogue.tool_once and tool.name in called):
            return None
        return None if dialogue.will_ask_for(tool.parameters) else tool

    def _call(self, tool: Tool, dialogue: Dialogue, exchange: _Exchange) -> CallFunction:
        utterance = Utterance(exchange.caller or "")
        return CallFunction(tool.name, arguments_from(tool.parameters, dialogue.known(), utterance))


def _exchanges(history: Sequence[Entry]) -> list[_Exchange]:
    """The conversation in exchanges; what was said before any reply was heard is one utterance."""
    current = _Exchange(None)
    exchanges = [current]
    for entry in history:
        match entry:
            case FunctionCalled(name=name):
                current.called.append(name)
            case FunctionReturned(text=text):
                current.returned.append(text)
            case Message(role="assistant", text=text) if text.strip():
                current.heard.append(text)
            case Message(role="user", text=text) if current.heard:
                current = _Exchange(text)
                exchanges.append(current)
            case Message(role="user", text=text):
                current.caller = text if current.caller is None else f"{current.caller} {text}"
            case _:
                pass
    return exchanges
