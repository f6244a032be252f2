"""The listener on a real socket: what it reports to the gateway, and when."""

import asyncio

from tests.client.conftest import Gateway, StartGateway
from voicelive_client import (
    AgentAudioEnd,
    ClearPlayback,
    Closed,
    Event,
    Listener,
    Played,
    VoiceCall,
    connect,
)


async def everything_heard(call: VoiceCall) -> list[Event | Played]:
    listener = Listener(call)
    heard: list[Event | Played] = []
    while not heard or not isinstance(heard[-1], Closed):
        event = await listener.receive()
        assert event is not None
        heard.append(event)
    return heard


async def test_a_response_that_was_played_is_reported_once(start_gateway: StartGateway) -> None:
    reports: list[object] = []

    async def script(gateway: Gateway) -> None:
        await gateway.speaks("r1", bytes(48 * 30))
        reports.append(await gateway.receives())
        await gateway.socket.close()

    async with start_gateway(script) as url, connect(url) as call:
        heard = await everything_heard(call)
    assert reports == [{"type": "playback", "response_id": "r1", "played_ms": 30}]
    assert heard[-3:] == [AgentAudioEnd("r1", 30), Played("r1", 30, complete=True), Closed(1000, "")]


async def test_clear_playback_is_answered_at_once_with_what_was_heard(start_gateway: StartGateway) -> None:
    reports: list[dict[str, object]] = []

    async def script(gateway: Gateway) -> None:
        await gateway.speaks("r1", bytes(48 * 60_000))
        await gateway.tells(type="clear_playback", response_id="r1")
        reports.append(await gateway.receives())
        await gateway.socket.close()

    async with start_gateway(script) as url, connect(url) as call:
        heard = await everything_heard(call)
    cleared = next(event for event in heard if isinstance(event, Played))
    assert not cleared.complete
    assert reports == [{"type": "playback", "response_id": "r1", "played_ms": cleared.played_ms}]
    assert cleared.played_ms < 60_000
    assert ClearPlayback("r1") in heard


async def test_waiting_ends_at_the_given_time(start_gateway: StartGateway) -> None:
    async def script(gateway: Gateway) -> None:
        await gateway.socket.wait_closed()

    async with start_gateway(script) as url, connect(url) as call:
        now = asyncio.get_running_loop().time()
        assert await Listener(call).receive(until=now + 0.01) is None
