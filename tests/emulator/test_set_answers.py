"""The answers that a test sets."""

import pytest

from voicelive_emulator.agents import CallFunction, EchoAgent, Request
from voicelive_emulator.set_answers import AnswerError, AnswerFailed, SetAnswers, SetAnswersAgent


async def reply(agent: SetAnswersAgent) -> list[str | CallFunction]:
    return [piece async for piece in agent.reply(Request(()))]


async def test_each_response_takes_the_next_and_then_another_agent_answers() -> None:
    answers = SetAnswers()
    agent = SetAnswersAgent(answers, EchoAgent())
    answers.replace(["One.", {"call": "get_price", "arguments": {"plan": "plus"}}, {"call": "stop"}])
    assert await reply(agent) == ["One."]
    assert await reply(agent) == [CallFunction("get_price", '{"plan":"plus"}')]
    assert await reply(agent) == [CallFunction("stop", "{}")]
    assert await reply(agent) == ["Hello, I repeat what you say."]


async def test_an_answer_may_fail() -> None:
    answers = SetAnswers()
    answers.replace([{"fail": True}])
    with pytest.raises(AnswerFailed):
        await reply(SetAnswersAgent(answers, EchoAgent()))


async def test_new_answers_replace_those_that_wait() -> None:
    answers = SetAnswers()
    answers.replace(["One.", "Two."])
    answers.replace(["Three."])
    assert len(answers) == 1
    assert answers.take() == "Three."


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        "One.",
        {"answers": []},
        ["One.", ""],
        [{"call": ""}],
        [{"call": "f", "arguments": "{}"}],
        [{"call": "f", "extra": 1}],
        [{"fail": False}],
        [3],
        ["One."] * 1_001,
    ],
)
def test_what_cannot_be_said_is_refused_and_changes_nothing(wrong: object) -> None:
    answers = SetAnswers()
    answers.replace(["Kept."])
    with pytest.raises(AnswerError):
        answers.replace(wrong)
    assert answers.take() == "Kept."
