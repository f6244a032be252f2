"""A recorded voice on a real call."""

import asyncio

import pytest

from tests.played_gateway import Gateway, StartGateway
from voicelive_client import CallClosedError, VoiceLiveCall
from voicelive_client.microphone import Microphone
from voicelive_client.speech import FRAME_BYTES

SPOKEN = b"".join(bytes([n + 1, 60]) * (FRAME_BYTES // 2) for n in range(10))


async def test_speech_is_sent_whole_in_real_time_and_silence_follows(start_gateway: StartGateway) -> None:
    frames: list[bytes] = []

    async def script(gateway: Gateway) -> None:
        frames.extend([await gateway.receives_audio() for _ in range(12)])
        await gateway.socket.close()

    async with start_gateway(script) as url, VoiceLiveCall(url) as call:
        microphone = Microphone(call)
        microphone.say(SPOKEN)
        started = asyncio.get_running_loop().time()
        with pytest.raises(CallClosedError):
            await microphone.run()
        assert not microphone.speaking
        assert microphone.last_sound_at is not None
        assert microphone.last_sound_at - started >= 0.18  # nine frames of 20 ms came before the tenth
    assert b"".join(frames) == SPOKEN + bytes(2 * FRAME_BYTES)


async def test_silence_is_sent_while_there_is_nothing_to_say(start_gateway: StartGateway) -> None:
    frames: list[bytes] = []

    async def script(gateway: Gateway) -> None:
        frames.extend([await gateway.receives_audio() for _ in range(3)])
        await gateway.socket.close()

    async with start_gateway(script) as url, VoiceLiveCall(url) as call:
        microphone = Microphone(call)
        with pytest.raises(CallClosedError):
            await microphone.run()
        assert microphone.last_sound_at is None
    assert frames == [bytes(FRAME_BYTES)] * 3
