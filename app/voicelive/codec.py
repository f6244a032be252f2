"""Between events and the bytes of a Voice Live socket.

Nearly all traffic is audio: fifty appends up and some large deltas down, a second and call. An append is put
together from its parts. Of an audio delta only the head is read as JSON and its base64 is decoded where it
lies; whatever does not look exactly so goes through the full parser, with the same result.
"""

from typing import Final

import orjson
from pybase64 import b64decode, b64encode

from app.voicelive.events import AudioDelta, ServerEvent, audio_delta, parse_server_event

MAX_HEAD_BYTES: Final = 320
"""What comes before the audio of a delta takes some 200 bytes; the service's ids vary in length."""

SHORT_BYTES: Final = 1024
"""So short an event costs the full parser no more: captions, and audio deltas below some 12 ms."""

_APPEND_HEAD: Final = b'{"type":"input_audio_buffer.append","audio":"'
_TAIL: Final = b'"}'
_DELTA: Final = b',"delta":"'


def encode_append(pcm: bytes | memoryview) -> bytes:
    """The `input_audio_buffer.append` of caller speech: PCM16 LE, 24 kHz, mono, whole samples."""
    return b"".join((_APPEND_HEAD, b64encode(pcm), _TAIL))


def decode_event(data: bytes | memoryview) -> ServerEvent:
    """Read one server event. Raises MalformedEventError."""
    if len(data) > SHORT_BYTES and (delta := fast_audio_delta(data)) is not None:
        return delta
    return parse_server_event(data)


def fast_audio_delta(data: bytes | memoryview) -> AudioDelta | None:
    """An audio delta with `delta` as its last field; None for everything else, audio or not.

    The head, closed with a brace, must be an object by itself: so `delta` is a key of the event and not of
    something within it, nor text. The base64 must be valid to its last letter: so it holds no quote and no
    escape.
    """
    head = bytes(data[:MAX_HEAD_BYTES])
    at = head.find(_DELTA)
    if at < 0 or data[-2:] != _TAIL:
        return None
    try:
        event = orjson.loads(head[:at] + b"}")
        if event.get("type") != "response.audio.delta":
            return None
        return audio_delta(event, b64decode(data[at + len(_DELTA) : -2], validate=True))
    except (KeyError, TypeError, ValueError):
        return None
