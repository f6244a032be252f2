"""What a client may put into a conversation, checked and turned into items."""

from typing import Annotated, Any, Literal

import pybase64
from pydantic import Discriminator, Field, Tag

from voicelive_emulator.conversation import FunctionCallItem, FunctionOutputItem, Item, MessageItem
from voicelive_emulator.events import ClientError, Event, Events
from voicelive_emulator.mcp_items import McpApprovalResponseItem
from voicelive_emulator.validation import TAG, Strict, tag_of, validate

_UNSUPPORTED_ITEMS = ("mcp_call", "mcp_list_tools", "mcp_approval_request")


class _InputText(Strict):
    type: Literal["input_text"]
    text: str

    def echo(self) -> Event:
        return {"type": "input_text", "text": self.text}


class _Text(Strict):
    """Text of the assistant; the newer name comes back under the older one (recorded)."""

    type: Literal["text", "output_text"]
    text: str

    def echo(self) -> Event:
        return {"type": "text", "text": self.text}


class _InputAudio(Strict):
    type: Literal["input_audio"]
    audio: str | None = None
    transcript: str | None = None

    def echo(self) -> Event:
        return {"type": "input_audio", "transcript": self.transcript}


class _InputImage(Strict):
    type: Literal["input_image"]
    image_url: str | None = None
    url: str | None = None
    detail: Literal["auto", "low", "high"] = "auto"

    def echo(self) -> Event:
        """The picture itself does not come back (recorded)."""
        return {"type": "input_image", "image_url": None, "detail": self.detail}


class _Audio(Strict):
    type: Literal["audio"]
    transcript: str

    def echo(self) -> Event:
        return {"type": "audio", "transcript": self.transcript}


_Part = Annotated[
    Annotated[_InputText, Tag(f"{TAG}input_text")]
    | Annotated[_InputAudio, Tag(f"{TAG}input_audio")]
    | Annotated[_InputImage, Tag(f"{TAG}input_image")]
    | Annotated[_Text, Tag(f"{TAG}text")]
    | Annotated[_Audio, Tag(f"{TAG}audio")],
    Discriminator(lambda part: f"{TAG}text" if (tag := tag_of(part)) == f"{TAG}output_text" else tag),
]
_PARTS_OF_ROLE = {
    "system": {"input_text"},
    "user": {"input_text", "input_audio", "input_image"},
    "assistant": {"text", "output_text", "audio"},
}


class _ItemRequest(Strict):
    id: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    object: str | None = None
    status: Literal["completed", "incomplete", "in_progress"] = "completed"


class _MessageRequest(_ItemRequest):
    type: Literal["message"]
    role: Literal["system", "user", "assistant"]
    content: Annotated[list[_Part], Field(min_length=1)]


class _FunctionCallRequest(_ItemRequest):
    type: Literal["function_call"]
    name: str
    call_id: str | None = None
    arguments: str


class _FunctionOutputRequest(_ItemRequest):
    type: Literal["function_call_output"]
    call_id: str
    output: str


class _ApprovalResponseRequest(_ItemRequest):
    type: Literal["mcp_approval_response"]
    approval_request_id: str
    approve: bool
    reason: str | None = None


class _Request(Strict):
    item: Annotated[
        Annotated[_MessageRequest, Tag(f"{TAG}message")]
        | Annotated[_FunctionCallRequest, Tag(f"{TAG}function_call")]
        | Annotated[_FunctionOutputRequest, Tag(f"{TAG}function_call_output")]
        | Annotated[_ApprovalResponseRequest, Tag(f"{TAG}mcp_approval_response")],
        Discriminator(tag_of),
    ]


def requested_item(data: Any, events: Events, param: str = "") -> Item:
    """Return the item that `data` describes, with an id if the client gave none.

    Raises ClientError whose `param` begins with `param`.
    """
    if isinstance(data, dict) and data.get("type") in _UNSUPPORTED_ITEMS:
        raise ClientError("unsupported_item", f"Only the service makes items of type {data['type']}.", "item")
    request = validate(_Request, {"item": data}, param).item
    item_id = request.id or events.new_id("item")
    match request:
        case _MessageRequest(role=role, content=content):
            for index, part in enumerate(content):
                path = f"{param}.item.content[{index}]".lstrip(".")
                if part.type not in _PARTS_OF_ROLE[role]:
                    raise ClientError(
                        "invalid_value", f"A {role} message cannot have {part.type}.", f"{path}.type"
                    )
                if isinstance(part, _InputAudio) and part.audio and part.transcript is None:
                    raise ClientError(
                        "unsupported_content",
                        "Audio in an item needs its transcript here; speech goes into the input buffer.",
                        f"{path}.audio",
                    )
            return MessageItem(item_id, role, [part.echo() for part in content], request.status)
        case _FunctionCallRequest(name=name, call_id=call_id, arguments=arguments):
            return FunctionCallItem(item_id, name, call_id or events.new_id("call", 16), arguments)
        case _FunctionOutputRequest(call_id=call_id, output=output):
            return FunctionOutputItem(item_id, call_id, output)
        case _ApprovalResponseRequest(approval_request_id=request_id, approve=approve, reason=reason):
            return McpApprovalResponseItem(item_id, request_id, approve, reason)


def decoded_audio(data: object) -> bytes:
    """Return the bytes of a base64 string; raises ClientError for anything else."""
    if not isinstance(data, str):
        raise ClientError("missing_required_parameter", "'audio' must be a base64 string.", "audio")
    try:
        return pybase64.b64decode(data, validate=True)
    except ValueError:
        raise ClientError("invalid_value", "'audio' is not valid base64.", "audio") from None
