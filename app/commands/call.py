"""`voice-live call`: holds a conversation with recorded or typed words, and judges whether it was answered.

The caller behaves like a person with an open microphone: lets the greeting finish, speaks, goes on
speaking when the agent answers into a pause, and hangs up when the last turn was answered.
"""

import asyncio
import math
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from app.commands.call_log import CallLog, Entry
from app.messages import BYTES_PER_MS
from voicelive_client import AgentAudio, CallClosedError, Event, PlayoutClock, Reconnecting, VoiceLiveCall
from voicelive_client.microphone import Microphone

SESSION_WAIT_S: Final = 15.0
"""For `session_started`: longer than the gateway's own limit for it."""

GREETING_WAIT_S: Final = 5.0
"""For the first word of a greeting; some agents wait for the caller to speak first."""

GREETING_MOST_S: Final = 60.0
ANSWER_WAIT_S: Final = 20.0
"""For the agent to begin, counted from the caller's last word."""

ANSWERS_MOST_S: Final = 120.0
QUIET_S: Final = 2.0
"""Nobody has spoken for this long after the caller's last word and nothing is owed: the talk is over."""

HANG_UP_WAIT_S: Final = 5.0
_LOOK_EVERY_S: Final = 0.1
_PAUSE_BETWEEN_RESPONSES: Final = bytes(300 * BYTES_PER_MS)


@dataclass(frozen=True, slots=True)
class Call:
    """What to say, and when: `speech` (PCM16, 24 kHz, mono) or a typed `text`."""

    url: str
    speech: bytes = b""
    text: str = ""
    after_greeting: bool = True
    ticket: str | None = None


@dataclass(frozen=True, slots=True)
class CallResult:
    """How a call went: why it failed (None: it was answered), and what was heard (PCM16, 24 kHz, mono)."""

    failure: str | None
    latencies_ms: list[int]
    heard: bytes


async def hold(call: Call, show: Callable[[Entry], None]) -> CallResult:
    """Makes the call and tells `show` what happens on it.

    Raises CallRefusedError, CallUnreachableError when there is no call at all.
    """
    async with VoiceLiveCall(call.url, ticket=call.ticket) as connection:
        return await _Conversation(call, connection, show).run()


class _Conversation:
    def __init__(self, call: Call, connection: VoiceLiveCall, show: Callable[[Entry], None]) -> None:
        self._clock = asyncio.get_running_loop().time
        self._call = call
        self._connection = connection
        self._show = show
        self._microphone = Microphone(connection)
        self._recording = _Recording()
        self._log = CallLog(self._clock())

    async def run(self) -> CallResult:
        async with asyncio.TaskGroup() as tasks:
            microphone = tasks.create_task(self._keep_microphone_open())
            try:
                failure = await self._talk()
                if self._log.closed is None:
                    await self._hang_up()
            finally:
                microphone.cancel()
        return CallResult(failure, self._log.latencies_ms, self._recording.heard(self._connection.playout))

    async def _keep_microphone_open(self) -> None:
        with suppress(CallClosedError):  # the listener is told
            await self._microphone.run()

    async def _talk(self) -> str | None:
        """Leads the conversation; returns why it failed, None when the caller was answered."""
        if not await self._until(lambda: self._log.started, SESSION_WAIT_S):
            return self._broken() or f"The gateway started no session within {SESSION_WAIT_S:.0f} s."
        if self._call.after_greeting and await self._until(
            lambda: self._log.agent_has_spoken, GREETING_WAIT_S
        ):
            await self._until(self._agent_is_done, GREETING_MOST_S)
        try:
            last_word_at = await self._speak()
        except CallClosedError:
            await self._until(lambda: False, HANG_UP_WAIT_S)
            return self._broken()
        over = await self._until(lambda: self._is_over(last_word_at), ANSWERS_MOST_S)
        if self._log.closed is None and not self._owes_answer():
            return (
                None
                if over
                else f"The agent still spoke {ANSWERS_MOST_S:.0f} s after the caller's last word."
            )
        return (
            self._broken()
            or f"The agent did not answer within {ANSWER_WAIT_S:.0f} s of the caller's last word."
        )

    async def _speak(self) -> float:
        """Says everything; returns when the last word was said."""
        if self._call.text:
            self._tell(self._log.typed(self._call.text, self._clock()))
            await self._connection.send_text(self._call.text)
            return self._clock()
        self._microphone.say(self._call.speech)
        await self._until(lambda: not self._microphone.speaking, None)
        return self._microphone.last_sound_at or self._clock()

    async def _hang_up(self) -> None:
        with suppress(CallClosedError):
            await self._connection.end()
        await self._until(lambda: False, HANG_UP_WAIT_S)

    async def _until(self, condition: Callable[[], bool], seconds: float | None) -> bool:
        """Follows the call until `condition` holds; False when the time or the call is over before."""
        deadline = math.inf if seconds is None else self._clock() + seconds
        while not condition():
            if self._log.closed is not None or self._clock() >= deadline:
                return False
            event: Event | None = None
            with suppress(TimeoutError):
                async with asyncio.timeout_at(min(deadline, self._clock() + _LOOK_EVERY_S)):
                    event = await self._connection.receive()
            if event is not None:
                now = self._clock()
                self._recording.receive(event, self._connection.playout)
                self._tell(self._log.receive(event, now, self._microphone.fell_silent_at(now)))
        return True

    def _tell(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self._show(entry)

    def _agent_is_done(self) -> bool:
        return self._log.status == "ready" and not self._connection.playout.playing

    def _owes_answer(self) -> bool:
        return self._log.awaits_answer or not self._log.latencies_ms

    def _is_over(self, last_word_at: float) -> bool:
        silence_s = self._clock() - last_word_at
        if self._owes_answer():
            return silence_s > ANSWER_WAIT_S
        return silence_s > QUIET_S and self._agent_is_done()

    def _broken(self) -> str | None:
        """What the gateway said when it ended the call by itself, if it did."""
        if self._log.closed is None:
            return None
        return self._log.failure or f"The gateway closed the call (code {self._log.closed.code})."


class _Recording:
    """The agent's speech as the caller heard it, without what was cleared."""

    def __init__(self) -> None:
        self._speech: dict[str, bytearray] = {}

    def receive(self, event: Event, playout: PlayoutClock) -> None:
        match event:
            case AgentAudio(pcm, response_id):
                self._speech.setdefault(response_id, bytearray()).extend(pcm)
            case Reconnecting():
                self._cut(playout)
            case _:
                pass

    def heard(self, playout: PlayoutClock) -> bytes:
        """One response after the other, a short pause between them."""
        self._cut(playout)
        return _PAUSE_BETWEEN_RESPONSES.join(bytes(pcm) for pcm in self._speech.values() if pcm)

    def _cut(self, playout: PlayoutClock) -> None:
        for response_id, pcm in self._speech.items():
            del pcm[playout.heard_ms(response_id) * BYTES_PER_MS :]
