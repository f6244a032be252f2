"""MCP tools: listed, called with and without the client's consent, by a real server over HTTP."""

from typing import Any

import pytest
from azure.ai.voicelive.models import (
    MCPApprovalResponseRequestItem,
    MCPServer,
    RequestSession,
    ResponseMCPApprovalRequestItem,
    ServerEventConversationItemCreated,
    ServerEventMcpListToolsCompleted,
    ServerEventMcpListToolsInProgress,
    ServerEventResponseDone,
    ServerEventResponseMcpCallArgumentsDone,
    ServerEventResponseMcpCallCompleted,
    ServerEventResponseMcpCallInProgress,
)

from tests.emulator.doubles import Doubles
from tests.emulator.mcp_server import McpDouble, mcp_server
from tests.emulator.test_sdk import session, typed, until
from tests.emulator.wire import Event, WireClient, connected, only, types
from voicelive_emulator.script import load_script
from voicelive_emulator.scripted_agent import ScriptedAgent
from voicelive_emulator.server import Endpoints, serving
from voicelive_emulator.settings import Settings

QUESTION = "When does the shipping to London arrive?"
CALLED = [
    "response.created",
    "response.output_item.added",
    "conversation.item.created",
    "response.mcp_call_arguments.delta",
    "response.mcp_call_arguments.done",
]
ENDED = ["response.output_item.done", "response.output_item.added", "conversation.item.created"]


@pytest.fixture(autouse=True)
def scripted(doubles: Doubles) -> None:
    """The agent is the script's."""
    doubles.agent = ScriptedAgent(load_script())


async def with_tools(client: WireClient, *tools: Event) -> list[Event]:
    """Configure the session, wait for the lists, and let the agent open the conversation."""
    await client.expect("session.created")
    await client.send("session.update", session={"tools": list(tools), "modalities": ["text"]})
    await client.expect("session.updated")
    listed = [await client.expect("mcp_list_tools.in_progress") for _ in tools]
    while len(only(listed, "mcp_list_tools.completed") + only(listed, "mcp_list_tools.failed")) < len(tools):
        listed.append(await client.receive())
    await client.send("response.create")
    await client.until("response.done")
    return listed


async def ask(client: WireClient, until_type: str, **response: Any) -> list[Event]:
    await client.say(QUESTION)
    await client.expect("conversation.item.created")
    await client.send("response.create", response=response)
    return await client.until(until_type)


async def approve(client: WireClient, request_id: str, *, approve: bool) -> None:
    item = {"type": "mcp_approval_response", "approval_request_id": request_id, "approve": approve}
    await client.send("conversation.item.create", item=item)


async def asked_for_approval(client: WireClient) -> tuple[list[Event], Event]:
    """Ask what needs a tool; return the events up to the request for approval, and its item."""
    events = await ask(client, "response.mcp_call_arguments.done")
    events.append(await client.expect("conversation.item.created"))
    item: Event = events[-1]["item"]
    assert item["type"] == "mcp_approval_request"
    return events, item


def spoken(events: list[Event]) -> str:
    return "".join(event["delta"] for event in only(events, "response.text.delta"))


@pytest.mark.parametrize("streams", [False, True])
async def test_lists_and_calls_without_approval(emulator: Endpoints, streams: bool) -> None:
    async with mcp_server(streams=streams) as server, connected(emulator.port) as client:
        tool = server.tool(require_approval="never", authorization="t0ken", headers={"X-Shop": "7"})
        listed = await with_tools(client, tool)
        assert types(listed) == [
            "mcp_list_tools.in_progress",
            "conversation.item.created",
            "mcp_list_tools.completed",
        ]
        item = listed[1]["item"]
        assert {event["item_id"] for event in (listed[0], listed[2])} == {item["id"]}
        assert (item["type"], item["server_label"]) == ("mcp_list_tools", "shop")
        assert [offered["name"] for offered in item["tools"]] == ["get_shipping", "wipe_disk"]
        events = await ask(client, "response.done")
    found = types(events)
    in_order = [*CALLED, "response.mcp_call.in_progress", "response.mcp_call.completed", *ENDED]
    assert found[: len(in_order)] == in_order
    call = events[-1]["response"]["output"][0]
    assert (call["type"], call["name"], call["server_label"]) == ("mcp_call", "get_shipping", "shop")
    assert (call["output"], call["error"], call["status"]) == ("It arrives on Friday", None, "completed")
    assert '"city":"London"' in call["arguments"]
    assert server.calls == [{"name": "get_shipping", "arguments": {"city": "London"}}]
    assert server.methods[:3] == ["initialize", "notifications/initialized", "tools/list"]
    assert all((sent["Authorization"], sent["X-Shop"]) == ("Bearer t0ken", "7") for sent in server.headers)
    assert "It arrives on Friday" in spoken(events)
    assert [event["item_id"] for event in only(events, "response.mcp_call.completed")] == [call["id"]]


