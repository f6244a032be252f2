"""The sockets of the emulator: HTTP and WebSocket, plain and over TLS in one process.

Routes: the Voice Live endpoint under any prefix, the token endpoint of Entra, `/health`, and
what `control` offers.
"""

import asyncio
import math
import secrets
import time
from collections.abc import AsyncIterator, Sequence, Set
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, Final

import structlog
from aiohttp import web

from voicelive_emulator.access import Access, Admission, Refusal
from voicelive_emulator.activity import Activity
from voicelive_emulator.certificates import server_tls
from voicelive_emulator.control import Control
from voicelive_emulator.entra import TokenIssuer
from voicelive_emulator.events import Events
from voicelive_emulator.failures import described
from voicelive_emulator.faults import ALL_KINDS, TOKEN_KINDS, Fault, FaultPlan, UnknownFault, parse_faults
from voicelive_emulator.listening import Listeners, listening
from voicelive_emulator.openai_names import OpenAINames
from voicelive_emulator.parts import ModelParts, Parts
from voicelive_emulator.pipeline import PipelineOptions, SessionPipeline
from voicelive_emulator.profiles import profile_for
from voicelive_emulator.quota import Quota
from voicelive_emulator.session import Session
from voicelive_emulator.session_config import SessionConfig
from voicelive_emulator.set_answers import SetAnswers
from voicelive_emulator.settings import Settings
from voicelive_emulator.speech_models import SpeechModels
from voicelive_emulator.threads import Thread, Threads
from voicelive_emulator.workers import Workers

