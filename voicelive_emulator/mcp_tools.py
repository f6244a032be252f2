"""Which tools the MCP servers of one session offer. Pure: the shell asks the servers."""

from collections.abc import Sequence
from typing import Any, Final

from voicelive_emulator.agents import Tool
from voicelive_emulator.conversation import Conversation
from voicelive_emulator.effects import Effect, ListMcpTools, Send
from voicelive_emulator.events import Event, Events
from voicelive_emulator.mcp_fields import McpServer
from voicelive_emulator.mcp_items import McpListToolsItem

_MOST_LISTINGS: Final = 8
"""Servers that are asked at once; a further one counts as failed."""


class McpTools:
    """The tools of a session's servers. A server that the session no longer names is forgotten."""

    def __init__(self, events: Events, conversation: Conversation) -> None:
        self._events = events
        self._conversation = conversation
        self._servers: list[McpServer] = []
        self._asked: dict[str, McpServer] = {}
        self._listed: list[tuple[McpServer, list[Event]]] = []

    def update(self, servers: Sequence[McpServer]) -> list[Effect]:
        """Ask those servers that the session did not have before."""
        new = [server for server in servers if server not in self._servers]
        self._servers = list(servers)
        self._listed = [(server, tools) for server, tools in self._listed if server in servers]
        effects: list[Effect] = []
        for server in new:
            item_id = self._events.new_id("mcpl")
            effects.append(self._about("in_progress", item_id))
            if len(self._asked) < _MOST_LISTINGS:
                self._asked[item_id] = server
                effects.append(ListMcpTools(item_id, server))
            else:
                effects.append(self._about("failed", item_id))
        return effects

    def listed(self, item_id: str, tools: Sequence[Event]) -> list[Effect]:
        """A server said what it offers: objects with `name`, `description` and `input_schema`."""
        server = self._asked.pop(item_id)
        allowed = [tool for tool in tools if server.allows(tool["name"])]
        if server in self._servers:
            self._listed.append((server, allowed))
        item = McpListToolsItem(item_id, server.server_label, allowed)
        previous_id = self._conversation.last_id
        self._conversation.add(item)
        created = self._events.event(
            "conversation.item.created", previous_item_id=previous_id, item=item.echo()
        )
        return [Send(created), self._about("completed", item_id)]

    def failed(self, item_id: str) -> list[Effect]:
        """A server did not say it."""
        del self._asked[item_id]
        return [self._about("failed", item_id)]

    def offered(self) -> dict[str, tuple[Tool, McpServer]]:
        """All tools by name; of several with the same name the first."""
        found: dict[str, tuple[Tool, McpServer]] = {}
        for server, tools in self._listed:
            for tool in tools:
                schema: dict[str, Any] = tool["input_schema"]
                offered = Tool(tool["name"], tool["description"] or "", schema)
                found.setdefault(offered.name, (offered, server))
        return found

    def _about(self, what: str, item_id: str) -> Send:
        return Send(self._events.event(f"mcp_list_tools.{what}", item_id=item_id))
