"""Conversations with agents that are taken up again."""

from voicelive_emulator.agents import Message
from voicelive_emulator.threads import Threads

SAID = (Message("user", "Hello"), Message("assistant", "Good morning"))


def new_id() -> str:
    return "conv_new"


def test_an_unknown_one_begins_anew() -> None:
    assert Threads().open("sales", "shop", "conv_1", new_id) == ("conv_new", ())


def test_belongs_to_one_agent_of_one_project() -> None:
    threads = Threads()
    threads.keep("sales", "shop", "conv_1", SAID)
    assert threads.open("sales", "shop", "conv_1", new_id) == ("conv_1", SAID)
    assert threads.open("support", "shop", "conv_1", new_id) == ("conv_new", ())
    assert threads.open("sales", "other", "conv_1", new_id) == ("conv_new", ())


def test_the_oldest_are_forgotten() -> None:
    threads = Threads()
    for number in range(1_001):
        threads.keep("sales", "shop", f"conv_{number}", SAID)
    assert threads.open("sales", "shop", "conv_0", new_id)[0] == "conv_new"
    assert threads.open("sales", "shop", "conv_1", new_id)[0] == "conv_1"
