"""The items of MCP: what servers offer, calls of their tools, and the client's consent. Pure.

The fields are those that Microsoft's SDK documents; no recording shows them.
"""

from dataclasses import dataclass, field

from voicelive_emulator.events import Event


@dataclass(slots=True)
class McpListToolsItem:
    """What a server offers; each tool has `name`, `description` and `input_schema`."""

    item_id: str
    server_label: str
    tools: list[Event] = field(default_factory=list)

    def echo(self) -> Event:
        """Return the item as events show it."""
        return {
            "id": self.item_id,
            "object": "realtime.item",
            "type": "mcp_list_tools",
            "server_label": self.server_label,
            "tools": self.tools,
        }


@dataclass(slots=True)
class McpCallItem:
    """A call of a server's tool. It has ended once there is an `output` or an `error`."""

    item_id: str
    server_label: str
    name: str
    arguments: str = ""
    status: str = "completed"
    approval_request_id: str | None = None
    awaits_approval: bool = False
    output: str | None = None
    error: Event | None = None

    def echo(self) -> Event:
        """Return the item as events show it."""
        return {
            "id": self.item_id,
            "object": "realtime.item",
            "type": "mcp_call",
            "status": self.status,
            "approval_request_id": self.approval_request_id,
            "server_label": self.server_label,
            "name": self.name,
            "arguments": self.arguments,
            "output": self.output,
            "error": self.error,
        }

    @property
    def result(self) -> str | None:
        """What an agent is told; None while the call goes on."""
        return self.output if self.error is None else str(self.error["message"])


@dataclass(slots=True)
class McpApprovalRequestItem:
    """The client is asked whether a tool may be called."""

    item_id: str
    server_label: str
    name: str
    arguments: str

    def echo(self) -> Event:
        """Return the item as events show it."""
        return {
            "id": self.item_id,
            "object": "realtime.item",
            "type": "mcp_approval_request",
            "server_label": self.server_label,
            "name": self.name,
            "arguments": self.arguments,
        }


@dataclass(slots=True)
class McpApprovalResponseItem:
    """The client's answer to that."""

    item_id: str
    approval_request_id: str
    approve: bool
    reason: str | None

    def echo(self) -> Event:
        """Return the item as events show it."""
        return {
            "id": self.item_id,
            "object": "realtime.item",
            "type": "mcp_approval_response",
            "approval_request_id": self.approval_request_id,
            "approve": self.approve,
            "reason": self.reason,
        }


McpItem = McpListToolsItem | McpCallItem | McpApprovalRequestItem | McpApprovalResponseItem
