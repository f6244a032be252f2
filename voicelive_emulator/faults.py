"""What can be made to go wrong in one session, or with one token, on request of the client.

A fault is asked for in the upgrade request, by `fault=` in the query (as often as needed) or in the
header `x-emulator-fault` (comma between faults); of the token endpoint in the same two places:

    <kind>[:<argument>][@[<event type>][*<count>]]

The part after `@` says when: after that many events of the type were sent, by default after the
first event of any type. Pure: the shell carries out what `FaultPlan` returns.
"""

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from voicelive_emulator.events import Event

AUDIO_DELTAS: Final = frozenset({"response.audio.delta", "response.output_audio.delta"})
"""The events that carry audio, in the names of Voice Live and of OpenAI."""
UPGRADE_KINDS: Final = frozenset({"refuse", "redirect", "slow_handshake"})
TOKEN_KINDS: Final = frozenset({"slow_token", "fail_token", "short_token"})
"""Faults of the token endpoint."""
SESSION_KINDS: Final = frozenset({"fail_response", "fail_transcription", "expire", "slow_reader"})
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
        "oversize",
        "no_answer",
    }
)
"""Faults that happen once, after the event that they name."""
LASTING_KINDS: Final = frozenset(
    {"late_audio", "empty_transcript", "rate_limits", "item_done", "foundry_agent_call"}
)
"""Faults that add events wherever they fit, for the whole session."""
ALL_KINDS: Final = UPGRADE_KINDS | TOKEN_KINDS | SESSION_KINDS | WIRE_KINDS | LASTING_KINDS
_DEFAULTS: Final = {
    "refuse": "503",
    "redirect": "/voice-live/realtime",
    "slow_handshake": "2",
    "close": "1011",
    "stall": "2",
    "late_audio": "3",
    "expire": "1",
    "oversize": "5000000",
    "slow_reader": "1",
    "slow_token": "2",
    "fail_token": "503",
    "short_token": "5",
}
_RANGES: Final = {
    "refuse": (300, 599),
    "slow_handshake": (0, 3_600),
    "stall": (0, 3_600),
    "late_audio": (0, 1_000),
    "expire": (0, 3_600),
    "oversize": (0, 50_000_000),
    "slow_reader": (0, 3_600),
    "slow_token": (0, 3_600),
    "fail_token": (400, 599),
    "short_token": (0, 86_400),
}
"""Least and largest argument."""
_LONGEST_REASON: Final = 123
"""Bytes of the reason in a close frame (RFC 6455, section 5.5)."""
_TRANSCRIPTION: Final = "conversation.item.input_audio_transcription.completed"


_RATE_LIMITS: Final = [
    {"name": "requests", "limit": 1_000, "remaining": 999, "reset_seconds": 60.0},
    {"name": "tokens", "limit": 120_000, "remaining": 119_000, "reset_seconds": 60.0},
]


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


def parse_faults(requests: Iterable[str], kinds: Set[str] = ALL_KINDS) -> tuple[Fault, ...]:
    """Return the faults that were asked for; raises UnknownFault, also for one that is not of these kinds."""
    return tuple(_parse(request, kinds) for request in requests if request)


