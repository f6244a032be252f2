"""The entry point: the FastAPI application, and `python -m app.main`."""

import asyncio
import gc
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Final, cast

import structlog
import uvicorn
from fastapi import Depends, FastAPI, Request, Response, WebSocket
from fastapi.responses import JSONResponse
from starlette.middleware.cors import CORSMiddleware

from app import open_files, page, probes
from app.admission import Refusal, decision, ticket_office
from app.admission.assembly import open_admission
from app.admission.decision import Handshake
from app.admission.doorkeeper import Doorkeeper
from app.admission.hosts import TrustedHosts
from app.call_rules import call_rules
from app.calls import Calls
from app.config import Settings, SettingsError, load_settings
from app.errors import ErrorCode
from app.lifecycle import CLOSES_PER_S, Lifecycle
from app.messages import MAX_MESSAGE_BYTES
from app.pacer import Pacer
from app.redaction import REDACTOR
from app.security_headers import SecurityHeaders, add_headers
from app.server import GatewayServer
from app.service import VoiceLiveSessionManager
from app.telemetry import configure_logs
from app.voicelive.credentials import Credentials
from app.voicelive.endpoint import VoiceLiveEndpoint
from app.websocket.call_protocol import CallProtocol
from app.websocket.http_protocol import HttpProtocol, OpenConnections
from app.websocket.listener import listen
from app.websocket.tls import server_context
from app.workers import MakeServer, run_workers

PING_S: Final = 10.0
"""A client that vanished is noticed within ping and pong time-outs together: 20 s."""

SHUTDOWN_TIMEOUT_S: Final = 5

GARBAGE_THRESHOLDS: Final = (700, 10, 100)
"""A full collection, which stops every call while it looks at all of them, is ten times rarer than usual: a
call that has ended leaves no garbage (`make soak`)."""

EXIT_BAD_SETTINGS: Final = 2
EXIT_CANNOT_LISTEN: Final = 1

log = structlog.get_logger(__name__)


def create_app(settings: Settings) -> FastAPI:
    """The gateway for these settings."""
    REDACTOR.hide_settings(settings)
    shows_docs = settings.app_env != "production"
    app = FastAPI(
        title="Voice Live API",
        description="Real-time voice calls with an AI agent. The calls themselves run on the WebSocket "
        "`/ws/voice`, which this page cannot show.",
        lifespan=lifespan,
        docs_url="/docs" if shows_docs else None,
        redoc_url="/redoc" if shows_docs else None,
        openapi_url="/openapi.json" if shows_docs else None,
        exception_handlers={Exception: internal_error},
    )
    app.state.settings = settings
    app.state.lifecycle = Lifecycle(settings.drain_timeout_s, CLOSES_PER_S / settings.workers)

    # Pages of other origins that may call need the client's modules, `/ready`, and perhaps tickets.
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.allowed_origins,
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization"],
    )
    app.add_middleware(TrustedHosts, trusted=settings.trusted_hosts)
    app.add_middleware(SecurityHeaders)
    app.websocket("/ws/voice")(voice)
    app.include_router(probes.router)
    if settings.client_auth == "ticket":
        app.include_router(ticket_office.router)
    app.include_router(page.router)
    return app


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """What all calls share, from the start of the server to its end."""
    settings: Settings = app.state.settings
    lifecycle: Lifecycle = app.state.lifecycle
    log.info("gateway.starting", **settings.describe())
    for warning in settings.warnings():
        log.warning("settings.warning", message=warning)
    credentials = Credentials(settings)
    app.state.endpoint = endpoint = VoiceLiveEndpoint(settings, credentials)
    app.state.rules = call_rules(settings)
    app.state.pacer = Pacer()
    async with (
        open_admission(settings, lifecycle, lambda: endpoint.circuit.retry_after_s) as admission,
        asyncio.TaskGroup() as background,
    ):
        app.state.doorkeeper = admission.doorkeeper
        app.state.ticket_office = admission.ticket_office
        app.state.calls = calls = Calls[VoiceLiveSessionManager](background)
        services = [background.create_task(run) for run in (credentials.keep_fresh(), calls.watch())]
        # What start-up made stays for ever: a full collection need not look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GARBAGE_THRESHOLDS)
        lifecycle.become_ready()
        yield
        for task in services:
            task.cancel()
        calls.cancel()
    log.info("gateway.stopped")


async def internal_error(request: Request, error: Exception) -> Response:
    """The answer to a fault of ours, which is logged with its traceback. No middleware sees this answer."""
    del error
    refusal = Refusal(ErrorCode.INTERNAL)
    response = JSONResponse(refusal.body, status_code=refusal.status)
    add_headers(response.headers, request.scope)
    return response


