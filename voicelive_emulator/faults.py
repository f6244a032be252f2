"""What can be made to go wrong in one session, on request of its client.

A fault is asked for in the upgrade request, by `fault=` in the query (as often as needed) or in the
header `x-emulator-fault` (comma between faults):

    <kind>[:<argument>][@[<event type>][*<count>]]

The part after `@` says when: after that many events of the type were sent, by default after the
first event of any type. Pure: the shell carries out what `FaultPlan` returns.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from voicelive_emulator.events import Event

AUDIO_DELTAS: Final = frozenset({"response.audio.delta", "response.output_audio.delta"})
"""The events that carry audio, in the names of Voice Live and of OpenAI."""
UPGRADE_KINDS: Final = frozenset({"refuse", "redirect", "slow_handshake"})
SESSION_KINDS: Final = frozenset({"fail_response", "fail_transcription", "expire"})
WIRE_KINDS: Final = frozenset(
    {
        "close",
        "abort",
        "silence",
        "stall",
        "bad_json",
        "not_object",
        "binary",
        "unknown_event",
        "duplicate",
        "warning",
        "late_audio",
        "no_answer",
    }
)
_DEFAULTS: Final = {
    "refuse": "503",
    "redirect": "/voice-live/realtime",
    "slow_handshake": "2",
    "close": "1011",
    "stall": "2",
    "late_audio": "3",
    "expire": "1",
}
_NUMERIC: Final = frozenset({"refuse", "slow_handshake", "stall", "late_audio", "expire"})


class UnknownFault(ValueError):  # noqa: N818 (says what is the case)
    """A fault that was asked for does not exist; the text says which."""


class FaultRequested(Exception):  # noqa: N818 (says what is the case)
    """Something fails because the client asked for it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: what, with what, and after which event."""

    kind: str
    argument: str = ""
    event_type: str = ""
    count: int = 1

    @property
    def number(self) -> float:
        """The argument as a number."""
        return float(self.argument)


def parse_faults(requests: Iterable[str]) -> tuple[Fault, ...]:
    """Return the faults that were asked for; raises UnknownFault."""
    return tuple(_parse(request) for request in requests if request)


def _parse(request: str) -> Fault:
    what, _, when = request.partition("@")
    kind, _, argument = what.partition(":")
    event_type, _, count = when.partition("*")
    if kind not in UPGRADE_KINDS | SESSION_KINDS | WIRE_KINDS:
        raise UnknownFault(f"There is no fault {kind!r}.")
    try:
        fault = Fault(kind, argument or _DEFAULTS.get(kind, ""), event_type, int(count) if count else 1)
        if kind in _NUMERIC:
            _ = fault.number
        if kind == "close":
            _ = close_code(fault)
    except ValueError:
        raise UnknownFault(f"The fault {request!r} needs numbers.") from None
    return fault


def close_code(fault: Fault) -> tuple[int, str]:
    """Return code and reason of `close:<code>[:<reason>]`."""
    code, _, reason = fault.argument.partition(":")
    return int(code), reason


@dataclass(frozen=True, slots=True)
class Frame:
    """A message to send: text, or the same bytes as a binary message."""

    data: bytes
    binary: bool = False


@dataclass(frozen=True, slots=True)
class CloseSocket:
    """Send a close frame."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Abort:
    """Reset the TCP connection."""


@dataclass(frozen=True, slots=True)
class FallSilent:
    """Send and read nothing any more, not even pings; the connection stays open."""


@dataclass(frozen=True, slots=True)
class Stall:
    """Send nothing for a while."""

    seconds: float


Action = Frame | CloseSocket | Abort | FallSilent | Stall


class FaultPlan:
    """Turns each event of one session into what is really done with it."""

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        self._pending = [fault for fault in faults if fault.kind in WIRE_KINDS]
        self._session = {fault.kind: fault for fault in faults if fault.kind in SESSION_KINDS}
        self._late_audio = next((fault for fault in self._pending if fault.kind == "late_audio"), None)
        self._last_audio: Event | None = None
        self._answers = True

    def session_fault(self, kind: str) -> Fault | None:
        """Return the fault of this kind that concerns the session itself, if it was asked for."""
        return self._session.get(kind)

    def actions(self, event: Event) -> list[Action]:
        """Return what to do instead of simply sending `event`."""
        event_type: str = event["type"]
        if not self._answers and _belongs_to_an_answer(event):
            return []
        due = self._due(event_type)
        frame = Frame(orjson.dumps(event), binary=any(fault.kind == "binary" for fault in due))
        actions: list[Action] = [frame]
        for fault in due:
            actions += self._after(fault, frame)
        if self._late_audio is not None:
            actions += self._late(event)
        return actions

    def _due(self, event_type: str) -> list[Fault]:
        due: list[Fault] = []
        waiting: list[Fault] = []
        for fault in self._pending:
            if fault.event_type not in ("", event_type):
                waiting.append(fault)
            elif fault.count > 1:
                waiting.append(replace(fault, count=fault.count - 1))
            else:
                due.append(fault)
        self._pending = waiting
        return due

    def _after(self, fault: Fault, frame: Frame) -> list[Action]:
        match fault.kind:
            case "close":
                return [CloseSocket(*close_code(fault))]
            case "abort":
                return [Abort()]
            case "silence":
                return [FallSilent()]
            case "stall":
                return [Stall(fault.number)]
            case "bad_json":
                return [Frame(b'{"type":"response.audio.delta","delta":')]
            case "not_object":
                return [Frame(b"[1,2,3]")]
            case "unknown_event":
                return [_made_up("rate_limits.updated", rate_limits=[])]
            case "warning":
                warning = {"message": "A warning on request.", "code": "emulator_fault", "param": None}
                return [_made_up("warning", warning=warning)]
            case "duplicate":
                return [frame]
            case "no_answer":
                self._answers = False
        return []

    def _late(self, event: Event) -> list[Action]:
        """Return audio of a cancelled response that comes after its end."""
        if event["type"] in AUDIO_DELTAS:
            self._last_audio = event
        cancelled = event["type"] == "response.done" and event["response"]["status"] == "cancelled"
        last = self._last_audio
        if not cancelled or last is None or self._late_audio is None:
            return []
        late = [
            {**last, "event_id": f"{last['event_id']}late{n}"} for n in range(int(self._late_audio.number))
        ]
        return [Frame(orjson.dumps(audio)) for audio in late]


def _made_up(event_type: str, **fields: Any) -> Frame:
    return Frame(orjson.dumps({"event_id": "event_fault", "type": event_type, **fields}))


def _belongs_to_an_answer(event: Event) -> bool:
    if event["type"].startswith("conversation.item.") and "item" in event:
        return bool(event["item"].get("role") == "assistant")
    return bool(event["type"].startswith("response."))
