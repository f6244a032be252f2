"""The voice of one session: the agent's words become clauses, and clauses become audio to send."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from typing import Final

from voicelive_emulator.agents import Agent, CallFunction
from voicelive_emulator.audio import SYNTHESIS_RATE_HZ, OutputEncoder
from voicelive_emulator.clauses import split_clauses
from voicelive_emulator.effects import StartReply
from voicelive_emulator.function_calls import simplest_arguments
from voicelive_emulator.pacing import Pacer
from voicelive_emulator.speech_models import SpeechModels
from voicelive_emulator.synthesis import Speech, SpeechStream, Word
from voicelive_emulator.usage import text_tokens
from voicelive_emulator.workers import Workers

CHUNK_MS: Final = 100
"""Length of the audio in one delta."""

_BYTES_PER_CHUNK: Final = {
    "pcm16": 4_800,
    "pcm16_16000hz": 3_200,
    "pcm16_8000hz": 1_600,
    "g711_ulaw": 800,
    "g711_alaw": 800,
}
_SYNTHESIS_BYTES_PER_MS: Final = SYNTHESIS_RATE_HZ * 2 // 1_000
_WORD: Final = re.compile(r"\s*\S+|\s+\Z")
_CLAUSE_MARKS: Final = (".", ",", ";", ":", "!", "?", "\u2026", "\u2013", "\u2014")


async def clauses(pieces: AsyncIterator[str]) -> AsyncGenerator[str]:
    """Yield the clauses of a text as soon as each is complete; the first one is short."""
    pending = ""
    first = True
    async for piece in pieces:
        pending += piece
        complete = split_clauses(pending) if first else _later_clauses(pending)
        pending = complete.pop()
        for clause in complete:
            first = False
            yield clause
    for clause in split_clauses(pending) if first else _later_clauses(pending):
        if clause:
            yield clause


def _later_clauses(text: str) -> list[str]:
    """Split without the early cut that brings the first sound of a reply sooner."""
    found = split_clauses(text) or [text]
    if len(found) > 1 and not found[0].rstrip().endswith(_CLAUSE_MARKS):
        found[:2] = ["".join(found[:2])]
    return found


class Speaker:
    """Makes the audio of one response."""

    def __init__(self, models: SpeechModels, workers: Workers, audio_format: str, pacer: Pacer) -> None:
        self.pacer = pacer
        self._models = models
        self._workers = workers
        self._encoder = OutputEncoder(audio_format)
        self._began_at = 0.0
        self._made_ms = 0.0
        self._chunk_bytes = _BYTES_PER_CHUNK[audio_format.replace("-", "_")]

    async def speak(self, clause: str) -> AsyncGenerator[tuple[Sequence[Word], bytes]]:
        """Yield the clause in pieces: the words that lie in the audio from here on, and audio to send."""
        pieces = self._models.synthesizer.stream(clause)
        while True:
            if isinstance(pieces, SpeechStream) and pieces.is_ready:
                piece = self._next(pieces)
            else:
                piece = await self._workers.run(self._due(), self._next, pieces)
            if piece is None:
                return
            yield piece

    def _due(self) -> float:
        """Return when a listener will have heard all that was made."""
        now = asyncio.get_running_loop().time()
        if self._made_ms == 0:
            self._began_at = now
        return self._began_at + self._made_ms / 1_000

    def rest(self) -> bytes:
        """Return the end of the audio; after that the speaker is used up."""
        return self._encoder.encode(b"", last=True)

    def chunks(self, audio: bytes) -> Iterator[tuple[bytes, float]]:
        """Yield pieces for one delta each, with their length in milliseconds."""
        for start in range(0, len(audio), self._chunk_bytes):
            chunk = audio[start : start + self._chunk_bytes]
            yield chunk, len(chunk) * CHUNK_MS / self._chunk_bytes

    def _next(self, pieces: Iterator[Speech]) -> tuple[Sequence[Word], bytes] | None:
        piece = next(pieces, None)
        if piece is None:
            return None
        self._made_ms += len(piece.pcm) / _SYNTHESIS_BYTES_PER_MS
        return piece.words, self._encoder.encode(piece.pcm)


class Wording:
    """The text of one response: what the client wrote for it, else what the agent says."""

    def __init__(self, start: StartReply, agent: Agent) -> None:
        self._start = start
        self._agent = agent
        self.cut_short = False
        """Whether the text was longer than the response may be."""
        self.calls: list[CallFunction] = []
        """The functions that the agent calls after its words; known once `pieces` has ended."""

    async def pieces(self) -> AsyncGenerator[str]:
        """Yield the text, to the last word that fits into the limit of tokens."""
        text = ""
        async with aclosing(self._all()) as pieces:
            async for piece in pieces:
                kept = self._that_fits(text, piece)
                if kept:
                    yield kept
                if len(kept) < len(piece):
                    self.cut_short = True
                    return
                text += piece

    def _that_fits(self, text: str, piece: str) -> str:
        limit = self._start.max_tokens
        if limit is None or text_tokens(text + piece) <= limit:
            return piece
        kept = ""
        for word in _WORD.findall(piece):
            if text_tokens(text + kept + word) > limit:
                break
            kept += word
        return kept

    async def _all(self) -> AsyncGenerator[str]:
        start = self._start
        if start.verbatim is not None:
            yield start.verbatim
            return
        async with aclosing(self._agent.reply(start.request)) as pieces:
            async for piece in pieces:
                if isinstance(piece, CallFunction):
                    self.calls.append(piece)
                    if not start.parallel_calls:
                        return
                elif not start.request.must_call:
                    yield piece
        if start.request.must_call and not self.calls:
            tool = start.request.tools[0]
            self.calls.append(CallFunction(tool.name, simplest_arguments(tool.parameters)))
