"""One call of a benchmark: a caller who speaks in real time, and when the emulator answered.

The microphone never stops: 20 ms of clip or silence every 20 ms, each sent when its last sample would
have been recorded. All times are of this process's loop, taken when an event arrives.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import numpy as np
import orjson
import pybase64

from bench.callers import CALLER_RATE_HZ, Utterance

_FRAME_S: Final = 0.02
_FRAME_BYTES: Final = int(CALLER_RATE_HZ * _FRAME_S) * 2
_FIRST_SILENCE_S: Final = 1.0
_LISTENING_S: Final = 3.0
_PATIENCE_S: Final = 5.0
_AUDIBLE: Final = 327
"""A hundredth (-40 dB) of full scale."""


@dataclass(slots=True)
class Turn:
    """What one utterance led to; times in seconds of the loop, None for what never came."""

    name: str
    last_sound_at: float
    stopped_at: float | None = None
    understood_at: float | None = None
    written_at: float | None = None
    heard_at: float | None = None
    audible_at: float | None = None


@dataclass(slots=True)
class _Playing:
    """The audio of a response in a loudspeaker that starts with the first delta."""

    started_at: float
    received_s: float = 0.0


@dataclass(slots=True)
class Call:
    """A session and what was measured in it."""

    ws: aiohttp.ClientWebSocketResponse
    turns: list[Turn] = field(default_factory=list)
    underruns_s: list[float] = field(default_factory=list)
    """How long each silence was that a listener heard inside an answer."""
    played_s: float = 0.0
    cut_short: int = 0
    """Turns that ended before the caller's last sound."""
    _playing: dict[str, _Playing] = field(default_factory=dict)

    async def run(self, utterances: Sequence[Utterance], session: Mapping[str, Any]) -> None:
        """Say one utterance after the other, and listen to each answer for some seconds."""
        await self.ws.send_json({"type": "session.update", "session": dict(session)})
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(self._listen())
            microphone = _Microphone(self.ws)
            await microphone.play(b"", _FIRST_SILENCE_S)
            for utterance in utterances:
                await self._say(microphone, utterance)
            listening.cancel()

    async def _say(self, microphone: "_Microphone", utterance: Utterance) -> None:
        turn = Turn(utterance.name, microphone.now + utterance.last_sound_s)
        self.turns.append(turn)
        await microphone.play(utterance.samples.tobytes(), 0.0)
        while microphone.now < turn.last_sound_at + _PATIENCE_S:
            await microphone.play(b"", _FRAME_S)
            if turn.heard_at is not None and microphone.now > turn.heard_at + _LISTENING_S:
                return

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        async for message in self.ws:
            self._receive(orjson.loads(message.data), loop.time())
        raise ConnectionError(f"the emulator has closed the session ({self.ws.close_code})")

    def _receive(self, event: dict[str, Any], now: float) -> None:
        turn = self.turns[-1] if self.turns else None
        match event["type"]:
            case "error":
                raise ValueError(event["error"]["message"])
            case "input_audio_buffer.speech_stopped" if turn is not None:
                if now < turn.last_sound_at:
                    self.cut_short += 1
                turn.stopped_at = now
                turn.understood_at = turn.written_at = turn.heard_at = turn.audible_at = None
            case "conversation.item.input_audio_transcription.completed" if turn is not None:
                turn.understood_at = turn.understood_at or now
            case "response.audio_transcript.delta" if turn is not None and turn.understood_at is not None:
                turn.written_at = turn.written_at or now
            case "response.audio.delta":
                self._play(event["response_id"], pybase64.b64decode(event["delta"]), turn, now)
            case "response.done":
                if (playing := self._playing.pop(event["response"]["id"], None)) is not None:
                    self.played_s += playing.received_s

    def _play(self, response_id: str, pcm: bytes, turn: Turn | None, now: float) -> None:
        playing = self._playing.setdefault(response_id, _Playing(now))
        late_s = now - (playing.started_at + playing.received_s)
        if playing.received_s > 0 and late_s > 0:
            self.underruns_s.append(late_s)
            playing.started_at += late_s
        if turn is not None and turn.written_at is not None and turn.audible_at is None:
            turn.heard_at = turn.heard_at or now
            loud = np.flatnonzero(np.abs(np.frombuffer(pcm, "<i2").astype(np.int32)) >= _AUDIBLE)
            if len(loud):
                plays_at = playing.started_at + playing.received_s
                turn.audible_at = plays_at + float(loud[0]) / CALLER_RATE_HZ
        playing.received_s += len(pcm) / 2 / CALLER_RATE_HZ


class _Microphone:
    """Sends audio at the speed of a microphone."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self._ws = ws
        self.now = asyncio.get_running_loop().time()
        """When the next sample is recorded."""

    async def play(self, pcm: bytes, silence_s: float) -> None:
        """Send audio and silence, in whole frames."""
        silence = bytes(round(silence_s / _FRAME_S) * _FRAME_BYTES)
        audio = pcm + bytes(-len(pcm) % _FRAME_BYTES) + silence
        for start in range(0, len(audio), _FRAME_BYTES):
            self.now += _FRAME_S
            await asyncio.sleep(max(0.0, self.now - asyncio.get_running_loop().time()))
            frame = pybase64.b64encode(audio[start : start + _FRAME_BYTES]).decode()
            await self._ws.send_str(f'{{"type":"input_audio_buffer.append","audio":"{frame}"}}')
