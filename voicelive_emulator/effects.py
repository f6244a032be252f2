"""What a session asks its shell to do, in order. Data only."""

from dataclasses import dataclass

from voicelive_emulator.agents import Request
from voicelive_emulator.events import Event
from voicelive_emulator.interim import Interim
from voicelive_emulator.mcp_fields import McpServer
from voicelive_emulator.session_config import HearingOptions


@dataclass(frozen=True, slots=True)
class Send:
    """Send one event to the client."""

    event: Event


@dataclass(frozen=True, slots=True)
class StartReply:
    """Find the words of a response and, where `audio_format` is given, speak them.

    `verbatim` is the text to use as it stands; None asks the agent. `max_tokens` ends the text early;
    None is no limit. Without `parallel_calls` only the first call of a function counts.
    """

    response_id: str
    request: Request
    verbatim: str | None
    audio_format: str | None
    max_tokens: int | None
    parallel_calls: bool
    interim: Interim | None


@dataclass(frozen=True, slots=True)
class CancelReply:
    """Stop working on a response; what is still being made for it is thrown away."""

    response_id: str


@dataclass(frozen=True, slots=True)
class ListMcpTools:
    """Ask a server what it offers, and report it under this id."""

    item_id: str
    server: McpServer


@dataclass(frozen=True, slots=True)
class CallMcpTool:
    """Call a server's tool for a response; `arguments` is a JSON object."""

    response_id: str
    server: McpServer
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Hear:
    """Listen to audio in the input format."""

    audio: bytes


@dataclass(frozen=True, slots=True)
class ConfigureHearing:
    """Listen in another way from here on."""

    options: HearingOptions


@dataclass(frozen=True, slots=True)
class ForgetAudio:
    """Throw away what was heard and not committed."""


@dataclass(frozen=True, slots=True)
class Transcribe:
    """Recognise the turn that has just been committed, and report its text under this id."""

    item_id: str


@dataclass(frozen=True, slots=True)
class Close:
    """Close the socket after everything before was sent."""

    code: int
    reason: str


Effect = (
    Send
    | StartReply
    | CancelReply
    | ListMcpTools
    | CallMcpTool
    | Hear
    | ConfigureHearing
    | ForgetAudio
    | Transcribe
    | Close
)
