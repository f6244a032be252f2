"""`voice-live call --mic`: a person talks with the agent through this machine's sound device."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from app.commands.call_log import CallLog, Entry
from voicelive_client import CallClosedError, VoiceLiveCall
from voicelive_client.sound_device import SoundDevice, open_sound_device


async def talk(url: str, ticket: str | None, show: Callable[[Entry], None]) -> str | None:
    """Makes a call that lasts until one side ends it, or until cancelled; why it failed, if it did.

    Raises SoundDeviceError before anybody is called, CallRefusedError, CallUnreachableError.
    """
    async with (
        open_sound_device() as device,
        VoiceLiveCall(url, ticket=ticket) as call,
        asyncio.TaskGroup() as tasks,
    ):
        microphone = tasks.create_task(_keep_open(device, call))
        log = await _listen(device, call, show)
        microphone.cancel()
    return log.failure


async def _keep_open(device: SoundDevice, call: VoiceLiveCall) -> None:
    with suppress(CallClosedError):  # the listener is told
        await device.run(call)


async def _listen(device: SoundDevice, call: VoiceLiveCall, show: Callable[[Entry], None]) -> CallLog:
    clock = asyncio.get_running_loop().time
    log = CallLog(clock())
    async for event in call:
        device.loudspeaker.receive(event)
        for entry in log.receive(event, clock(), None):
            show(entry)
    return log
