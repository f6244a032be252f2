"""What goes wrong: each of these does one thing to one side of a call. The table of faults says when."""

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final
from unittest.mock import patch

import trustme
from aiohttp import web

from app.voicelive import credentials, endpoint
from tests.gateway import RawCaller
from tests.reliability.scene import Scene
from tests.test_service import audio_delta
from tests.virtual_call import speech

LATEST_S: Final = 10.0
"""A generous bound for a machine that does other things too; nothing hangs for longer."""

Inject = Callable[[Scene, RawCaller], Awaitable[None]]


def answers(status: int, **headers: str) -> Inject:
    """Voice Live answers the handshake with this status."""

    async def inject(on: Scene, _: RawCaller) -> None:
        def refuse(_: web.Request) -> web.Response:
            response = web.Response(status=status, text="canary", headers=headers)
            response.force_close()
            return response

        on.service.refuse_with = refuse

    return inject


async def no_such_name(on: Scene, _: RawCaller) -> None:
    def not_found(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "canary")

    on.undo.enter_context(patch("socket.getaddrinfo", not_found))


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
    async with asyncio.timeout(LATEST_S):
        await on.agent.ended.wait()
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
