"""The emulator with an agent that never begins two answers alike: `python -m bench.fresh_emulator`.

So no answer's first words were spoken before, as with a language model. With `--unforeseen` the agent
cannot be asked ahead of time either. Prints the line of JSON that the emulator prints when it is ready.
"""

import asyncio
import itertools
import json
import signal
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from voicelive_emulator.agents import Agent, CallFunction, Request
from voicelive_emulator.logs import configure_logs
from voicelive_emulator.script import load_script
from voicelive_emulator.scripted_agent import ScriptedAgent
from voicelive_emulator.server import serving
from voicelive_emulator.settings import Settings
from voicelive_emulator.speech_models import load_speech_models


class _FreshAgent:
    """Begins every answer with a number that no answer has begun with."""

    def __init__(self, agent: ScriptedAgent, number: int) -> None:
        self._agent = agent
        self._number = number

    async def reply(self, request: Request) -> AsyncGenerator[str | CallFunction]:
        yield self._opener(request)
        async with aclosing(self._agent.reply(request)) as pieces:
            async for piece in pieces:
                yield piece

    def _opener(self, request: Request) -> str:
        return f"Number {self._number * 100 + len(request.history)} it is, "


class _ForeseeableAgent(_FreshAgent):
    def foresee(self, request: Request) -> Sequence[str]:
        return [self._opener(request), *self._agent.foresee(request)]


async def _serve() -> None:
    configure_logs("info")
    stop = asyncio.Event()
    for stopper in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(stopper, stop.set)
    agent = _FreshAgent if "--unforeseen" in sys.argv else _ForeseeableAgent
    script = load_script()
    numbers = itertools.count(10)

    def new_agent() -> Agent:
        return agent(ScriptedAgent(script), next(numbers))

    models = replace(await asyncio.to_thread(load_speech_models), new_agent=new_agent)
    async with serving(Settings(port=0), models) as endpoints:
        sys.stdout.write(json.dumps({"event": "ready", "port": endpoints.port}) + "\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(_serve())
