"""The scripted agent as a caller meets it: what it says to whom, and that prices cannot drift."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voicelive_emulator.agents import (
    CallFunction,
    EchoAgent,
    Entry,
    FunctionCalled,
    FunctionReturned,
    Message,
    Request,
    Tool,
)
from voicelive_emulator.script import ScriptError, load_script
from voicelive_emulator.scripted_agent import ScriptedAgent

SCRIPT = load_script()
SCRIPT_FILE = Path(__file__).parents[2] / "voicelive_emulator" / "telesales.yaml"
TALE_OF_TWO_CITIES = [
    "It was the best of times, it was the worst of times,",
    "it was the age of wisdom, it was the age of foolishness,",
    "it was the epoch of belief, it was the epoch of incredulity,",
    "it was the season of Light, it was the season of Darkness, it was the spring of hope, it was the "
    "winter of despair,",
    "we had everything before us, we had nothing before us,",
    "we were all going direct to Heaven, we were all going direct the other way -",
    "in short, the period was so far like the present period, that some of its noisiest authorities "
    "insisted on its being received, for good or for evil, in the superlative degree of comparison only.",
]


async def replies_to(history: Sequence[Entry]) -> str:
    pieces = [piece async for piece in ScriptedAgent(SCRIPT).reply(Request(history))]
    assert not any(isinstance(piece, CallFunction) for piece in pieces)
    return "".join(map(str, pieces))


class Call:
    """A talk with the agent in which every reply is heard to its end, unless a test cuts it."""

    def __init__(self) -> None:
        self.history: list[Entry] = []

    async def agent_speaks(self) -> str:
        text = await replies_to(self.history)
        self.history.append(Message("assistant", text))
        return text

    async def caller_says(self, text: str) -> str:
        self.history.append(Message("user", text))
        return await self.agent_speaks()

    def only_heard(self, text: str) -> None:
        self.history[-1] = Message("assistant", text)


async def call_at(*answers: str) -> Call:
    call = Call()
    await call.agent_speaks()
    for answer in answers:
        await call.caller_says(answer)
    return call


BEFORE_THE_OFFER = ("Yes, sure.", "There are three of us.", "Mostly movies.")
OFFERED = (*BEFORE_THE_OFFER, "About fifty dollars.")
SOLD = (*OFFERED, "Yes, please.", "My name is Ann O'Neill.", "Nine oh two one oh.")


async def test_first_words_introduce_an_ai_assistant_and_ask_for_permission() -> None:
    opener = await replies_to([])
    assert "AI assistant of Maple Lantern" in opener
    assert opener.endswith("?")


async def test_instructions_of_the_session_do_not_replace_the_opener() -> None:
    instructions = Message("system", "You are a friendly sales agent. Keep answers short.")
    assert await replies_to([instructions]) == await replies_to([])


@pytest.mark.parametrize(
    "request_text",
    [
        "Greet the caller by saying exactly: \"Welcome, you reached 'Harbour'. How may I help?\"",
        "Say exactly this, nothing else:\n“Welcome, you reached 'Harbour'. How may I help?”",
    ],
)
async def test_exact_text_that_a_system_message_asks_for_is_said_verbatim(request_text: str) -> None:
    assert await replies_to([Message("system", request_text)]) == (
        "Welcome, you reached 'Harbour'. How may I help?"
    )


async def test_exact_text_is_said_only_while_the_request_is_the_last_message() -> None:
    history = [Message("system", 'Say exactly: "Welcome."'), Message("assistant", "Welcome.")]
    reply = await replies_to([*history, Message("user", "How much is it?")])
    assert "39 dollars" in reply


async def test_a_call_goes_from_permission_to_a_confirmed_order() -> None:
    call = await call_at(*OFFERED)
    assert "39 dollars a month" in call.history[-1].text
    assert "name" in await call.caller_says("Yes, that sounds good.")
    assert "Ann O'Neill" in await call.caller_says("It's Ann O'Neill")
    confirmation = await call.caller_says("nine double oh, one, 4")
    assert "9 0 0 1 4" in confirmation
    assert "Ann O'Neill" in confirmation
    assert "order is placed" in await call.caller_says("Yes, that's right.")
    assert "Goodbye" in await call.caller_says("No, that's all, thank you.")


async def test_details_that_are_not_confirmed_are_taken_again() -> None:
    call = await call_at(*SOLD)
    assert "name" in await call.caller_says("No, that's not right.")
    assert "Anne Neal" in await call.caller_says("Anne Neal")


async def test_a_refused_offer_is_followed_by_one_discount_and_then_respected() -> None:
    call = await call_at(*OFFERED)
    better = await call.caller_says("No, thanks.")
    assert "34 dollars a month for the first 6 months" in better
    assert "Goodbye" in await call.caller_says("No, I don't think so.")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("How much is it?", "39 dollars a month"),
        ("What's the price then", "39 dollars a month"),
        ("how much is at", "39 dollars a month"),  # as recognition may hear it
        ("That's too expensive for me.", "34 dollars"),
        ("Any discounts?", "5 dollars"),
        ("What is included?", "router"),
        ("how long is the contract", "12 months"),
        ("Can I cancel the contract any time?", "14 days"),
        ("How fast is it?", "500 megabits"),
        ("When can I get it?", "3 working days"),
        ("I already have internet from another provider.", "switch"),
        ("I have no time, call me back later.", "morning"),
        ("please callback", "morning"),
        ("Who is this?", "Maple Lantern"),
        ("Where did you get my number?", "list"),
        ("Is this a scam?", "bank details"),
        ("Are you a robot?", "Yes, I am an AI assistant"),
        ("Am I talking to a real person?", "Yes, I am an AI assistant"),
        ("Can I speak to a human please", "colleague"),
        ("I'm not interested.", "Goodbye"),
        ("Sorry, wrong number.", "wrong number"),
        ("Please remove me from your list", "off our list"),
        ("I told you people, stop calling me", "off our list"),
        ("Goodbye.", "oodbye"),
        ("Hello, hello, can you hear me?", "Hello"),
        ("How are you today?", "doing well"),
        ("Hold on, one moment.", "take your time"),
        ("I'll take it.", "name"),
    ],
)
async def test_callers_get_the_answer_to_what_they_ask(said: str, expected: str) -> None:
    call = await call_at()
    assert expected in await call.caller_says(said)


@pytest.mark.parametrize(
    "said",
    [
        "My aunt has cancer.",  # not "cancel"
        "You may contact my office about it.",  # not "contract"
        "The notable thing is the weather here today.",
        "Lorem ipsum dolor sit amet.",
        "¿Cuánto cuesta?",
    ],
)
async def test_words_that_only_resemble_a_phrase_are_not_taken_for_it(said: str) -> None:
    reply = await (await call_at()).caller_says(said)
    assert not any(word in reply for word in ("cancel", "contract runs", "39 dollars", "Goodbye"))
    assert reply.endswith("?")


async def test_the_open_question_is_put_again_after_an_answer_in_other_words() -> None:
    call = await call_at("Yes.")
    question = call.history[-1].text
    reply = await call.caller_says("First, what does it cost?")
    assert "39 dollars" in reply
    assert reply.endswith("?")
    assert question.rsplit(". ", 1)[-1] not in reply
    assert "so 4 at home" in await call.caller_says("We are four.")


@pytest.mark.parametrize("said", ["Yes, that is correct.", "It is all correct.", "That's correct, yes."])
async def test_is_correct_is_not_heard_as_incorrect(said: str) -> None:
    assert "order is placed" in await (await call_at(*SOLD)).caller_says(said)


async def test_an_answer_that_is_declined_is_answer_before_for_again() -> None:
    call = await call_at("Yes.")
    assert "work, films or games" in await call.caller_says("I don't know.")


async def test_a_caller_who_declines_to_give_a_name_orders_nothing() -> None:
    call = await call_at(*OFFERED, "Yes, please.")
    reply = await call.caller_says("No, thank you.")
    assert "nothing is ordered" in reply
    assert "morning" in reply


@pytest.mark.parametrize(("said", "number"), [("just me", "1"), ("twenty two", "22"), ("5", "5")])
async def test_numbers_are_understood_in_words_and_digits(said: str, number: str) -> None:
    call = await call_at("Yes.")
    assert f" {number} " in await call.caller_says(said)


async def test_the_price_that_a_caller_pays_now_is_not_taken_for_a_question_about_ours() -> None:
    call = await call_at(*BEFORE_THE_OFFER)
    assert "Lantern Plus is 39 dollars" in await call.caller_says("And how much do you charge?")
    assert "I would suggest Lantern Plus" in await call.caller_says("The price is fifty dollars a month")


async def test_an_unanswered_question_is_left_open_after_a_few_attempts() -> None:
    call = await call_at("Yes.")
    replies = [await call.caller_says(text) for text in ("Bananas.", "More bananas.", "And pears.")]
    assert "work, films or games" in replies[-1]


async def test_repeat_says_the_last_reply_again_and_only_it() -> None:
    call = await call_at(*OFFERED)
    offer = call.history[-1].text
    assert (await call.caller_says("Could you say that again?")).endswith(offer)
    again = await call.caller_says("Sorry, repeat that please.")
    assert again.endswith(offer)
    assert again.count("I would suggest") == 1
    assert "name" in await call.caller_says("Yes.")


async def test_an_opt_out_ends_every_attempt_to_sell() -> None:
    call = await call_at("Take me off your list!")
    for said in ("Hm.", "Sign me up", "It is expensive", "Yes", "Call me back"):
        reply = await call.caller_says(said)
        assert not reply.endswith("?"), reply


async def test_a_caller_who_comes_back_after_goodbye_is_served() -> None:
    call = await call_at("Not interested, thanks.")
    assert "39 dollars" in await call.caller_says("Wait, how much was it?")
    assert "name" in await call.caller_says("All right, sign me up.")


async def test_a_reading_gets_sensible_and_different_answers() -> None:
    call = await call_at()
    replies = [await call.caller_says(passage) for passage in TALE_OF_TWO_CITIES]
    assert len(set(replies)) == len(replies)
    assert not any("Goodbye" in reply for reply in replies)


async def test_silence_that_was_taken_for_a_turn_is_answered() -> None:
    assert "hear you" in await (await call_at()).caller_says("")


async def test_a_further_reply_without_new_words_of_the_caller_goes_on() -> None:
    call = await call_at("Yes.")
    reply = await call.agent_speaks()
    assert "still" in reply
    assert reply.endswith("?")


async def test_a_caller_who_speaks_first_is_greeted() -> None:
    assert "AI assistant of Maple Lantern" in await replies_to([Message("user", "Hello?")])
    assert "39 dollars" in await replies_to([Message("user", "How much is your internet?")])


async def test_an_answer_to_a_question_that_was_not_heard_is_not_taken() -> None:
    call = await call_at(*BEFORE_THE_OFFER, "About fifty dollars.")
    call.only_heard("Thank you, that helps me. For you")
    reply = await call.caller_says("Yes")
    assert "I would suggest Lantern Plus" in reply
    assert "name" in await call.caller_says("Yes")


async def test_an_answer_given_during_the_end_of_the_question_is_taken() -> None:
    call = await call_at()
    call.only_heard(call.history[-1].text.removesuffix(" internet at home?"))
    assert "How many" in await call.caller_says("Yes")


async def test_repeating_after_an_interruption_says_the_whole_reply() -> None:
    call = await call_at(*OFFERED)
    offer = call.history[-1].text
    call.only_heard(offer[:40])
    assert (await call.caller_says("Sorry, say that again?")).endswith(offer)


async def test_what_was_said_before_a_reply_was_heard_is_one_utterance() -> None:
    call = await call_at()
    separate = [Message("user", "How much"), Message("assistant", ""), Message("user", "is it?")]
    together = Message("user", "How much is it?")
    assert await replies_to([*call.history, *separate]) == await replies_to([*call.history, together])


async def test_a_deleted_item_is_forgotten() -> None:
    call = await call_at("Yes.", "Three.")
    without_the_answer = call.history[:-2]
    assert await replies_to([*without_the_answer, Message("user", "five")]) == (
        await replies_to([*(await call_at("Yes.")).history, Message("user", "five")])
    )


async def test_system_messages_in_between_change_nothing() -> None:
    call = await call_at("Yes.")
    noted = [*call.history, Message("system", "The caller sounds tired."), Message("user", "Three.")]
    assert await replies_to(noted) == await replies_to([*call.history, Message("user", "Three.")])


UTTERANCES = st.one_of(
    st.sampled_from(
        [
            *(
                "Yes.",
                "No.",
                "How much is it?",
                "Hello",
                "uh",
                "",
                "Three.",
                "For games.",
                "Ann Lee",
                "12345",
            ),
            *(
                "Are you a robot?",
                "Too expensive.",
                "Can I cancel?",
                "Call me back",
                "I'll take it",
                "thanks",
            ),
            *TALE_OF_TWO_CITIES,
        ]
    ),
    st.text(max_size=40),
)


@settings(max_examples=50, deadline=None)
@given(st.lists(UTTERANCES, max_size=12))
async def test_whatever_callers_say_replies_are_prompt_varied_and_true(said: list[str]) -> None:
    call = await call_at()
    before = call.history[-1].text
    for text in said:
        reply = await call.caller_says(text)
        assert reply == await replies_to(call.history[:-1])
        assert reply != before
        assert len(re.split(r"[,.!?]", reply)[0].split()) <= 5
        assert "{" not in reply
        assert set(re.findall(r"\d+ (?=dollars)", reply)) <= {"39 ", "34 ", "5 "}
        before = reply


async def test_pieces_are_sentences() -> None:
    pieces = [str(piece) async for piece in ScriptedAgent(SCRIPT).reply(Request(()))]
    assert len(pieces) == 2
    assert pieces[0].endswith(". ")


async def test_the_echo_agent_repeats_what_the_caller_said() -> None:
    history = (Message("user", "One."), Message("assistant", "You said: One."), Message("user", "Two."))
    pieces = [piece async for piece in EchoAgent().reply(Request(history))]
    assert pieces == ["You said: Two."]


async def test_a_number_may_come_in_parts() -> None:
    call = await call_at(*OFFERED, "Yes, please.", "Ann O'Neill.")
    assert (await call.caller_says("nine oh")) == "Yes, go on."
    assert (await call.caller_says("two")) == "Mhm, and then?"
    assert "9 0 2 1 0" in await call.caller_says("one oh")


async def test_too_many_digits_are_asked_for_again() -> None:
    call = await call_at(*OFFERED, "Yes, please.", "Ann O'Neill.")
    await call.caller_says("nine oh two one")
    assert "zip code" in await call.caller_says("one two three")
    assert "9 0 2 1 0" in await call.caller_says("nine oh two one oh")


def tool(name: str, description: str = "", required: Sequence[str] = (), **properties: object) -> Tool:
    return Tool(name, description, {"type": "object", "properties": properties, "required": list(required)})


TEXT = {"type": "string"}


class CallWithTools(Call):
    """A talk in which the client offers functions; it stops at each call."""

    def __init__(self, *tools: Tool) -> None:
        super().__init__()
        self.tools = tools

    async def next(self, *, must_call: bool = False) -> str | CallFunction:
        request = Request(self.history, self.tools, must_call)
        pieces = [piece async for piece in ScriptedAgent(SCRIPT).reply(request)]
        if isinstance(pieces[0], CallFunction):
            assert len(pieces) == 1
            self.history.append(FunctionCalled("call_1", pieces[0].name, pieces[0].arguments))
            return pieces[0]
        text = "".join(map(str, pieces))
        self.history.append(Message("assistant", text))
        return text

    async def caller_says(self, text: str) -> str:
        said = await self.caller_leads_to(text)
        assert isinstance(said, str), said
        return said

    async def caller_leads_to(self, text: str) -> str | CallFunction:
        self.history.append(Message("user", text))
        return await self.next()

    async def function_returns(self, output: str) -> str | CallFunction:
        self.history.append(FunctionReturned("call_1", output))
        return await self.next()


async def with_tools(tools: Sequence[Tool], *answers: str) -> CallWithTools:
    call = CallWithTools(*tools)
    await call.next()
    for answer in answers:
        await call.caller_says(answer)
    return call


class TestFunctions:
    async def test_a_wish_calls_the_function_for_it(self) -> None:
        tools = (tool("get_price"), tool("scheduleCallback", required=["note"], note=TEXT))
        call = await with_tools(tools)
        assert await call.caller_leads_to("Call me back tomorrow.") == CallFunction(
            "scheduleCallback", '{"note":"Call me back tomorrow."}'
        )
        assert "another day" in str(await call.function_returns('{"ok": true}'))

    async def test_the_description_counts_where_no_name_does(self) -> None:
        call = await with_tools((tool("crm_42", "Lets a person take over: hand over the call."),))
        assert await call.caller_leads_to("Give me a human!") == CallFunction("crm_42", "{}")

    async def test_a_function_waits_for_what_it_requires(self) -> None:
        tools = (tool("book_callback", "Schedule a call.", ["time"], time=TEXT),)
        call = await with_tools(tools)
        assert "morning" in await call.caller_says("I am busy right now.")
        assert await call.caller_leads_to("In the evening.") == CallFunction(
            "book_callback", '{"time":"the evening"}'
        )
        assert "the evening" in str(await call.function_returns("booked"))

    async def test_an_order_is_placed_once_it_is_confirmed(self) -> None:
        order = tool(
            "place_order",
            required=["customer_name", "product"],
            customer_name=TEXT,
            product=TEXT,
            zipCode=TEXT,
            household={"type": "integer"},
            nickname=TEXT,
        )
        call = await with_tools((order,), *SOLD)
        called = await call.caller_leads_to("Yes, that's right.")
        assert isinstance(called, CallFunction)
        assert json.loads(called.arguments) == {
            "customer_name": "Ann O'Neill",
            "product": "Lantern Plus",
            "zipCode": "9 0 2 1 0",
            "household": 3,
        }
        assert "order is placed" in str(await call.function_returns('{"id": 7}'))
        assert "Goodbye" in await call.caller_says("No, that's all, thank you.")

    async def test_what_a_function_gave_is_said(self) -> None:
        call = await with_tools((tool("get_price"),))
        assert await call.caller_leads_to("How much is it?") == CallFunction("get_price", "{}")
        told = str(await call.function_returns('{"price": "45 dollars", "inStock": 3, "more": null}'))
        assert "price 45 dollars, in Stock 3" in told
        assert told.endswith("?")
        assert isinstance(await call.caller_leads_to("And how much is it now?"), CallFunction)

    async def test_a_function_outside_the_script_is_called_by_its_name(self) -> None:
        weather = tool("get_weather", required=["city"], city=TEXT, unit={"enum": ["celsius", "kelvin"]})
        call = await with_tools((weather,))
        assert await call.caller_leads_to("What's the weather in New York?") == CallFunction(
            "get_weather", '{"city":"New York"}'
        )
        assert "It is foggy" in str(await call.function_returns("It is foggy."))

    async def test_no_function_no_call(self) -> None:
        call = await with_tools((tool("unrelated"),), "How much is it?", "Call me back.", "Remove me.")
        assert "Goodbye" in call.history[-1].text

    async def test_a_demanded_call_is_made(self) -> None:
        choice = {"type": "string", "enum": ["basic", "plus"]}
        call = CallWithTools(tool("set_plan", required=["plan", "months"], plan=choice, months=INTEGER))
        call.history.append(Message("user", "The plus plan for twelve months"))
        called = await call.next(must_call=True)
        assert called == CallFunction("set_plan", '{"plan":"plus","months":12}')


INTEGER = {"type": "integer"}


@pytest.mark.parametrize(
    ("written", "instead", "complaint"),
    [
        ("{price} a month, with everything", "39 dollars a month, with everything", "intents.price.say"),
        ("      go: household", "      go: houshold", "there is no step 'houshold'"),
        ("{company}.\n", "{compny}.\n", "{compny} is neither a fact nor an answer"),
        ("    take: digits", "    take: figures", "steps.zip.take: must be one of yes_no, number"),
        ("    length: 5", "    length: five", "steps.zip.length: must be a whole number"),
        ("    patience: 1", "    patince: 1", "steps.pay.patience: must be a whole number"),
        ("    otherwise: a few", "    otherwise: a few\n    otherwize: x", "otherwize: is not known here"),
        ("    heard: last", "    heard: never", "heard: must be one of first, normal, last"),
        ("    answer_before: [call_back]", "    answer_before: [callback]", "there is no intent 'callback'"),
        ("      - Great, thank you.\n", "", "steps.consent.yes.say: must be a list of at least two texts"),
        (
            "  - All the best to you.",
            "  - I wish you all the best in the world.",
            "closing: begins with a long",
        ),
        ("[discount*,", "[what*ever any*,", "a phrase of one word"),
        ("facts:", "fact:", "facts: must be a mapping"),
        ("steps:\n", "steps:\n\t", "cannot start any token"),
    ],
)
def test_a_faulty_script_is_refused_with_the_place_and_the_reason(
    tmp_path: Path, written: str, instead: str, complaint: str
) -> None:
    content = SCRIPT_FILE.read_text("utf-8")
    assert written in content
    faulty = tmp_path / "script.yaml"
    faulty.write_text(content.replace(written, instead, 1), "utf-8")
    with pytest.raises(ScriptError) as refusal:
        load_script(faulty)
    assert complaint in str(refusal.value)
    assert str(faulty) in str(refusal.value)


def test_a_missing_script_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match=r"nothing\.yaml"):
        load_script(tmp_path / "nothing.yaml")


def test_every_fact_is_written_once() -> None:
    content = SCRIPT_FILE.read_text("utf-8")
    facts, rest = content.split("\nfacts:\n", 1)[1].split("\n\n", 1)
    for line in facts.splitlines():
        value = line.split(":", 1)[1].strip()
        assert not re.search(rf"\b{re.escape(value)}\b", rest), value
