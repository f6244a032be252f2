"""The shell around one session: socket, ears, voice and clock, in one task group.

The session decides; here its effects are carried out and the models' results are handed to it. Every
queue is bounded: a client that sends faster than it is heard waits in TCP, one that reads slowly slows
its own answers down, and one that does not read for `SEND_TIMEOUT_S` loses its session.
"""

import asyncio
import socket
import struct
from collections.abc import Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

import orjson
import structlog
from aiohttp import WSMsgType, web

from voicelive_emulator.activity import Activity
from voicelive_emulator.answering import Wording, clauses
from voicelive_emulator.effects import (
    CallMcpTool,
    CancelReply,
    Close,
    ConfigureHearing,
    Effect,
    ForgetAudio,
    Hear,
    ListMcpTools,
    Send,
    StartReply,
    Transcribe,
)
from voicelive_emulator.events import ClientError, event_id_of
from voicelive_emulator.failures import described
from voicelive_emulator.faults import (
    AUDIO_DELTAS,
    Abort,
    Action,
    CloseSocket,
    FallSilent,
    FaultPlan,
    FaultRequested,
    Frame,
    Stall,
)
from voicelive_emulator.interim import bridged
from voicelive_emulator.mcp_client import McpFailed, call_tool, list_tools
from voicelive_emulator.openai_names import OpenAINames
from voicelive_emulator.outbox import AUDIO_ROOM, EVENT_ROOM, SEND_TIMEOUT_S, Outbox
from voicelive_emulator.pacing import Pacer
from voicelive_emulator.parts import Mouth, Parts
from voicelive_emulator.quota import Quota
from voicelive_emulator.session import Session
from voicelive_emulator.session_config import HearingOptions
from voicelive_emulator.turn_detection import SpeechPaused, SpeechResumed, SpeechStarted, SpeechStopped

_MOST_APPENDS: Final = 8
"""Appends that may wait to be heard; further ones wait in TCP."""
_MOST_TURNS: Final = 8
"""Turns whose words may be missing; further audio waits."""
_AFTER_ALL_AUDIO: Final = frozenset(
    {"session.update", "input_audio_buffer.commit", "input_audio_buffer.clear"}
)
"""Client events that count only once all audio before them was heard."""


class _Ended(Exception):  # noqa: N818 (says what is the case)
    """The session is over; the text says why."""


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """How one session is served."""

    lifetime_s: float
    pace: float
    """How fast audio is sent, in multiples of real time; 0 is as fast as it is made."""
    audio_clock: bool
    """Whether time passes with the caller's audio only, so that it is the same in every run."""
    quota: Quota


