"""The table of faults: what goes wrong, when, and what must follow. Numbers are those of docs/reliability.md.

`run` plays one row once. What the fault does to the caller is one of three: the call ends with one of these
codes; the call survives; or the caller is gone, and Voice Live is left at once.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from app import main, service
from app.errors import CATALOGUE, ErrorCode
from tests.gateway import RawCaller
from tests.reliability.accounting import at_rest, no_fault_of_ours, settled
from tests.reliability.injections import (
    LATEST_S,
    Inject,
    answers,
    both_reset,
    caller_babbles,
    caller_does_not_read,
    caller_half_closes,
    caller_in_slices,
    caller_is_silent,
    caller_is_too_fast,
    caller_out_of_order,
    caller_resets,
    caller_stops_reading,
    caller_vanishes,
    certificate,
    garbage,
    hangs_up,
    late_audio_of_nobody,
    never,
    no_such_name,
    nobody_listens,
    nothing,
    sign_in,
    the_clock_jumps,
    the_loop_blocks,
    the_name_service_hangs,
    unauthorized,
    unavailable,
    upstream_closes,
    upstream_half_closes,
    upstream_in_slices,
    upstream_is_cut_within_a_frame,
    upstream_latency,
    upstream_reset,
    upstream_reset_once,
    upstream_says,
    upstream_stalls,
    upstream_vanishes,
)
from tests.reliability.scene import ANY, COMPRESSED_TIMERS, IN_CALL, Phase, Scene, compressed_timers, scene

BILLING_STOPS_S: Final = 8.0
"""The gateway's own bound is 1 s after it knows; the rest is for a busy machine."""

SURVIVES: Final = "survives"
CALLER_GONE: Final = "caller gone"


@dataclass(frozen=True)
class Fault:
    """One row."""

    number: str
    name: str
    inject: Inject
    phases: tuple[Phase, ...]
    then: ErrorCode | str
    settings: Mapping[str, Any] = field(default_factory=dict)
    timers: dict[str, float] = field(default_factory=dict)
    unchecked: Mapping[str, Any] = field(default_factory=dict)
    """Settings shorter than an operator may set them."""
    in_the_cloud: bool = False
    """Voice Live is reached over TLS and with a token."""

    def __str__(self) -> str:
        return f"{self.number} {self.name}"


UNKNOWN: Final = '{"type":"response.of.tomorrow","response_id":"resp_1","extra":{"deep":[1]}}'
BENIGN: Final = '{"type":"error","error":{"code":"response_cancel_not_active","message":"canary"}}'
LOST, PROTOCOL = ErrorCode.UPSTREAM_LOST, ErrorCode.UPSTREAM_PROTOCOL
CONFIG, SIGN_IN = ErrorCode.UPSTREAM_CONFIG, ErrorCode.AUTH_UNAVAILABLE

