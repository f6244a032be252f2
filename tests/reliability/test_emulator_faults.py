"""The emulator's own faults: what they do to a caller of the gateway, and that they leave nothing behind.

They are asked for by a header, which the proxy between the two adds. One gateway suffers them all in turn.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from app.errors import CATALOGUE, ErrorCode
from tests.admission.bank import SETTINGS as OPERATOR
from tests.admission.bank import bearing, ticket
from tests.emulator.doubles import Doubles
from tests.gateway import RawCaller, RunningGateway, running_gateway
from tests.reliability.accounting import at_rest, no_fault_of_ours, settled
from tests.reliability.faults import SURVIVES, assert_one_terminal_message
from tests.reliability.injections import LATEST_S
from tests.reliability.scene import COMPRESSED_TIMERS, compressed_timers
from tests.reliability.test_faults import RUNS, SEED
from tests.reliability.toxic_proxy import ToxicProxy, toxic_proxy
from tests.scripted_voice_live import ScriptedVoiceLive
from voicelive_emulator.server import serving
from voicelive_emulator.settings import Settings as EmulatorSettings

TIMERS = COMPRESSED_TIMERS | {"MIN_ATTEMPTS": 10**6}
"""The circuit stays closed, so that each fault is met."""

AT_OPENING = "@session.created"
IN_A_CALL = ("@session.updated", "@response.created", "@response.audio.delta", "@response.done")

LOST = ErrorCode.UPSTREAM_LOST
OPENINGS: dict[str, ErrorCode] = {
    "refuse:401": ErrorCode.UPSTREAM_AUTH,
    "refuse:404": ErrorCode.UPSTREAM_CONFIG,
    "refuse:429": ErrorCode.UPSTREAM_BUSY,
    "refuse:503": LOST,
    "redirect": LOST,
    f"close:1011{AT_OPENING}": LOST,
    f"abort{AT_OPENING}": LOST,
    f"oversize{AT_OPENING}": ErrorCode.UPSTREAM_PROTOCOL,
}
"""Each attempt to open a session meets these."""

PASSING = (
    *("close:1011", "close:1000", "abort", "stall:0.3", "bad_json", "not_object", "unknown_event", "warning"),
    *("duplicate", "binary"),
)
"""Happen once, after an event of the call; in the same session or a new one the call goes on."""

LASTING = ("late_audio", "rate_limits", "slow_handshake:0.3", "slow_reader:0.3", "empty_transcript")


@asynccontextmanager
async def surroundings() -> AsyncIterator[tuple[RunningGateway, ToxicProxy, Path]]:
    """The gateway, the proxy before the emulator, and the file of admission."""
    async with AsyncExitStack() as stack:
        stack.enter_context(compressed_timers(TIMERS))
        store = Path(stack.enter_context(TemporaryDirectory())) / "admission.db"
        emulator = await stack.enter_async_context(
            serving(EmulatorSettings(port=0), Doubles().models(), random.Random(7))
        )
        upstream = await stack.enter_async_context(toxic_proxy(emulator.port, SEED))
        settings = ScriptedVoiceLive(port=upstream.port).settings(
            **OPERATOR, admission_store_file=store, enable_proactive_greeting=False, playout_lead_ms=0
        )
        gateway = await stack.enter_async_context(running_gateway(settings))
        yield gateway, upstream, store


@asynccontextmanager
async def call(gateway: RunningGateway) -> AsyncIterator[RawCaller]:
    async with gateway.caller(headers=dict([bearing(await ticket(gateway))])) as caller:
        yield caller


async def converses(caller: RawCaller) -> None:
    """Says something, again where the answer got lost, until there is one; then hangs up."""
    await caller.until("session_started")
    for _turn in range(3):
        await caller.send(type="text", text="hi")
        try:
            async with asyncio.timeout(1.5):
                end = await caller.until("agent_audio_end")
                await caller.send(type="playback", response_id=end["response_id"], played_ms=end["total_ms"])
                await caller.until("agent_transcript", response_id=end["response_id"])
        except TimeoutError:
            continue
        break
    assert caller.of_type("agent_transcript")
    await caller.send(type="end")
    assert await caller.until_closed() == 1000


@pytest.mark.parametrize("kinds", ["openings", "passing", "lasting"])
async def test_the_emulators_faults(kinds: str) -> None:
    chance = random.Random(f"{SEED} {kinds}")
    asked: list[tuple[str, ErrorCode | str]]
    match kinds:
        case "openings":
            asked = list(OPENINGS.items())
        case "passing":
            asked = [(kind + chance.choice(IN_A_CALL), SURVIVES) for kind in PASSING for _ in range(RUNS)]
        case _:
            asked = [(kind, SURVIVES) for kind in LASTING]
    with no_fault_of_ours():
        async with surroundings() as (gateway, upstream, store):
            async with call(gateway) as caller:
                await converses(caller)
            baseline = await at_rest(store)
            for fault, then in asked:
                print(f"FAULT_SEED={SEED} {fault}")  # noqa: T201
                header = f"x-emulator-fault: {fault}\r\n".encode()
                upstream.headers = [header] if then == SURVIVES else [header, header]
                async with call(gateway) as caller, asyncio.timeout(LATEST_S * 2):
                    if isinstance(then, ErrorCode):
                        close_code = await caller.until_closed()
                        told = caller.messages[-1].get("code")
                        assert (told, close_code) == (then, CATALOGUE[then].close_code)
                    else:
                        await converses(caller)
                    assert_one_terminal_message(caller)
                await settled(baseline, store)
