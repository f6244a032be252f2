"""An MCP server among the tools of a session, as the client describes it."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from voicelive_emulator.events import Event
from voicelive_emulator.session_fields import FunctionTool
from voicelive_emulator.validation import TAG, Strict, tag_of


class _Approvals(Strict):
    """Which tools need the client's consent; those in neither list do."""

    never: list[str] | None = None
    always: list[str] | None = None


_RequireApproval = Annotated[
    Annotated[Literal["never", "always"], Tag(f"{TAG}for all")] | Annotated[_Approvals, Tag(f"{TAG}by name")],
    Discriminator(lambda value: f"{TAG}for all" if isinstance(value, str) else f"{TAG}by name"),
]


class McpServer(Strict):
    """A server whose tools the session may call by itself."""

    type: Literal["mcp"]
    server_label: str = Field(min_length=1, max_length=128)
    server_url: str = Field(min_length=1, max_length=2_048)
    authorization: str | None = Field(default=None, repr=False)
    headers: dict[str, str] | None = Field(default=None, repr=False)
    allowed_tools: list[str] | None = None
    require_approval: _RequireApproval | None = None

    def allows(self, name: str) -> bool:
        """Whether the session may use this tool at all."""
        return self.allowed_tools is None or name in self.allowed_tools

    def needs_approval(self, name: str) -> bool:
        """Whether the client must agree to each call of this tool: the documented default."""
        if isinstance(self.require_approval, _Approvals):
            return name not in (self.require_approval.never or ())
        return self.require_approval != "never"

    def echo(self) -> Event:
        """Return the object as a session shows it, without the secrets in it."""
        approval = self.require_approval or "always"
        return {
            "type": self.type,
            "server_label": self.server_label,
            "server_url": self.server_url,
            "allowed_tools": self.allowed_tools,
            "require_approval": approval if isinstance(approval, str) else approval.model_dump(),
        }


SessionTool = Annotated[
    Annotated[FunctionTool, Tag(f"{TAG}function")] | Annotated[McpServer, Tag(f"{TAG}mcp")],
    Discriminator(tag_of),
]