_LARGEST_MESSAGE: Final = 21 * 1024 * 1024
"""Voice Live takes 15 MiB of audio in one event, 20 MiB as base64."""
_LARGEST_FORM: Final = 64 * 1024
_CLOSE_TIMEOUT_S: Final = 2.0
_SHUTDOWN_TIMEOUT_S: Final = 1.0
_SEEDED_START: Final = 1_767_225_600
"""When every session with a seed begins: 2026, in Unix seconds."""
_FAULT_HEADER: Final = "x-emulator-fault"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a running emulator can be reached."""

    port: int
    tls_port: int | None
    certificate_file: Path | None


class Emulator:
    """The web application. One per process; sessions share its models and threads."""

    def __init__(
        self,
        settings: Settings,
        models: SpeechModels | Parts,
        random: Random | None = None,
        answers: SetAnswers | None = None,
    ) -> None:
        """`random` makes ids; a seeded one makes the same ids every time. `answers` can be set over HTTP."""
        self._settings = settings
        self._workers = Workers()
        self._parts = ModelParts(models, self._workers) if isinstance(models, SpeechModels) else models
        self._random = random or Random(secrets.randbits(128))  # noqa: S311 (ids are names, no secrets)
        self._issuer = TokenIssuer(time.monotonic, settings.token_lifetime_s, settings.client_secret)
        self._access = Access(settings.api_key, self._issuer.is_valid, agent_api_keys=settings.agent_api_keys)
        self._quota = Quota(settings.connections_per_minute, settings.tokens_per_minute)
        self._threads = Threads()
        self._opened = 0
        self._sessions: set[SessionPipeline] = set()
        self._control = Control(self._sessions, answers, settings.api_key)
        self._log = structlog.get_logger("voicelive_emulator")

    def application(self) -> web.Application:
        """Return the routes."""
        app = web.Application(client_max_size=_LARGEST_FORM)
        app.router.add_get("/health", self._health)
        self._control.add_routes(app.router)
        app.router.add_get(r"/{prefix:(?:.*/)?}voice-live/realtime", self._realtime)
        app.router.add_post("/{tenant}/oauth2/v2.0/token", self._token)
        app.on_shutdown.append(self._say_goodbye)
        app.on_cleanup.append(self._clean_up)
        return app

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "healthy"})

    async def _token(self, request: web.Request) -> web.Response:
        form = {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
        try:
            faults = [*_requested_faults(request, TOKEN_KINDS), *parse_faults(self._settings.token_faults)]
        except UnknownFault as error:
            return self._refuse(Refusal(400, "unknown_fault", str(error)))
        status, body = await self._token_answer(form, faults)
        self._log.info("token_requested", status=status)
        return web.json_response(body, status=status, headers={"Cache-Control": "no-store"})

    async def _realtime(self, request: web.Request) -> web.StreamResponse:
        try:
            faults = _requested_faults(request, ALL_KINDS - TOKEN_KINDS)
            pace = _pace(request.query.get("pace"), self._settings.pace)
        except UnknownFault as error:
            return self._refuse(Refusal(400, "unknown_fault", str(error)))
        if (answer := await self._fail_upgrade(faults)) is not None:
            return answer
        decision = self._access.decide(request.query, request.headers)
        if isinstance(decision, Refusal):
            return self._refuse(decision)
        if len(self._sessions) >= self._settings.max_sessions:
            return self._refuse(Refusal(429, "too_many_requests", "There are too many sessions."))
        if wait_s := self._quota.connect(time.monotonic()):
            refusal = Refusal(429, "too_many_requests", "There were too many new sessions in a minute.")
            return self._refuse(refusal, {"Retry-After": str(math.ceil(wait_s))})
        ws = web.WebSocketResponse(
            max_msg_size=_LARGEST_MESSAGE, compress=False, timeout=_CLOSE_TIMEOUT_S, decode_text=False
        )
        if not ws.can_prepare(request).ok:
            return self._refuse(Refusal(426, "upgrade_required", "This is a WebSocket endpoint."))
        await ws.prepare(request)
        await self._serve(request, ws, decision, faults, pace)
        return ws

    async def _serve(
        self,
        request: web.Request,
        ws: web.WebSocketResponse,
        admission: Admission,
        faults: tuple[Fault, ...],
        pace: float,
    ) -> None:
        plan = FaultPlan(faults)
        expire = plan.session_fault("expire")
        lifetime_s = self._settings.session_lifetime_s if expire is None else expire.number
        self._opened += 1
        seed = self._settings.seed
        # Each session has its own numbers, so that what others do does not change its ids.
        random = self._random if seed is None else Random(f"{seed}:{self._opened}")  # noqa: S311 (ids)
        events = Events(random)
        agent, thread = admission.agent, Thread("", ())
        if agent is not None:
            thread = self._threads.open(
                agent.name, agent.project, agent.thread_id, lambda: events.new_id("conv")
            )
            agent = replace(agent, thread_id=thread.thread_id)
        profile = profile_for(admission.model)
        config = SessionConfig(
            events.new_id("sess", profile.id_length),
            profile,
            model=admission.model,
            api_version=admission.api_version,
            expires_at=int((time.time() if seed is None else _SEEDED_START) + lifetime_s),
            agent=agent,
            agent_updates=self._settings.agent_updates,
        )
        session = Session(events, config, thread.earlier)
        thread.begin(session.history)
        pipeline = SessionPipeline(
            session,
            ws,
            request.transport,
            self._parts,
            hearing=config.hearing(),
            options=PipelineOptions(
                lifetime_s=lifetime_s,
                pace=pace,
                audio_clock=seed is not None,
                quota=self._quota,
            ),
            faults=plan,
            activity=Activity(config.session_id, admission.mode, admission.model, time.monotonic()),
            names=OpenAINames(events, asked=request.query.get("names") == "openai"),
        )
        self._sessions.add(pipeline)
        opened_at = time.monotonic()
        with structlog.contextvars.bound_contextvars(session=config.session_id):
            self._log.info("session_opened", mode=admission.mode, model=admission.model)
            try:
                reason = await pipeline.run()
                self._log.info("session_ended", reason=reason, seconds=round(time.monotonic() - opened_at, 1))
            except asyncio.CancelledError:
                self._log.info("session_ended", reason="connection lost")
                raise
            except Exception as error:  # noqa: BLE001 (a session that breaks takes no other with it)
                self._log.error("session_broken", **described(error))
                await ws.close(code=1011)
            finally:
                self._sessions.discard(pipeline)
                thread.end()

    async def _fail_upgrade(self, faults: tuple[Fault, ...]) -> web.Response | None:
        for fault in faults:
            match fault.kind:
                case "slow_handshake":
                    await asyncio.sleep(fault.number)
                case "redirect":
                    return web.Response(status=302, headers={"Location": fault.argument})
                case "refuse":
                    return self._refuse(Refusal(int(fault.number), "emulator_fault", "Refused on request."))
        return None

    async def _token_answer(
        self, form: dict[str, str], faults: Sequence[Fault]
    ) -> tuple[int, dict[str, Any]]:
        lifetime_s = None
        for fault in faults:
            match fault.kind:
                case "slow_token":
                    await asyncio.sleep(fault.number)
                case "fail_token":
                    return int(fault.number), {"error": "temporarily_unavailable", "error_codes": [90033]}
                case "short_token":
                    lifetime_s = int(fault.number)
        return self._issuer.answer(form, lifetime_s)

    def _refuse(self, refusal: Refusal, headers: dict[str, str] | None = None) -> web.Response:
        self._log.info("session_refused", status=refusal.status, code=refusal.code)
        body = {"error": {"code": refusal.code, "message": refusal.message}}
        return web.json_response(body, status=refusal.status, headers=headers)

    async def _say_goodbye(self, _: web.Application) -> None:
        for pipeline in self._sessions:
            pipeline.close(1001, "The emulator is stopping.")
        ends = [asyncio.ensure_future(pipeline.ended.wait()) for pipeline in self._sessions]
        if ends:
            late = (await asyncio.wait(ends, timeout=_SHUTDOWN_TIMEOUT_S))[1]
            for waiting in late:
                waiting.cancel()

    async def _clean_up(self, _: web.Application) -> None:
        await self._workers.close()


def _requested_faults(request: web.Request, kinds: Set[str]) -> tuple[Fault, ...]:
    asked = [*request.query.getall("fault", []), *request.headers.get(_FAULT_HEADER, "").split(",")]
    return parse_faults((text.strip() for text in asked), kinds)


def _pace(asked: str | None, default: float) -> float:
    """Return the pace that a query asks for; raises UnknownFault for what is none."""
    try:
        pace = default if asked is None else float(asked)
    except ValueError:
        pace = -1.0
    if not 0 <= pace < math.inf:
        raise UnknownFault("A pace is a number, 0 or more.")
    return pace


@asynccontextmanager
async def serving(
    settings: Settings,
    models: SpeechModels | Parts,
    random: Random | None = None,
    answers: SetAnswers | None = None,
    listeners: Listeners | None = None,
) -> AsyncIterator[Endpoints]:
    """Serve inside the block, on `listeners` or else on the ports of the settings.

    Raises CannotListen; OSError when the certificate file cannot be written.
    """
    with ExitStack() as stack:
        listeners = listeners or stack.enter_context(listening(settings))
        tls, certificate_file = None, None
        if listeners.tls is not None:
            tls, certificate_file = stack.enter_context(server_tls(settings.certificate_file))
        runner = web.AppRunner(
            Emulator(settings, models, random, answers).application(),
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=_SHUTDOWN_TIMEOUT_S,
        )
        await runner.setup()
        try:
            await web.SockSite(runner, listeners.plain).start()
            if listeners.tls is not None:
                await web.SockSite(runner, listeners.tls, ssl_context=tls).start()
            ports = [address[1] for address in runner.addresses]
            yield Endpoints(ports[0], ports[1] if tls is not None else None, certificate_file)
        finally:
            await runner.cleanup()