async def settings_of(websocket: WebSocket) -> Settings:
    """The settings that the application was made with. A coroutine, since others run in a thread."""
    settings: Settings = websocket.app.state.settings
    return settings


async def voice(websocket: WebSocket, settings: Annotated[Settings, Depends(settings_of)]) -> None:
    """One socket of a caller: of a new call, or of one that was lost."""
    handshake = decision.read_handshake(websocket.scope, settings.trusted_proxies)
    if handshake.resume_token is None:
        await begin_call(websocket, settings, handshake)
    else:
        await resume_call(websocket, handshake, handshake.resume_token)


async def begin_call(websocket: WebSocket, settings: Settings, handshake: Handshake) -> None:
    """Admit, accept, run."""
    state = websocket.app.state
    doorkeeper: Doorkeeper = state.doorkeeper
    lifecycle: Lifecycle = state.lifecycle
    admitted = await doorkeeper.admit(handshake)
    if isinstance(admitted, Refusal):
        await refuse(websocket, admitted)
        return
    release = partial(doorkeeper.release, admitted)
    if admitted.grant:
        # For the rest of this task, which is the call's.
        structlog.contextvars.bind_contextvars(campaign=admitted.grant.campaign)
    with lifecycle.call():
        try:
            await websocket.accept(handshake.subprotocol)
            manager = VoiceLiveSessionManager(websocket, settings, admitted.max_duration_s)
        except BaseException:
            release()
            raise
        await manager.run(release)


async def resume_call(websocket: WebSocket, handshake: Handshake, token: str) -> None:
    """A lost call goes on. Its token stands for whatever admitted it; the page must be one that may call."""
    state = websocket.app.state
    doorkeeper: Doorkeeper = state.doorkeeper
    lifecycle: Lifecycle = state.lifecycle
    calls: Calls[VoiceLiveSessionManager] = state.calls
    refusal = doorkeeper.refuse_stranger(handshake)
    lost_call = calls.claim(token) if refusal is None else None
    if lost_call is None:
        await refuse(websocket, refusal or decision.UNKNOWN_TOKEN)
        return
    with lifecycle.call():
        await websocket.accept(handshake.subprotocol)
        await lost_call.resume(websocket)


async def refuse(websocket: WebSocket, refusal: Refusal) -> None:
    """Answer the handshake with plain HTTP."""
    log.info("call.refused", code=refusal.code.value, reason=refusal.reason)
    await websocket.send_denial_response(
        JSONResponse(refusal.body, status_code=refusal.status, headers=refusal.headers)
    )


def serve(settings: Settings) -> int:
    """Run the gateway until it is told to stop. Returns the exit status."""
    configure_logs(settings.log_level)
    open_files.raise_limit()
    try:
        listener = listen(settings.app_host, settings.app_port)
    except OSError as error:
        log.error("gateway.cannot_listen", reason=error.strerror, remedy="Set APP_HOST and APP_PORT.")  # noqa: TRY400
        return EXIT_CANNOT_LISTEN
    with listener:
        if settings.workers > 1:
            return run_workers(settings, listener, run_gateway)
        return run_gateway(settings, listener)


def run_gateway(settings: Settings, listener: socket.socket, make: MakeServer = GatewayServer) -> int:
    """Run one gateway in this process. Returns the exit status."""
    server = make_server(settings, make)
    server.run(sockets=[listener])
    return 0 if server.started else 1


def make_server(
    settings: Settings, make: MakeServer = GatewayServer, *, direct_frames: bool = True
) -> GatewayServer:
    """The HTTP server with the gateway's limits on sockets, to be run on sockets of `listen`.

    Without `direct_frames` calls go over plain ASGI, as on any other server.
    """
    tls = None
    if settings.app_tls_cert_file and settings.app_tls_key_file:
        tls = server_context(settings.app_tls_cert_file, settings.app_tls_key_file)
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # uvicorn would believe whoever connects from this machine
        http=cast(
            type[asyncio.Protocol],
            partial(
                HttpProtocol,
                connections=OpenConnections(settings.max_connections_per_address, settings.trusted_proxies),
            ),
        ),
        ws=cast(type[asyncio.Protocol], partial(CallProtocol, offers_frames=direct_frames)),
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,
        ws_ping_interval=PING_S,
        ws_ping_timeout=PING_S,
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S,
    )
    return make(config, app.state.lifecycle, lambda: app.state.calls.live, tls)


def main() -> int:
    """Load the settings and serve. Exit status 2 where the settings cannot be used."""
    try:
        settings = load_settings()
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - there is no log yet, and a person reads this
        return EXIT_BAD_SETTINGS
    return serve(settings)


if __name__ == "__main__":
    sys.exit(main())