FAULTS: Final = (
    Fault("F1", "401 at the handshake", answers(401), (Phase.BEFORE,), ErrorCode.UPSTREAM_AUTH),
    Fault("F1", "403 at the handshake", answers(403), (Phase.BEFORE,), ErrorCode.UPSTREAM_AUTH),
    Fault("F2", "404 at the handshake", answers(404), (Phase.BEFORE,), ErrorCode.UPSTREAM_CONFIG),
    Fault("F3", "429 at the handshake", answers(429), (Phase.BEFORE,), ErrorCode.UPSTREAM_BUSY),
    Fault("F4", "503 at the handshake", answers(503), (Phase.BEFORE,), LOST),
    Fault("F4", "nobody listens", nobody_listens, (Phase.BEFORE,), LOST),
    Fault("F4", "a redirect", answers(302, Location="http://127.0.0.1:1/"), (Phase.BEFORE,), LOST),
    Fault("F5", "no such name", no_such_name, (Phase.BEFORE,), LOST, timers={"NAME_LIFETIME_S": 0}),
    Fault(
        "F5",
        "the name service hangs",
        the_name_service_hangs,
        (Phase.BEFORE,),
        LOST,
        timers={"NAME_LIFETIME_S": 0},
    ),
    Fault(
        "F6",
        "a certificate of somebody else's authority",
        certificate(of_ours=False, name="127.0.0.1"),
        (Phase.BEFORE,),
        CONFIG,
        in_the_cloud=True,
    ),
    Fault(
        "F6",
        "a certificate for another host",
        certificate(of_ours=True, name="voice.example"),
        (Phase.BEFORE,),
        CONFIG,
        in_the_cloud=True,
    ),
    Fault("F7", "upstream reset", upstream_reset, ANY, LOST),
    Fault("F7", "upstream reset, and a new session", upstream_reset_once, IN_CALL, SURVIVES),
    Fault("F7", "upstream cut within a frame", upstream_is_cut_within_a_frame, IN_CALL, LOST),
    Fault("F7", "upstream half-closed", upstream_half_closes, (*IN_CALL, Phase.CLOSING), LOST),
    Fault(
        "F8",
        "upstream half-open",
        upstream_vanishes,
        ANY,
        LOST,
        {"connect_timeout_s": 1.5},
    ),
    Fault("F9", "upstream stalls and resumes", upstream_stalls, (*IN_CALL, Phase.CLOSING), SURVIVES),
    Fault("F9", "upstream in slices", upstream_in_slices, ANY, SURVIVES),
    Fault("F9", "upstream with latency", upstream_latency, ANY, SURVIVES),
    Fault("F10", "a little malformed JSON", upstream_says("{", "[]", "null"), IN_CALL, SURVIVES),
    Fault("F10", "much malformed JSON", upstream_says(*["{"] * 11), IN_CALL, PROTOCOL),
    Fault("F11", "unknown events", upstream_says(UNKNOWN, UNKNOWN), IN_CALL, SURVIVES),
    Fault("F11", "audio of an unknown response", late_audio_of_nobody, (Phase.LISTENING,), SURVIVES),
    Fault("F12", "an event of 5 MiB", upstream_says("x" * 5 * 2**20), IN_CALL, PROTOCOL),
    Fault("F12", "binary messages", upstream_says(*[b"\xff\x00"] * 11), IN_CALL, PROTOCOL),
    Fault("F13", "a benign error event", upstream_says(BENIGN), IN_CALL, SURVIVES),
    Fault("F14", "closed unprompted", upstream_closes, IN_CALL, LOST),
    Fault(
        "F15",
        "the token endpoint does not answer",
        sign_in(never),
        (Phase.BEFORE,),
        SIGN_IN,
        in_the_cloud=True,
    ),
    Fault(
        "F15", "the token endpoint hangs up", sign_in(hangs_up), (Phase.BEFORE,), SIGN_IN, in_the_cloud=True
    ),
    Fault(
        "F15", "503 of the token endpoint", sign_in(unavailable), (Phase.BEFORE,), SIGN_IN, in_the_cloud=True
    ),
    Fault(
        "F15",
        "401 of the token endpoint",
        sign_in(unauthorized, 5.0),
        (Phase.BEFORE,),
        ErrorCode.UPSTREAM_AUTH,
        in_the_cloud=True,
    ),
    Fault(
        "F15",
        "garbage of the token endpoint",
        sign_in(garbage, 5.0),
        (Phase.BEFORE,),
        SIGN_IN,
        in_the_cloud=True,
    ),
    Fault("F15", "tokens of one second", nothing, (Phase.BEFORE,), SURVIVES, in_the_cloud=True),
    Fault("F16", "caller reset", caller_resets, ANY, CALLER_GONE),
    Fault("F16", "caller half-closed", caller_half_closes, (*IN_CALL, Phase.CLOSING), CALLER_GONE),
    Fault(
        "F17",
        "caller half-open",
        caller_vanishes,
        ANY,
        CALLER_GONE,
        timers={"PING_S": 1},
    ),
    Fault(
        "F18",
        "caller too slow",
        caller_does_not_read,
        (Phase.SPEAKING,),
        ErrorCode.SLOW_CONSUMER,
        {"playout_lead_ms": 0},
    ),
    Fault(
        "F18",
        "caller stops reading",
        caller_stops_reading,
        IN_CALL,
        ErrorCode.SLOW_CONSUMER,
        {"playout_lead_ms": 0},
        # A tenth of the real ones, so that what is noticed first is the same.
        timers={"PING_S": main.PING_S / 10, "SLOW_CONSUMER_S": service.SLOW_CONSUMER_S / 10},
    ),
    Fault(
        "F19",
        "caller at twenty times real time",
        caller_is_too_fast,
        (Phase.LISTENING, Phase.SPEAKING),
        ErrorCode.RATE_LIMITED,
        timers={"SUSTAINED_S": 0.5, "BURST_BYTES": 48_000},
    ),
    Fault(
        "F20",
        "caller silent",
        caller_is_silent,
        (Phase.CONNECTING, Phase.SPEAKING),
        ErrorCode.IDLE_TIMEOUT,
        unchecked={"idle_timeout_s": 0.8},
    ),
    Fault("F18", "caller in slices", caller_in_slices, IN_CALL, SURVIVES),
    Fault("F27", "the clock jumps", the_clock_jumps, (*IN_CALL, Phase.CLOSING), SURVIVES),
    Fault("F29", "the loop blocks", the_loop_blocks, (*IN_CALL, Phase.CLOSING), SURVIVES),
    Fault("F31", "both reset at once", both_reset, ANY, CALLER_GONE),
    Fault("F32", "messages out of order", caller_out_of_order, (Phase.CONNECTING, *IN_CALL), SURVIVES),
    Fault("F32", "nonsense without end", caller_babbles, IN_CALL, ErrorCode.BAD_REQUEST),
)
"""Rows of one call in one process. Drain, SIGKILL and what a process runs out of have tests of their own."""