def _parse(request: str, kinds: Set[str]) -> Fault:
    what, _, when = request.partition("@")
    kind, _, argument = what.partition(":")
    event_type, _, count = when.partition("*")
    if kind not in ALL_KINDS:
        raise UnknownFault(f"There is no fault {kind!r}.")
    if kind not in kinds:
        asked_of = "the token endpoint" if kind in TOKEN_KINDS else "a session"
        raise UnknownFault(f"{kind!r} is a fault of {asked_of}.")
    try:
        fault = Fault(kind, argument or _DEFAULTS.get(kind, ""), event_type, int(count) if count else 1)
        least, largest = _RANGES.get(kind, (0, 0))
        in_range = kind not in _RANGES or least <= fault.number <= largest
        if kind == "close":
            code, reason = close_code(fault)
            in_range = 1_000 <= code <= 4_999 and len(reason.encode()) <= _LONGEST_REASON
    except ValueError:
        raise UnknownFault(f"The fault {request!r} needs numbers.") from None
    if not in_range or fault.count < 1:
        raise UnknownFault(f"A number of the fault {request!r} is out of range.")
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
        self._lasting = {fault.kind: fault for fault in faults if fault.kind in LASTING_KINDS}
        self._last_audio: Event | None = None
        self._items_done: set[str] = set()
        self._made_up = 0
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
        if event_type == "conversation.item.done" and event["item"]["id"] in self._items_done:
            return []
        actions: list[Action] = [frame]
        for fault in due:
            actions += self._after(fault, frame)
        if self._lasting:
            actions += [Frame(orjson.dumps(added)) for added in self._added(event)]
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
                return [self._frame("emulator.made_up", nothing=None)]
            case "warning":
                warning = {"message": "A warning on request.", "code": "emulator_fault", "param": None}
                return [self._frame("warning", warning=warning)]
            case "oversize":
                warning = {"message": "x" * int(fault.number), "code": "emulator_fault", "param": None}
                return [self._frame("warning", warning=warning)]
            case "duplicate":
                return [frame]
            case "no_answer":
                self._answers = False
        return []

    def _added(self, event: Event) -> list[Event]:
        """Return the events that lasting faults add after this one."""
        added: list[Event] = []
        match event["type"]:
            case "response.created" if "rate_limits" in self._lasting:
                added.append(self._event("rate_limits.updated", rate_limits=_RATE_LIMITS))
            case name if name == _TRANSCRIPTION and "empty_transcript" in self._lasting:
                added.append({**event, "event_id": self._new_id(), "transcript": ""})
            case "conversation.item.created" | "response.output_item.done" if "item_done" in self._lasting:
                item = event["item"]
                if item.get("status", "completed") == "completed" and item["id"] not in self._items_done:
                    self._items_done.add(item["id"])
                    previous_id = event.get("previous_item_id")
                    added.append(
                        self._event("conversation.item.done", previous_item_id=previous_id, item=item)
                    )
        if event["type"] == "response.created" and "foundry_agent_call" in self._lasting:
            added += self._agent_call(event["response"]["id"])
        return added + self._late_audio(event)

    def _agent_call(self, response_id: str) -> list[Event]:
        """Return the events of an agent that asks another one; few clients know them."""
        name = "response.foundry_agent_call"
        about = {"response_id": response_id, "item_id": f"fac_{self._new_id()}", "output_index": 0}
        return [
            self._event(f"{name}_arguments.delta", **about, delta="{}"),
            self._event(f"{name}_arguments.done", **about, arguments="{}"),
            self._event(f"{name}.in_progress", **about),
            self._event(f"{name}.completed", **about),
        ]

    def _late_audio(self, event: Event) -> list[Event]:
        """Return audio of a cancelled response that comes after its end."""
        late = self._lasting.get("late_audio")
        if event["type"] in AUDIO_DELTAS:
            self._last_audio = event
        cancelled = event["type"] == "response.done" and event["response"]["status"] == "cancelled"
        if not cancelled or late is None or self._last_audio is None:
            return []
        return [{**self._last_audio, "event_id": self._new_id()} for _ in range(int(late.number))]

    def _frame(self, event_type: str, **fields: Any) -> Frame:
        return Frame(orjson.dumps(self._event(event_type, **fields)))

    def _event(self, event_type: str, **fields: Any) -> Event:
        return {"event_id": self._new_id(), "type": event_type, **fields}

    def _new_id(self) -> str:
        self._made_up += 1
        return f"event_fault{self._made_up:011}"


def _belongs_to_an_answer(event: Event) -> bool:
    if event["type"].startswith("conversation.item.") and "item" in event:
        return bool(event["item"].get("role") == "assistant")
    return bool(event["type"].startswith("response."))
