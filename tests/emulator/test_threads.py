"""Conversations with agents that are taken up again."""

from itertools import count

from voicelive_emulator.agents import Entry, Message
from voicelive_emulator.threads import Threads

HELLO, MORNING = Message("user", "Hello"), Message("assistant", "Good morning")


class Shop:
    """Agents of one project."""

    def __init__(self) -> None:
        self.threads = Threads()
        self._numbers = count(1)

    def call(
        self, thread_id: str = "", agent: str = "sales", project: str = "shop"
    ) -> tuple[str, tuple[Entry, ...]]:
        """Begin a session; return the conversation and what was said before."""
        self.thread = self.threads.open(agent, project, thread_id, lambda: f"conv_{next(self._numbers)}")
        return self.thread.thread_id, self.thread.earlier


def test_an_unknown_one_begins_anew() -> None:
    assert Shop().call("conv_77") == ("conv_1", ())


def test_belongs_to_one_agent_of_one_project() -> None:
    shop = Shop()
    shop.call()
    shop.thread.begin(lambda: (HELLO,))
    shop.thread.end()
    assert shop.call("conv_1") == ("conv_1", (HELLO,))
    assert shop.call("conv_1", agent="support") == ("conv_2", ())
    assert shop.call("conv_1", project="other") == ("conv_3", ())
    assert shop.call("conv_1") == ("conv_1", (HELLO,))


def test_a_caller_may_return_before_the_lost_session_is_over() -> None:
    shop = Shop()
    shop.call()
    lost = shop.thread
    lost.begin(lambda: (HELLO,))
    assert shop.call("conv_1") == ("conv_1", (HELLO,))
    shop.thread.begin(lambda: (HELLO, MORNING))
    lost.end()
    assert shop.call("conv_1") == ("conv_1", (HELLO, MORNING))


def test_the_oldest_are_forgotten() -> None:
    shop = Shop()
    for _ in range(1_001):
        shop.call()
    assert shop.call("conv_2")[0] == "conv_2"
    assert shop.call("conv_1")[0] == "conv_1002"
