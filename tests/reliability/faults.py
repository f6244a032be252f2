"""The table of faults: what goes wrong, when, and what must follow. Numbers are those of docs/reliability.md.

`run` plays one row once. What the fault does to the caller is one of three: the call ends with one of these
codes; the call survives; or the caller is gone, and Voice Live is left at once.
"""

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final
from unittest.mock import patch

import trustme
from aiohttp import web

from app import main, service
from app.errors import CATALOGUE, ErrorCode
from app.voicelive import credentials, endpoint
from tests.gateway import RawCaller
from tests.reliability.accounting import at_rest, no_fault_of_ours, settled
from tests.reliability.scene import ANY, COMPRESSED_TIMERS, IN_CALL, Phase, Scene, compressed_timers, scene
from tests.test_service import audio_delta
from tests.virtual_call import speech

LATEST_S: Final = 10.0
"""A generous bound for a machine that does other things too; nothing hangs for longer."""

BILLING_STOPS_S: Final = 8.0
"""The gateway's own bound is 1 s after it knows; the rest is for a busy machine."""

SURVIVES: Final = "survives"
CALLER_GONE: Final = "caller gone"

Inject = Callable[[Scene, RawCaller], Awaitable[None]]


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


# ------------------------------------------------------------------------------------------ what goes wrong


def answers(status: int, **headers: str) -> Inject:
    """Voice Live answers the handshake with this status."""

    async def inject(on: Scene, _: RawCaller) -> None:
        def refuse(_: web.Request) -> web.Response:
            response = web.Response(status=status, text="canary", headers=headers)
            response.force_close()
            return response

        on.service.refuse_with = refuse

    return inject


def name_is_not_found(on: Scene) -> None:
    def not_found(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "canary")

    on.undo.enter_context(patch("socket.getaddrinfo", not_found))


async def no_such_name(on: Scene, _: RawCaller) -> None:
    name_is_not_found(on)


async def the_name_service_hangs(on: Scene, _: RawCaller) -> None:
    released = threading.Event()

    def hangs(*_: object, **__: object) -> None:
        released.wait(LATEST_S * 2)
        raise socket.gaierror(socket.EAI_AGAIN, "canary")

    on.undo.enter_context(patch("socket.getaddrinfo", hangs))
    on.undo.enter_context(patch.object(endpoint, "STEP_TIMEOUT_S", 0.7))
    on.undo.callback(released.set)


def certificate(*, of_ours: bool, name: str) -> Inject:
    """Voice Live shows one of the trusted authority, or of another one, for this name."""

    async def inject(on: Scene, _: RawCaller) -> None:
        assert on.cloud is not None
        authority = on.cloud.authority if of_ours else trustme.CA()
        on.cloud.show(authority.issue_cert(name))

    return inject


def sign_in(answer: Callable[[web.Request], Awaitable[web.StreamResponse]], within_s: float = 0.7) -> Inject:
    """Entra answers so, and is not waited for longer than this."""

    async def inject(on: Scene, _: RawCaller) -> None:
        assert on.cloud is not None
        on.cloud.answer = answer
        on.undo.enter_context(patch.object(credentials, "MINT_TIMEOUT_S", within_s))

    return inject


