"""Which agent answers, as the options of the emulator say."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import aiohttp

from voicelive_emulator.agents import Agent, EchoAgent
from voicelive_emulator.openai_agent import Endpoint, OpenAIAgent
from voicelive_emulator.script import load_script
from voicelive_emulator.scripted_agent import ScriptedAgent
from voicelive_emulator.set_answers import SetAnswers, SetAnswersAgent

AgentKind = Literal["scripted", "echo", "test", "openai"]


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """Who answers. `script` is another script than the packaged one; `endpoint` belongs to `openai`."""

    kind: AgentKind = "scripted"
    script: Path | None = None
    endpoint: Endpoint | None = None


@dataclass(frozen=True, slots=True)
class Agents:
    """Makes the agent of each session. `answers` are those that a test sets; None for other agents."""

    new_agent: Callable[[], Agent]
    answers: SetAnswers | None = None


@asynccontextmanager
async def chosen_agents(options: AgentOptions) -> AsyncIterator[Agents]:
    """Have the agents inside the block. Raises ScriptError; ValueError for `openai` without endpoint."""
    match options.kind:
        case "echo":
            yield Agents(EchoAgent)
        case "openai":
            if options.endpoint is None:
                raise ValueError("The agent `openai` needs --agent-url and --agent-model.")
            async with aiohttp.ClientSession() as http:
                agent = OpenAIAgent(http, options.endpoint)
                yield Agents(lambda: agent)
        case "test":
            answers = SetAnswers()
            telling = SetAnswersAgent(answers, ScriptedAgent(load_script(options.script)))
            yield Agents(lambda: telling, answers)
        case "scripted":
            scripted = ScriptedAgent(load_script(options.script))
            yield Agents(lambda: scripted)
