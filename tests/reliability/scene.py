"""One call between a scripted Voice Live and a raw caller, with a toxic proxy on either side of the gateway.

Faults are injected at a phase of the call, which `Scene.reach` brings about.
"""

import asyncio
import enum
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from unittest.mock import patch

from tests.admission.bank import SETTINGS as OPERATOR
from tests.admission.bank import bearing, ticket
from tests.gateway import RawCaller, RunningGateway, running_gateway
from tests.reliability.cloud import PRINCIPAL, Cloud, cloud
from tests.reliability.toxic_proxy import ToxicProxy, toxic_proxy
from tests.scripted_voice_live import ScriptedSession, ScriptedVoiceLive, scripted_voice_live
from tests.test_service import audio_delta, response_created, response_done
from tests.virtual_call import speech

COMPRESSED_TIMERS: dict[str, float] = {
    "ADMISSION_TIMEOUT_S": 20.0,
    "PING_AFTER_S": 1.5,
    "PONG_WITHIN_S": 1.5,
    "PING_S": 5.0,
    "SLOW_CONSUMER_S": 0.5,
    "WATCH_PERIOD_S": 0.1,
    "WRITE_TIMEOUT_S": 1.5,
}
"""Constants of the gateway, by name, and what they are here, so that no fault takes long to be noticed.

Longer is only the time for a decision, which the disk of a busy machine can need.
"""

WAIT_S = 30
TURN_MS = 60


class Phase(enum.Enum):
    """Where a call is when a fault strikes."""

    BEFORE = "before"
    CONNECTING = "connecting"
    LISTENING = "listening"
    SPEAKING = "speaking"
    CLOSING = "closing"


IN_CALL = (Phase.LISTENING, Phase.SPEAKING)
ANY = (Phase.CONNECTING, *IN_CALL, Phase.CLOSING)


@contextmanager
def compressed_timers(timers: dict[str, float] = COMPRESSED_TIMERS) -> Iterator[None]:
    """Shorten the gateway's constants wherever they are; a name that is nowhere is an error."""
    with ExitStack() as patches:
        for name, seconds in timers.items():
            owners = [
                module
                for path, module in list(sys.modules.items())
                if path.split(".")[0] == "app" and hasattr(module, name)
            ]
            assert owners, f"no constant {name} in the gateway"
            for module in owners:
                patches.enter_context(patch.object(module, name, seconds))
        yield


@dataclass
class Agent:
    """The scripted Voice Live's side: configures each session and then does what the scene says."""

    opening: asyncio.Event = field(default_factory=asyncio.Event)
    began: asyncio.Event = field(default_factory=asyncio.Event)
    session: ScriptedSession | None = None
    configured: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    responses: int = 0

    async def play(self, session: ScriptedSession) -> None:
        """The script of each session."""
        self.began.set()
        self.ended.clear()
        try:
            await self.opening.wait()
            await session.configure()
            self.session = session
            self.configured.set()
            await session.until_closed()
        finally:
            if self.session in (session, None):
                self.forget()
                self.began.clear()
                self.ended.set()

    def forget(self) -> None:
        """The session is lost, and only the next one counts."""
        self.session = None
        self.configured.clear()

    async def now(self) -> ScriptedSession:
        """The session that is open now, or the next one."""
        async with asyncio.timeout(WAIT_S):
            await self.configured.wait()
        assert self.session is not None
        return self.session

    async def hears(self) -> None:
        """The caller begins to speak."""
        started = {"type": "input_audio_buffer.speech_started", "item_id": "item_1", "audio_start_ms": 0}
        await (await self.now()).send(started)

    async def begins(self, ms: int) -> str:
        """A response that goes on: so much speech, and no end. Its id."""
        self.responses += 1
        response_id = f"resp_{self.responses}"
        await (await self.now()).send(
            response_created(response_id), audio_delta(response_id, speech(response_id, ms))
        )
        return response_id

    async def finishes(self, response_id: str) -> None:
        """The end of a response."""
        transcript = {
            "type": "response.audio_transcript.done",
            "response_id": response_id,
            "transcript": "Certainly.",
        }
        await (await self.now()).send(transcript, response_done(response_id))