async def test_secrets_are_not_shown(emulator: Endpoints) -> None:
    async with mcp_server() as server, connected(emulator.port) as client:
        await client.expect("session.created")
        tool = server.tool(authorization="t0ken", headers={"X-Shop": "s3cret"})
        await client.send("session.update", session={"tools": [tool]})
        updated = await client.expect("session.updated")
        await client.until("mcp_list_tools.completed")
    (shown,) = updated["session"]["tools"]
    assert (shown["server_label"], shown["require_approval"]) == ("shop", "always")
    assert "t0ken" not in str(updated)
    assert "s3cret" not in str(updated)


async def test_calls_once_the_client_approves(emulator: Endpoints) -> None:
    async with mcp_server() as server, connected(emulator.port) as client:
        await with_tools(client, server.tool())
        events, request = await asked_for_approval(client)
        assert types(events) == [*CALLED, "conversation.item.created"]
        assert (request["name"], request["server_label"]) == ("get_shipping", "shop")
        assert await client.settle() == []
        assert server.calls == []
        await approve(client, request["id"], approve=True)
        created = await client.expect("conversation.item.created")
        assert created["item"]["type"] == "mcp_approval_response"
        events = await client.until("response.done")
        await approve(client, request["id"], approve=True)
        again = await client.expect("error")
    assert types(events)[:3] == [
        "response.mcp_call.in_progress",
        "response.mcp_call.completed",
        "response.output_item.done",
    ]
    assert events[-1]["response"]["output"][0]["approval_request_id"] == request["id"]
    assert len(server.calls) == 1
    assert "It arrives on Friday" in spoken(events)
    assert again["error"]["code"] == "item_not_found"


async def test_waits_for_approval_on_the_audio_clock_too(doubles: Doubles) -> None:
    async with (
        mcp_server() as server,
        serving(Settings(port=0, seed=7), doubles.models()) as endpoints,
        connected(endpoints.port) as client,
    ):
        await with_tools(client, server.tool())
        _, request = await asked_for_approval(client)
        await approve(client, request["id"], approve=True)
        events = await client.until("response.done")
    assert "It arrives on Friday" in spoken(events)


async def test_does_not_call_what_the_client_denies(emulator: Endpoints) -> None:
    async with mcp_server() as server, connected(emulator.port) as client:
        await with_tools(client, server.tool(require_approval={"always": ["get_shipping"]}))
        _, request = await asked_for_approval(client)
        await approve(client, request["id"], approve=False)
        await client.expect("conversation.item.created")
        events = await client.until("response.done")
    assert types(events)[:2] == ["response.mcp_call.failed", "response.output_item.done"]
    response = events[-1]["response"]
    assert (response["status"], server.calls) == ("completed", [])
    assert response["output"][0]["error"]["message"] == "The call was not approved."
    assert response["output"][1]["type"] == "message"


async def test_a_call_that_waits_for_approval_can_be_cancelled(emulator: Endpoints) -> None:
    async with mcp_server() as server, connected(emulator.port) as client:
        await with_tools(client, server.tool())
        _, request = await asked_for_approval(client)
        await client.send("response.cancel")
        done = (await client.until("response.done"))[-1]["response"]
        await approve(client, request["id"], approve=True)
        error = await client.expect("error")
    assert (done["status"], done["output"][0]["status"]) == ("cancelled", "incomplete")
    assert error["error"]["param"] == "item.approval_request_id"
    assert server.calls == []


