"""Who answers in the emulator: an agent turns the conversation so far into the next reply.

Here is what every agent takes and gives, and the two simplest agents. Agents keep nothing between
replies, so that deleting or truncating items changes what they know.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the conversation; of an interrupted assistant message, only what was heard."""

    role: Literal["system", "user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class FunctionCalled:
    """The agent has asked for a function; `text` are the arguments, a JSON object."""

    call_id: str
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class FunctionReturned:
    """What a called function gave, as text or JSON."""

    call_id: str
    text: str


Entry = Message | FunctionCalled | FunctionReturned


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the client offers; `parameters` is the JSON schema of its arguments."""

    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class CallFunction:
    """A reply that is no speech: call this function. `arguments` is a JSON object."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Request:
    """What an agent answers. With `must_call` it calls the only tool."""

    history: Sequence[Entry]
    tools: Sequence[Tool] = ()
    must_call: bool = False


class Agent(Protocol):
    """Answers for one session."""

    def reply(self, request: Request) -> AsyncGenerator[str | CallFunction]:
        """The next assistant message in pieces, joined they are the message; calls come last."""
        ...


@runtime_checkable
class Foreseeable(Protocol):
    """An agent that can be asked ahead of time, since that costs nothing and changes nothing."""

    def foresee(self, request: Request) -> Sequence[str]:
        """The pieces of text that `reply` would give now; none where it would call a function."""
        ...


class EchoAgent:
    """Repeats what the caller said."""

    async def reply(self, request: Request) -> AsyncGenerator[str | CallFunction]:
        """Say the caller's last words again."""
        words = (entry for entry in reversed(request.history) if isinstance(entry, Message))
        said = next((message.text for message in words if message.role == "user"), None)
        yield "Hello, I repeat what you say." if said is None else f"You said: {said}"