@dataclass
class Scene:
    """The gateway, both its neighbours, and the bad networks between."""

    service: ScriptedVoiceLive
    agent: Agent
    upstream: ToxicProxy
    gateway: RunningGateway
    downstream: ToxicProxy
    store: Path = Path()
    """The file of the gateway's admission."""
    cloud: Cloud | None = None
    response_id: str | None = None
    undo: ExitStack = field(default_factory=ExitStack)
    """What a fault has changed in this process is put right at the end."""

    @asynccontextmanager
    async def caller(self) -> AsyncIterator[RawCaller]:
        """One call through the network on the caller's side."""
        headers = dict([bearing(await ticket(self.gateway))])
        url = f"{self.downstream.address}/ws/voice"
        async with self.gateway.http.ws_connect(url, max_msg_size=0, headers=headers) as socket:
            yield RawCaller(socket)

    async def reach(self, phase: Phase, caller: RawCaller) -> None:
        """Bring the call into this phase."""
        if phase is Phase.BEFORE:
            return
        if phase is Phase.CONNECTING:
            async with asyncio.timeout(WAIT_S):
                await self.agent.began.wait()
            return
        await caller.until("session_started")
        if phase is Phase.LISTENING:
            await self.agent.hears()
            await caller.until("status", status="listening")
        elif phase is Phase.SPEAKING:
            self.response_id = await self.agent.begins(800)
            await caller.until("status", status="agent_speaking")
        else:
            await caller.send(type="end")

    async def turn(self, caller: RawCaller) -> None:
        """The call is alive: a whole answer reaches the caller, every byte of it."""
        before = len(caller.audio)
        response_id = await self.agent.begins(TURN_MS)
        await self.agent.finishes(response_id)
        await caller.until("agent_transcript", response_id=response_id)
        assert caller.audio[before:].endswith(speech(response_id, TURN_MS))

    async def good_call(self) -> None:
        """From the first message to the hang-up."""
        async with self.caller() as caller:
            await caller.until("session_started")
            await self.turn(caller)
            await caller.send(type="end")
            assert await caller.until_closed() == 1000


@asynccontextmanager
async def scene(
    seed: int = 0,
    *,
    in_the_cloud: bool = False,
    unchecked: Mapping[str, object] = MappingProxyType({}),
    **settings: object,
) -> AsyncIterator[Scene]:
    """Everything running, and no call. `unchecked` settings may be shorter than an operator may set them.

    In the cloud Voice Live and Entra are reached over TLS, and each call needs a token.
    """
    agent = Agent()
    agent.opening.set()
    async with AsyncExitStack() as stack:
        store = Path(stack.enter_context(TemporaryDirectory())) / "admission.db"
        services = await stack.enter_async_context(cloud()) if in_the_cloud else None
        tls = services.voice_live_tls if services else None
        service = await stack.enter_async_context(scripted_voice_live(agent.play, tls=tls))
        upstream = await stack.enter_async_context(toxic_proxy(service.port, seed))
        values: dict[str, object] = {
            **OPERATOR,
            "azure_voicelive_endpoint": upstream.address,
            "enable_proactive_greeting": False,
            "admission_store_file": store,
        }
        if services is not None:
            values |= PRINCIPAL | {
                "azure_voicelive_endpoint": upstream.address.replace("http:", "https:"),
                "azure_voicelive_api_key": None,
                "azure_authority_host": services.sign_in,
            }
        checked = service.settings(**(values | settings))
        gateway = await stack.enter_async_context(running_gateway(checked.model_copy(update=unchecked)))
        port = int(gateway.address.rpartition(":")[2])
        downstream = await stack.enter_async_context(toxic_proxy(port, seed))
        on = Scene(service, agent, upstream, gateway, downstream, store, services)
        stack.enter_context(on.undo)
        yield on