@pytest.mark.parametrize(
    ("switch", "kind"), [("fails_call", "tool_execution_error"), ("floods", "protocol_error")]
)
async def test_the_answer_goes_on_when_a_call_fails(emulator: Endpoints, switch: str, kind: str) -> None:
    async with mcp_server(**{switch: True}) as server, connected(emulator.port) as client:
        await with_tools(client, server.tool(require_approval={"never": ["get_shipping"]}))
        events = await ask(client, "response.done")
    assert len(only(events, "response.mcp_call.failed")) == 1
    call, message = events[-1]["response"]["output"]
    assert (call["output"], call["error"]["type"]) == (None, kind)
    assert (message["type"], events[-1]["response"]["status"]) == ("message", "completed")


@pytest.mark.parametrize("switch", ["refuses_list", "redirects"])
async def test_a_server_that_does_not_list(emulator: Endpoints, switch: str) -> None:
    async with mcp_server(**{switch: True}) as server, connected(emulator.port) as client:
        listed = await with_tools(client, server.tool(require_approval="never"))
        events = await ask(client, "response.done")
    assert types(listed) == ["mcp_list_tools.in_progress", "mcp_list_tools.failed"]
    assert [item["type"] for item in events[-1]["response"]["output"]] == ["message"]


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1/mcp", "https://mcp.example/mcp", "file:///etc/passwd", "http://127.0.0.1:1/mcp"]
)
async def test_only_this_machine_is_contacted(emulator: Endpoints, url: str) -> None:
    async with connected(emulator.port) as client:
        listed = await with_tools(client, McpDouble(url=url).tool())
    assert types(listed) == ["mcp_list_tools.in_progress", "mcp_list_tools.failed"]


async def test_only_allowed_tools_are_offered(emulator: Endpoints) -> None:
    async with mcp_server() as server, connected(emulator.port) as client:
        listed = await with_tools(client, server.tool(require_approval="never", allowed_tools=["wipe_disk"]))
        events = await ask(client, "response.done")
    assert [tool["name"] for tool in listed[1]["item"]["tools"]] == ["wipe_disk"]
    assert only(events, "response.mcp_call.in_progress") == []
    assert server.calls == []


async def test_a_demanded_tool_beside_the_conversation(emulator: Endpoints) -> None:
    async with mcp_server() as server, connected(emulator.port) as client:
        await with_tools(client, server.tool(require_approval="never"))
        events = await ask(client, "response.done", tool_choice="required", conversation="none")
    assert [item["type"] for item in events[-1]["response"]["output"]] == ["mcp_call", "message"]
    assert len(server.calls) == 1


async def test_microsofts_client_sees_it_all(emulator: Endpoints) -> None:
    async with mcp_server() as server, session(emulator) as connection:
        shop = MCPServer(server_label="shop", server_url=server.url, require_approval="always")
        await connection.session.update(session=RequestSession(tools=[shop]))
        events = await until(connection, ServerEventMcpListToolsCompleted)
        assert any(isinstance(event, ServerEventMcpListToolsInProgress) for event in events)
        await connection.conversation.item.create(item=typed(QUESTION))
        await connection.response.create(response={"tool_choice": "required"})
        events = await until(connection, ServerEventResponseMcpCallArgumentsDone)
        asked = (await until(connection, ServerEventConversationItemCreated))[-1]
        assert isinstance(asked, ServerEventConversationItemCreated)
        assert isinstance(asked.item, ResponseMCPApprovalRequestItem)
        assert asked.item.id is not None
        consent = MCPApprovalResponseRequestItem(approval_request_id=asked.item.id, approve=True)
        await connection.conversation.item.create(item=consent)
        events = await until(connection, ServerEventResponseDone)
    kinds = [type(event) for event in events]
    started = kinds.index(ServerEventResponseMcpCallInProgress)
    assert started < kinds.index(ServerEventResponseMcpCallCompleted)
    done = events[-1]
    assert isinstance(done, ServerEventResponseDone)
    assert done.response.output is not None
    call: Any = done.response.output[0]
    assert (call.type, call.output) == ("mcp_call", "It arrives on Friday")
