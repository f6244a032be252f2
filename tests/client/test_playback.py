"""What a call reports to the gateway of what was heard, and when."""

import asyncio

from tests.played_gateway import Gateway, StartGateway
from voicelive_client import (
    AgentAudioEnd,
    ClearPlayback,
    Closed,
    Played,
    VoiceLiveCall,
)


async def test_a_response_that_was_played_is_reported_once(start_gateway: StartGateway) -> None:
    reports: list[object] = []

    async def script(gateway: Gateway) -> None:
        await gateway.speaks("r1", bytes(48 * 30))
        reports.append(await gateway.receives())
        await gateway.socket.close()

    async with start_gateway(script) as url, VoiceLiveCall(url) as call:
        heard = [event async for event in call]
    assert reports == [{"type": "playback", "response_id": "r1", "played_ms": 30}]
    assert heard[-3:] == [AgentAudioEnd("r1", 30), Played("r1", 30, complete=True), Closed(1000, "")]


async def test_clear_playback_is_answered_at_once_with_what_was_heard(start_gateway: StartGateway) -> None:
    reports: list[dict[str, object]] = []

    async def script(gateway: Gateway) -> None:
        await gateway.speaks("r1", bytes(48 * 60_000))
        await gateway.tells(type="clear_playback", response_id="r1")
        reports.append(await gateway.receives())
        await gateway.socket.close()

    async with start_gateway(script) as url, VoiceLiveCall(url) as call:
        heard = [event async for event in call]
    cleared = next(event for event in heard if isinstance(event, Played))
    assert not cleared.complete
    assert reports == [{"type": "playback", "response_id": "r1", "played_ms": cleared.played_ms}]
    assert cleared.played_ms < 60_000
    assert ClearPlayback("r1") in heard


async def test_what_is_held_is_not_reported_before_it_was_resumed_and_played(
    start_gateway: StartGateway,
) -> None:
    order: list[str] = []

    async def script(gateway: Gateway) -> None:
        await gateway.tells(type="hold_playback", response_id="r1")
        await gateway.speaks("r1", bytes(48 * 20))
        await gateway.receives_audio()  # the client has seen the end of the response, and held it
        order.append("resumed")
        await gateway.tells(type="resume_playback", response_id="r1")
        report = await gateway.receives()
        order.append(f"played {report['played_ms']} ms")
        await gateway.socket.close()

    async with start_gateway(script) as url, VoiceLiveCall(url) as call:
        async for event in call:
            if isinstance(event, AgentAudioEnd):
                await asyncio.sleep(0.05)  # longer than the response: it would have been played by now
                await call.send_audio(bytes(960))
    assert order == ["resumed", "played 20 ms"]


async def test_playback_is_reported_while_the_application_does_something_else(
    start_gateway: StartGateway,
) -> None:
    reported = asyncio.Event()

    async def script(gateway: Gateway) -> None:
        await gateway.speaks("r1", bytes(48 * 20))
        await gateway.receives()
        reported.set()

    async with start_gateway(script) as url, VoiceLiveCall(url):
        await reported.wait()