class SessionPipeline:
    """Runs one session on its socket. Single use."""

    def __init__(
        self,
        session: Session,
        ws: web.WebSocketResponse,
        transport: asyncio.Transport | None,
        parts: Parts,
        *,
        hearing: HearingOptions,
        options: PipelineOptions,
        faults: FaultPlan,
        names: OpenAINames,
        activity: Activity,
    ) -> None:
        self._session = session
        self._ws = ws
        self._transport = transport
        self._parts = parts
        self._options = options
        self._faults = faults
        self._names = names
        self._agent = parts.new_agent()
        self._hearing = parts.hearing(hearing)
        self._foresight = parts.foresight(self._agent)
        self._outbox = Outbox()
        self._audio: asyncio.Queue[bytes] = asyncio.Queue(_MOST_APPENDS)
        self._words: asyncio.Queue[asyncio.Future[str]] = asyncio.Queue(_MOST_TURNS)
        self._work: dict[str, asyncio.Task[None]] = {}
        """What is being made, by the id of its response or item."""
        self._tasks: asyncio.TaskGroup | None = None
        self._log = structlog.get_logger("voicelive_emulator")
        self.activity = activity
        self.ended = asyncio.Event()

    async def run(self) -> str:
        """Serve until either side ends the session; return why it ended."""
        reason = "ended"
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                reading = tasks.create_task(self._read())
                tasks.create_task(self._write(reading))
                tasks.create_task(self._hear())
                tasks.create_task(self._recognize())
                tasks.create_task(self._expire())
                await self._carry_out(self._session.open())
        except* _Ended as ended:
            reason = str(ended.exceptions[0])
        finally:
            self.ended.set()
        return reason

    def close(self, code: int, reason: str) -> None:
        """Close the socket once what is decided was sent; does not wait."""
        self._outbox.put(Close(code, reason))

    async def _read(self) -> None:
        while True:
            message = await self._ws.receive()
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                raise _Ended(f"closed by client ({self._ws.close_code})")
            await self._outbox.room(EVENT_ROOM)
            await self._receive(message.data)
            if (slow := self._faults.session_fault("slow_reader")) is not None:
                await asyncio.sleep(slow.number)

    async def _receive(self, data: str | bytes) -> None:
        try:
            event = orjson.loads(data)
        except orjson.JSONDecodeError:
            error = ClientError("invalid_json", "The message is not valid JSON.")
            await self._carry_out(self._session.reject(error))
            return
        event_type = event.get("type") if isinstance(event, dict) else None
        self.activity.received(event_type)
        if event_type in _AFTER_ALL_AUDIO:
            await self._audio.join()
        if event_type != "input_audio_buffer.append":
            self._log.debug("client_event", event_type=event_type)
        try:
            event = self._names.incoming(event)
        except ClientError as error:
            await self._carry_out(self._session.reject(error, event_id_of(event)))
            return
        await self._carry_out(self._session.receive(event))
        if self._options.audio_clock:
            await self._audio.join()
            await self._settle()

    async def _settle(self) -> None:
        """Wait until nothing is being made: on the audio clock, words and answers take no time."""
        await self._words.join()
        while self._work:
            await asyncio.wait(list(self._work.values()))

    async def _write(self, reading: asyncio.Task[None]) -> None:
        while True:
            message = await self._outbox.take()
            if isinstance(message, Close):
                await self._act(CloseSocket(message.code, message.reason), reading)
                continue
            if message["type"] not in AUDIO_DELTAS:
                self._log.debug("server_event", event_type=message["type"])
            for action in self._faults.actions(message):
                await self._act(action, reading)

    async def _act(self, action: Action, reading: asyncio.Task[None]) -> None:
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                match action:
                    case Frame(data=data, binary=binary):
                        await self._ws.send_frame(data, WSMsgType.BINARY if binary else WSMsgType.TEXT)
                    case CloseSocket(code=code, reason=reason):
                        # aiohttp waits for the peer's close frame only if nobody else is reading.
                        reading.cancel()
                        await asyncio.wait([reading])
                        await self._ws.close(code=code, message=reason.encode())
                        raise _Ended(f"closed by server ({code})")
                    case Abort():
                        self._reset()
                        raise _Ended("aborted")
        except TimeoutError:
            self._reset()
            raise _Ended("client does not read") from None
        except (ConnectionError, RuntimeError) as error:
            raise _Ended(f"connection lost ({type(error).__name__})") from None
        match action:
            case Stall(seconds=seconds):
                await asyncio.sleep(seconds)
            case FallSilent():
                reading.cancel()
                while not isinstance(await self._outbox.take(), Close):
                    pass
                raise _Ended("silent until the end")

    def _reset(self) -> None:
        """Drop the connection without a close frame: the peer sees a TCP reset."""
        if self._transport is None:
            return
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    async def _hear(self) -> None:
        while True:
            audio, appends = await self._next_audio()
            async with aclosing(self._hearing.hear(audio)) as events:
                async for event in events:
                    match event:
                        case SpeechStarted(audio_start_ms=start_ms):
                            await self._carry_out(self._session.speech_started(start_ms, self._now()))
                        case SpeechStopped(audio_end_ms=end_ms):
                            await self._carry_out(self._session.speech_stopped(end_ms))
                        case SpeechPaused():
                            self._foresee()
                        case SpeechResumed() if self._foresight is not None:
                            self._foresight.drop()
                    if self._options.audio_clock:
                        await self._settle()
            if self._options.audio_clock and self._now() >= self._options.lifetime_s:
                await self._carry_out(self._session.expire())
            for _ in range(appends):
                self._audio.task_done()

    def _foresee(self) -> None:
        words = self._hearing.words_so_far
        if self._tasks is not None and words is not None and self._foresight is not None:
            due = asyncio.get_running_loop().time() + self._hearing.stops_in_s
            self._foresight.begin(self._tasks, words, self._session.expected_request, due)

    async def _next_audio(self) -> tuple[bytes, int]:
        """Return all audio that waits, as one piece, and the number of its appends."""
        waiting = [await self._audio.get()]
        while not self._audio.empty():
            waiting.append(self._audio.get_nowait())
        return b"".join(waiting), len(waiting)

    async def _recognize(self) -> None:
        while True:
            words = await self._words.get()
            try:
                text = await self._text_of(words)
            except Exception as error:  # noqa: BLE001 (whatever a model does, the session goes on)
                self._log.error("transcription_failed", **described(error))
                await self._carry_out(self._session.transcription_failed())
            else:
                await self._carry_out(self._session.transcribed(text))
            self._words.task_done()

    async def _text_of(self, words: asyncio.Future[str]) -> str:
        if self._faults.session_fault("fail_transcription") is not None:
            words.cancel()
            raise FaultRequested
        return await words

    def _now(self) -> float:
        """The time of the session, in seconds."""
        if self._options.audio_clock:
            return self._hearing.heard_ms / 1_000
        return asyncio.get_running_loop().time()

    async def _expire(self) -> None:
        if self._options.audio_clock:
            return
        await asyncio.sleep(self._options.lifetime_s)
        await self._carry_out(self._session.expire())

    async def _reply(self, start: StartReply) -> None:
        try:
            await self._make_reply(start)
        except Exception as error:  # noqa: BLE001 (whatever an agent or a model does, the session goes on)
            self._log.error("reply_failed", **described(error))
            await self._carry_out(self._session.reply_failed(start.response_id))
        finally:
            self._forget_work(start.response_id)

    async def _list_tools(self, listing: ListMcpTools) -> None:
        try:
            tools = await list_tools(listing.server)
        except McpFailed:
            await self._carry_out(self._session.mcp_tools_not_listed(listing.item_id))
        else:
            await self._carry_out(self._session.mcp_tools_listed(listing.item_id, tools))
        finally:
            self._forget_work(listing.item_id)

    async def _call_tool(self, call: CallMcpTool) -> None:
        try:
            output = await call_tool(call.server, call.name, call.arguments)
        except McpFailed as failed:
            await self._carry_out(self._session.mcp_call_failed(call.response_id, failed.shown()))
        else:
            await self._carry_out(self._session.mcp_called(call.response_id, output))
        finally:
            self._forget_work(call.response_id)

    def _begin(self, work_id: str, work: Coroutine[None, None, None]) -> None:
        """Do a part of the work; the next part of a response begins while the one before ends."""
        if self._tasks is None:
            work.close()
        else:
            self._work[work_id] = self._tasks.create_task(work)

    def _forget_work(self, work_id: str) -> None:
        if self._work.get(work_id) is asyncio.current_task():
            del self._work[work_id]

    async def _make_reply(self, start: StartReply) -> None:
        if self._faults.session_fault("fail_response") is not None:
            raise FaultRequested
        response_id = start.response_id
        if not self._options.quota.has_tokens(asyncio.get_running_loop().time()):
            await self._carry_out(self._session.reply_failed(response_id, out_of_quota=True))
            return
        speaker = None
        if start.audio_format is not None:
            pacer = Pacer(self._options.pace)
            speaker = self._parts.speaker(start.audio_format, pacer)
        wording = Wording(start, self._agent)
        silent = True
        interim = None if self._options.audio_clock else start.interim
        async with (
            aclosing(clauses(wording.pieces())) as answer,
            aclosing(bridged(answer, interim)) as texts,
        ):
            async for clause in texts:
                silent = False
                await self._say(response_id, speaker, clause)
        if wording.calls and silent and start.interim is not None and start.interim.before_calls:
            await self._say(response_id, speaker, start.interim.text)
        if speaker is not None:
            await self._send_audio(response_id, speaker, speaker.rest())
        for call in wording.calls:
            await self._carry_out(self._session.reply_call(response_id, call.name, call.arguments))
        await self._carry_out(self._session.reply_finished(response_id, cut_short=wording.cut_short))

    async def _say(self, response_id: str, speaker: Mouth | None, clause: str) -> None:
        await self._carry_out(self._session.reply_text(response_id, clause))
        if speaker is None:
            return
        async with aclosing(speaker.speak(clause)) as pieces:
            async for words, audio in pieces:
                await self._carry_out(self._session.reply_words(response_id, words))
                await self._send_audio(response_id, speaker, audio)

    async def _send_audio(self, response_id: str, speaker: Mouth, audio: bytes) -> None:
        for chunk, duration_ms in speaker.chunks(audio):
            await self._outbox.room(AUDIO_ROOM)
            if wait_s := speaker.pacer.wait_s(duration_ms, asyncio.get_running_loop().time()):
                await asyncio.sleep(wait_s)
            await self._carry_out(self._session.reply_audio(response_id, chunk, duration_ms, self._now()))

    async def _carry_out(self, effects: Sequence[Effect]) -> None:
        """Carry out effects in order. Only the last one of a list may wait, so lists do not mix."""
        for effect in effects:
            match effect:
                case Send(event=event):
                    self.activity.sent(event["type"])
                    if event["type"] == "response.done":
                        now = asyncio.get_running_loop().time()
                        self._options.quota.spend(event["response"]["usage"]["total_tokens"], now)
                    for named in self._names.outgoing(event):
                        self._outbox.put(named)
                case Close() as close:
                    self._outbox.put(close)
                case StartReply(response_id=response_id) as start:
                    self._begin(response_id, self._reply(start))
                case ListMcpTools(item_id=item_id) as listing:
                    self._begin(item_id, self._list_tools(listing))
                case CallMcpTool(response_id=response_id) as call:
                    self._begin(response_id, self._call_tool(call))
                case CancelReply(response_id=response_id):
                    if (reply := self._work.pop(response_id, None)) is not None:
                        reply.cancel()
                case ConfigureHearing(options=options):
                    self._hearing.configure(options)
                case ForgetAudio():
                    self._hearing.forget()
                case Hear(audio=audio):
                    await self._audio.put(audio)
                case Transcribe():
                    await self._words.put(self._hearing.recognize_turn())
