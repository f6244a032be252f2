"""What is said while the answer takes long."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from tests.emulator.doubles import Doubles
from tests.emulator.wire import Event, connected
from voicelive_emulator.agents import CallFunction, Request
from voicelive_emulator.interim import Interim, bridged, chosen_interim
from voicelive_emulator.server import Endpoints
from voicelive_emulator.session_fields import InterimResponse

STATIC = {"type": "static_interim_response", "texts": ["One moment."]}


class SlowAgent:
    """Answers when it is told."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def reply(self, request: Request) -> AsyncGenerator[str | CallFunction]:
        await self.go_on.wait()
        yield "Here it is."


def interim(**fields: object) -> Interim | None:
    request = InterimResponse.model_validate({**STATIC, **fields})
    return chosen_interim(request, lambda texts: texts[0])


class TestChoice:
    def test_defaults_are_those_that_microsoft_documents(self) -> None:
        assert interim() == Interim("One moment. ", 2_000, before_calls=False)

    def test_triggers(self) -> None:
        assert interim(triggers=["tool"]) == Interim("One moment. ", None, before_calls=True)
        both = interim(triggers=["latency", "tool"], latency_threshold_ms=300)
        assert both == Interim("One moment. ", 300, before_calls=True)

    def test_without_a_text_there_is_none(self) -> None:
        assert interim(texts=[]) is None
        assert interim(texts=[" "]) is None

    @pytest.mark.parametrize("kind", ["llm_interim_response", "llm-interim-response"])
    def test_a_model_needs_no_texts(self, kind: str) -> None:
        chosen = interim(type=kind, texts=None)
        assert chosen is not None
        assert chosen.text.strip()


class TestBridge:
    async def test_an_answer_that_comes_never_ends_with_its_task(self) -> None:
        began = asyncio.Event()

        async def never() -> AsyncGenerator[str]:
            began.set()
            await asyncio.Event().wait()
            yield ""

        async def listen() -> None:
            async for _ in bridged(never(), Interim("Wait. ", 60_000, before_calls=False)):
                pass

        listening = asyncio.ensure_future(listen())
        await began.wait()
        listening.cancel()
        await asyncio.wait([listening])
        assert listening.cancelled()

    async def test_no_answer_at_all(self) -> None:
        async def nothing() -> AsyncGenerator[str]:
            return
            yield ""  # type: ignore[unreachable]  # makes it a generator

        assert [text async for text in bridged(nothing(), interim())] == []


async def ask(endpoints: Endpoints, agent: SlowAgent, model: str = "gpt-4.1", **fields: object) -> Event:
    """Ask a slow agent; it answers once its client has heard something, or at once where it hears nothing."""
    async with connected(endpoints.port, f"/voice-live/realtime?model={model}") as client:
        await client.send("session.update", session={"interim_response": {**STATIC, **fields}})
        await client.until("session.updated")
        await client.send("response.create")
        await client.until("response.created")
        if fields["latency_threshold_ms"] == 0 and model == "gpt-4.1":
            await client.until("response.audio_transcript.delta")
        agent.go_on.set()
        response: Event = (await client.until("response.done"))[-1]["response"]
        return response


class TestOnTheWire:
    async def test_bridges_a_late_answer(self, emulator: Endpoints, doubles: Doubles) -> None:
        doubles.agent = agent = SlowAgent()
        response = await ask(emulator, agent, latency_threshold_ms=0)
        assert response["output"][0]["content"][0]["transcript"] == "One moment. Here it is."

    @pytest.mark.parametrize(("model", "latency_ms"), [("gpt-4.1", 60_000), ("gpt-realtime", 0)])
    async def test_not_in_time_and_not_for_native_models(
        self, emulator: Endpoints, doubles: Doubles, model: str, latency_ms: int
    ) -> None:
        doubles.agent = agent = SlowAgent()
        response = await ask(emulator, agent, model, latency_threshold_ms=latency_ms)
        assert response["output"][0]["content"][0]["transcript"] == "Here it is."

    async def test_both_spellings_are_taken(self, emulator: Endpoints) -> None:
        body = {"type": "static-interim-response", "texts": ["One moment."]}
        async with connected(emulator.port) as client:
            await client.expect("session.created")
            await client.send("session.update", session={"interim-response": body})
            assert (await client.expect("session.updated"))["session"]["interim_response"] == body
