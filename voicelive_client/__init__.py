"""The Python client of `/ws/voice`.

    async with VoiceLiveCall("ws://127.0.0.1:8000/ws/voice") as call:
        async for event in call:
            print(event)

Used by `voice-live call`, the tests and the load tools. It imports neither the gateway nor the emulator.
`speech` and `microphone` need numpy and soxr, `sound_device` needs sounddevice; everything else only
websockets.
"""

from voicelive_client.call import VoiceLiveCall
from voicelive_client.connection import CallClosedError, CallError, CallRefusedError, CallUnreachableError
from voicelive_client.events import (
    AgentAudio,
    AgentAudioEnd,
    AgentText,
    AgentTranscript,
    AgentTranscriptDelta,
    ClearPlayback,
    Closed,
    ErrorMessage,
    Event,
    HoldPlayback,
    Played,
    Pong,
    Reconnecting,
    Resumed,
    ResumePlayback,
    SessionEnded,
    SessionEnding,
    SessionStarted,
    Status,
    Unknown,
    UserTranscript,
    UserTranscriptDelta,
)
from voicelive_client.playout import PlayoutClock

__all__ = [
    "AgentAudio",
    "AgentAudioEnd",
    "AgentText",
    "AgentTranscript",
    "AgentTranscriptDelta",
    "CallClosedError",
    "CallError",
    "CallRefusedError",
    "CallUnreachableError",
    "ClearPlayback",
    "Closed",
    "ErrorMessage",
    "Event",
    "HoldPlayback",
    "Played",
    "PlayoutClock",
    "Pong",
    "Reconnecting",
    "ResumePlayback",
    "Resumed",
    "SessionEnded",
    "SessionEnding",
    "SessionStarted",
    "Status",
    "Unknown",
    "UserTranscript",
    "UserTranscriptDelta",
    "VoiceLiveCall",
]