async def run(fault: Fault, phase: Phase, seed: int) -> float:
    """Play one row once. Returns the seconds from the fault to its end for the caller."""
    with compressed_timers(COMPRESSED_TIMERS | fault.timers), no_fault_of_ours():
        async with scene(
            seed, in_the_cloud=fault.in_the_cloud, unchecked=fault.unchecked, **fault.settings
        ) as on:
            await on.good_call()
            baseline = await at_rest(on.store)
            async with asyncio.timeout(60):
                took_s = await _strike(fault, phase, on)
            await settled(baseline, on.store)
            assert on.service.sessions == 0, "a session is still billed"
            return took_s


async def _strike(fault: Fault, phase: Phase, on: Scene) -> float:
    if phase is Phase.CONNECTING:
        on.agent.opening.clear()
    if phase is Phase.BEFORE:
        await fault.inject(on, RawCaller.__new__(RawCaller))
    async with on.caller() as caller:
        await on.reach(phase, caller)
        began = time.monotonic()
        if phase is not Phase.BEFORE:
            await fault.inject(on, caller)
        if phase is Phase.CLOSING and fault.then != CALLER_GONE:
            await _closes(caller, fault.then)
        elif fault.then == SURVIVES:
            await _survives(on, caller)
        elif fault.then == CALLER_GONE:
            on.agent.opening.set()
            await _left(on)
        else:
            assert isinstance(fault.then, ErrorCode)
            await _ends(caller, fault.then)
        took_s = time.monotonic() - began
        on.upstream.reset()
        on.downstream.reset()
    return took_s


async def _survives(on: Scene, caller: RawCaller) -> None:
    on.agent.opening.set()
    if on.response_id is not None and on.agent.session is not None:
        await on.agent.finishes(on.response_id)
    await on.turn(caller)
    await caller.send(type="end")
    assert await caller.until_closed() == 1000
    assert_one_terminal_message(caller)
    assert not [m for m in caller.of_type("error") if m["fatal"]]


async def _ends(caller: RawCaller, code: ErrorCode) -> None:
    async with asyncio.timeout(LATEST_S):
        close_code = await caller.until_closed()
    assert caller.messages, f"closed with {close_code} and nothing said"
    assert (caller.messages[-1].get("code"), close_code) == (code, CATALOGUE[code].close_code)
    assert_one_terminal_message(caller)
    assert "canary" not in str(caller.messages)


async def _closes(caller: RawCaller, code: ErrorCode | str) -> None:
    """The call ends as it would have, or for the fault where that came first; in any case once."""
    async with asyncio.timeout(LATEST_S):
        close_code = await caller.until_closed()
    told = caller.messages[-1].get("code")
    assert (told, close_code) in {
        (None, 1000),
        (code, CATALOGUE[code].close_code if isinstance(code, ErrorCode) else 0),
    }
    assert_one_terminal_message(caller)


async def _left(on: Scene) -> None:
    """Voice Live is closed, so that nothing is billed any more."""
    async with asyncio.timeout(BILLING_STOPS_S):
        await on.agent.ended.wait()


def assert_one_terminal_message(caller: RawCaller) -> None:
    """Exactly one, and the last one."""
    terminal = [m for m in caller.messages if m["type"] == "session_ended" or m.get("fatal")]
    assert terminal == [caller.messages[-1]], terminal
