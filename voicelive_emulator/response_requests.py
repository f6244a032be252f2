"""The body of `response.create`, checked, and what it means together with the session's configuration."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from voicelive_emulator.agents import Tool as OfferedTool
from voicelive_emulator.conversation import Item, MessageItem
from voicelive_emulator.events import ClientError, Events, check_size
from voicelive_emulator.item_requests import requested_item
from voicelive_emulator.mcp_fields import McpServer
from voicelive_emulator.mcp_items import McpApprovalResponseItem
from voicelive_emulator.mcp_tools import McpTools
from voicelive_emulator.responses import ResponseOptions
from voicelive_emulator.session_config import SessionConfig, with_voice_object
from voicelive_emulator.session_fields import (
    CustomVoice,
    FunctionTool,
    InterimResponse,
    MaxTokens,
    Metadata,
    Modality,
    NamedTool,
    OpenAIVoice,
    OutputFormat,
    ReasoningEffort,
    StandardVoice,
    Temperature,
    Tool,
    ToolChoice,
    Voice,
)
from voicelive_emulator.validation import Strict, validate


class ResponseRequest(Strict):
    """What a client may ask of one response. Both spellings of the token limit are documented."""

    modalities: list[Modality] | None = None
    instructions: str | None = None
    voice: Voice | None = None
    output_audio_format: OutputFormat | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    temperature: Temperature | None = None
    max_output_tokens: MaxTokens | None = None
    max_response_output_tokens: MaxTokens | None = None
    conversation: Literal["auto", "none"] | None = None
    metadata: Metadata | None = None
    reasoning_effort: ReasoningEffort | None = None
    interim_response: InterimResponse | None = None
    pre_generated_assistant_message: dict[str, Any] | None = None
    commit: bool | None = None
    cancel_previous: bool | None = None
    append_input_items: list[dict[str, Any]] | None = None
    input_items: list[dict[str, Any]] | None = None
    invoke_input: dict[str, Any] | None = None

    @property
    def in_conversation(self) -> bool:
        """Whether the answer becomes part of the conversation."""
        return self.conversation != "none" and self.commit is not False


def requested_response(body: object) -> ResponseRequest:
    """Return the checked body of `response.create`; None and absent mean an empty one."""
    if body is None:
        return ResponseRequest()
    if not isinstance(body, dict):
        raise ClientError("invalid_type", "'response' must be an object.", "response")
    return validate(ResponseRequest, with_voice_object(body), "response")


def requested_items(data: list[dict[str, Any]] | None, events: Events, name: str) -> list[Item]:
    """Return the items of `append_input_items` or `input_items`."""
    items = [
        requested_item(item, events, f"response.{name}[{index}]") for index, item in enumerate(data or ())
    ]
    if any(isinstance(item, McpApprovalResponseItem) for item in items):
        message = "An approval is given with conversation.item.create."
        raise ClientError("unsupported_item", message, f"response.{name}")
    return items


def verbatim_text(request: ResponseRequest, events: Events) -> str | None:
    """Return the text of `pre_generated_assistant_message`; None when there is none."""
    if request.pre_generated_assistant_message is None:
        return None
    param = "response.pre_generated_assistant_message"
    item = requested_item(request.pre_generated_assistant_message, events, param)
    if not isinstance(item, MessageItem) or item.role != "assistant" or not item.text:
        raise ClientError("invalid_value", "It is a message of the assistant with text.", param)
    check_size(item.echo(), param)
    return item.text


def response_options(request: ResponseRequest, config: SessionConfig) -> ResponseOptions:
    """Return how to give the response: what the request says, else what the session says."""
    voice = request.voice or config.voice
    limit = request.max_output_tokens or request.max_response_output_tokens
    temperature = config.get("temperature") if config.profile.has_temperature else None
    return ResponseOptions(
        modalities=tuple(request.modalities or config.get("modalities")),
        voice=voice.echo(),
        output_audio_format=request.output_audio_format or config.get("output_audio_format"),
        temperature=request.temperature if request.temperature is not None else temperature,
        max_output_tokens=limit or config.get("max_response_output_tokens"),
        metadata=request.metadata,
        with_word_timestamps="word" in (config.get("output_audio_timestamp_types") or ())
        and not isinstance(voice, OpenAIVoice),
        with_visemes=config.get("animation") is not None and isinstance(voice, (StandardVoice, CustomVoice)),
        parallel_calls=config.get("parallel_tool_calls") is not False,
        interim=_interim(request, config, voice),
        in_conversation=request.in_conversation,
    )


def _interim(request: ResponseRequest, config: SessionConfig, voice: Voice) -> InterimResponse | None:
    """Return what may be said while the answer takes long: documented for cascades with Azure voices."""
    if not config.profile.transcript_first or isinstance(voice, OpenAIVoice):
        return None
    interim: InterimResponse | None = request.interim_response or config.get("interim_response")
    return interim


@dataclass(frozen=True, slots=True)
class Offer:
    """The tools that an answer may call. `servers` has those that the session itself calls, by name."""

    tools: tuple[OfferedTool, ...] = ()
    must_call: bool = False
    """The answer is a call of the only tool."""
    servers: Mapping[str, McpServer] = field(default_factory=dict)


def offered_tools(request: ResponseRequest, config: SessionConfig, mcp: McpTools) -> Offer:
    """Return the tools that the answer may call, and whether it must call the only one.

    `tool_choice` demands a call: `required` of the first tool, or of one by name. Raises
    ClientError when that is not among the tools.
    """
    declared: list[FunctionTool] = config.tools if request.tools is None else request.tools
    functions = [OfferedTool(tool.name, tool.description or "", tool.parameters or {}) for tool in declared]
    names = {tool.name for tool in functions}
    of_servers = mcp.offered() if request.tools is None else {}
    called_here = {name: offer for name, offer in of_servers.items() if name not in names}
    tools = (*functions, *(tool for tool, _ in called_here.values()))
    servers = {name: server for name, (_, server) in called_here.items()}
    choice = config.get("tool_choice") if request.tool_choice is None else request.tool_choice
    if choice == "none":
        return Offer()
    if choice == "auto" or (choice == "required" and not tools):
        return Offer(tools, servers=servers)
    name = choice.function_name if isinstance(choice, NamedTool) else choice
    for tool in tools:
        if name in {"required", tool.name}:
            return Offer((tool,), must_call=True, servers=servers)
    raise ClientError(
        "invalid_value", "'tool_choice' names a function that is not among the tools.", "tool_choice"
    )