async def never(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def hangs_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def unauthorized(_: web.Request) -> web.StreamResponse:
    body = {"error": "invalid_client", "error_description": "canary secret-canary"}
    return web.json_response(body, status=401)


async def garbage(_: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>canary</html>", content_type="text/html")


async def unavailable(_: web.Request) -> web.StreamResponse:
    return web.Response(status=503, text="canary")


async def nothing(on: Scene, _: RawCaller) -> None:
    """All tokens of the scene last one second: that is the fault."""


async def nobody_listens(on: Scene, _: RawCaller) -> None:
    on.upstream.refuses = True


async def upstream_reset(on: Scene, _: RawCaller) -> None:
    on.upstream.refuses = True
    on.upstream.reset()


async def upstream_reset_once(on: Scene, _: RawCaller) -> None:
    on.agent.forget()
    on.response_id = None
    on.upstream.reset()


async def upstream_vanishes(on: Scene, _: RawCaller) -> None:
    on.upstream.vanish()
    on.agent.opening.set()


async def upstream_half_closes(on: Scene, _: RawCaller) -> None:
    on.upstream.refuses = True
    on.upstream.half_close_to_client()


async def upstream_is_cut_within_a_frame(on: Scene, _: RawCaller) -> None:
    on.upstream.refuses = True
    on.upstream.to_client.limit_bytes = 0
    await on.agent.begins(100)


async def upstream_stalls(on: Scene, _: RawCaller) -> None:
    on.upstream.to_client.stall()
    await asyncio.sleep(0.4)
    on.upstream.to_client.resume()


async def upstream_in_slices(on: Scene, _: RawCaller) -> None:
    on.upstream.to_client.slice_bytes = on.upstream.to_server.slice_bytes = 331
    on.agent.opening.set()


async def upstream_latency(on: Scene, _: RawCaller) -> None:
    on.upstream.to_client.latency_s, on.upstream.to_client.jitter_s = 0.05, 0.05
    on.agent.opening.set()


def upstream_says(*messages: str | bytes) -> Inject:
    async def inject(on: Scene, _: RawCaller) -> None:
        socket = (await on.agent.now()).socket
        for message in messages:
            await (socket.send_str(message) if isinstance(message, str) else socket.send_bytes(message))

    return inject


async def upstream_closes(on: Scene, _: RawCaller) -> None:
    on.upstream.refuses = True
    await (await on.agent.now()).socket.close(code=1000)


async def late_audio_of_nobody(on: Scene, _: RawCaller) -> None:
    await (await on.agent.now()).send(audio_delta("resp_unknown", speech("resp_unknown", 100)))


async def caller_resets(on: Scene, _: RawCaller) -> None:
    on.downstream.reset()


async def caller_half_closes(on: Scene, _: RawCaller) -> None:
    on.downstream.half_close_to_server()


async def caller_vanishes(on: Scene, _: RawCaller) -> None:
    on.downstream.vanish()


async def both_reset(on: Scene, _: RawCaller) -> None:
    on.upstream.reset()
    on.downstream.reset()


async def caller_does_not_read(on: Scene, _: RawCaller) -> None:
    """A slow link: 2 kB/s while the agent speaks for a minute."""
    on.downstream.to_client.bandwidth_bytes_s = 2_000
    session = await on.agent.now()
    for _part in range(30):
        await session.send(audio_delta(on.response_id or "resp_1", speech("resp_1", 2000)))
    # What is on its way is read when the call is over, so that its last message arrives.
    async with asyncio.timeout(LATEST_S):
        await on.agent.ended.wait()
    on.downstream.to_client.bandwidth_bytes_s = 0


async def caller_stops_reading(on: Scene, _: RawCaller) -> None:
    """Nothing is read, not even pings; when the call is over, everything."""
    on.downstream.to_client.stall()
    if on.response_id is not None:
        session = await on.agent.now()
        for _part in range(5):
            await session.send(audio_delta(on.response_id, speech(on.response_id, 2000)))
    await _left(on)
    on.downstream.to_client.resume()


async def caller_is_too_fast(on: Scene, caller: RawCaller) -> None:
    """Twenty times real time."""

    async def sends() -> None:
        with suppress(ConnectionError):
            while not caller.socket.closed:
                await caller.socket.send_bytes(bytes(48 * 200))
                await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(sends())
        await caller.until_closed()
        sending.cancel()


async def caller_is_silent(on: Scene, caller: RawCaller) -> None:
    """Nobody says a word any more."""
    on.agent.opening.set()
    if on.response_id is not None:
        await on.agent.finishes(on.response_id)
    await caller.until("session_ending", reason="idle")


async def caller_in_slices(on: Scene, caller: RawCaller) -> None:
    on.downstream.to_client.slice_bytes = on.downstream.to_server.slice_bytes = 13
    await caller.send(type="ping")
    await caller.until("pong")


async def caller_out_of_order(on: Scene, caller: RawCaller) -> None:
    for message in (
        {"type": "start"},
        {"type": "playback", "response_id": "nobody", "played_ms": 10**12},
        {"type": "barge_in"},
        {"type": "session.update", "session": {"instructions": "canary"}},
    ):
        await caller.send(**message)
    await caller.socket.send_str("}{")
    await caller.socket.send_bytes(b"\x01")
    await caller.send(type="ping")
    await caller.until("pong")


async def caller_babbles(on: Scene, caller: RawCaller) -> None:
    for _message in range(21):
        await caller.socket.send_str("nonsense")


async def the_clock_jumps(on: Scene, _: RawCaller) -> None:
    real = time.time
    for jump_s in (3600, -3600):
        with patch("time.time", lambda jump_s=jump_s: real() + jump_s):
            await asyncio.sleep(0.3)


async def the_loop_blocks(on: Scene, _: RawCaller) -> None:
    # Longer than the (compressed) watch period, shorter than the pings' time-outs, as in production.
    time.sleep(0.25)  # noqa: ASYNC251 (this is the fault)


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
