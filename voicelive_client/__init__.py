"""The Python client of `/ws/voice`.

Used by `voice-live call`, the tests and the load tools. It imports neither the gateway nor the emulator.
`speech` needs numpy and soxr; everything else only websockets.
"""

from voicelive_client.call import (
    CallClosedError,
    CallError,
    CallRefusedError,
    CallUnreachableError,
    VoiceCall,
    connect,
)
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
    Pong,
    ResumePlayback,
    SessionEnded,
    SessionEnding,
    SessionStarted,
    Status,
    Unknown,
    UserTranscript,
    UserTranscriptDelta,
)
from voicelive_client.listener import Listener
from voicelive_client.playout import Played, PlayoutClock

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
    "Listener",
    "Played",
    "PlayoutClock",
    "Pong",
    "ResumePlayback",
    "SessionEnded",
    "SessionEnding",
    "SessionStarted",
    "Status",
    "Unknown",
    "UserTranscript",
    "UserTranscriptDelta",
    "VoiceCall",
    "connect",
]
