"""The entry point: the FastAPI application, and `python -m app.main`."""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Final

import structlog
import uvicorn
from fastapi import Depends, FastAPI, Request, Response, WebSocket
from fastapi.responses import JSONResponse
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware

from app import page
from app.admission import Refusal, decision
from app.admission.hosts import TrustedHosts
from app.calls import Calls
from app.config import Settings, SettingsError, load_settings
from app.lifecycle import Lifecycle, Phase
from app.messages import MAX_MESSAGE_BYTES, ErrorCode
from app.redaction import REDACTOR
from app.security_headers import SecurityHeaders, add_headers
from app.server import GatewayServer
from app.service import VoiceLiveSessionManager
from app.telemetry import configure_logs
from app.voicelive.credentials import Credentials
from app.voicelive.endpoint import VoiceLiveEndpoint
from app.websocket.listener import CallProtocol, listen

PING_S: Final = 10.0
"""A client that vanished is noticed within ping and pong time-outs together: 20 s."""

SHUTDOWN_TIMEOUT_S: Final = 5
MIN_COMPRESSED_BYTES: Final = 1024

EXIT_BAD_SETTINGS: Final = 2
EXIT_CANNOT_LISTEN: Final = 1

log = structlog.get_logger(__name__)


def create_app(settings: Settings) -> FastAPI:
    """The gateway for these settings."""
    REDACTOR.hide_settings(settings)
    lifecycle = Lifecycle(settings.drain_timeout_s)
    shows_docs = settings.app_env != "production"

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        log.info("gateway.starting", **settings.describe())
        for warning in settings.warnings():
            log.warning("settings.warning", message=warning)
        credentials = Credentials(settings)
        app.state.endpoint = VoiceLiveEndpoint(settings, credentials)
        async with asyncio.TaskGroup() as background:
            app.state.calls = calls = Calls[VoiceLiveSessionManager](background)
            keep_fresh = background.create_task(credentials.keep_fresh())
            # What start-up made stays for ever: a full collection need not look at it again.
            gc.collect()
            gc.freeze()
            lifecycle.become_ready()
            yield
            keep_fresh.cancel()
            calls.cancel()
        log.info("gateway.stopped")

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
    app.state.lifecycle = lifecycle

    @app.get("/health")
    def health() -> dict[str, str]:
        """The process lives."""
        return {"status": "healthy"}

    @app.get("/ready", responses={503: {"description": "starting or draining"}})
    def ready() -> JSONResponse:
        """New calls are welcome."""
        is_ready = lifecycle.phase is Phase.READY
        return JSONResponse({"status": lifecycle.phase.value}, status_code=200 if is_ready else 503)

    app.add_middleware(GZipMiddleware, minimum_size=MIN_COMPRESSED_BYTES)
    # The client's modules, and `/ready`, for pages of other origins that may call.
    app.add_middleware(CORSMiddleware, allow_origins=settings.allowed_origins)
    app.add_middleware(TrustedHosts, trusted=settings.trusted_hosts)
    app.add_middleware(SecurityHeaders)
    app.websocket("/ws/voice")(voice)
    app.include_router(page.router)
    app.mount("/static", page.PageFiles(), name="static")
    return app


async def internal_error(request: Request, error: Exception) -> Response:
    """The answer to a fault of ours, which is logged with its traceback. No middleware sees this answer."""
    del error
    refusal = Refusal(ErrorCode.INTERNAL)
    response = JSONResponse(refusal.body, status_code=refusal.status)
    add_headers(response.headers, request.scope)
    return response


def settings_of(websocket: WebSocket) -> Settings:
    """The settings that the application was made with."""
    settings: Settings = websocket.app.state.settings
    return settings


async def voice(websocket: WebSocket, settings: Annotated[Settings, Depends(settings_of)]) -> None:
    """One call: admit, accept, run."""
    lifecycle: Lifecycle = websocket.app.state.lifecycle
    calls: Calls[VoiceLiveSessionManager] = websocket.app.state.calls
    handshake = decision.read_handshake(websocket.scope, settings.trusted_proxies)
    refusal = decision.refuse_stranger(
        handshake, trusted_hosts=settings.trusted_hosts, allowed_origins=settings.allowed_origins
    )
    lost_call = None
    if refusal is None and handshake.resume_token is not None:
        lost_call = calls.claim(handshake.resume_token)
        refusal = None if lost_call is not None else decision.UNKNOWN_TOKEN
    elif refusal is None:
        refusal = decision.refuse_by_load(lifecycle.phase, lifecycle.live_calls, settings.max_calls)
    if refusal is not None:
        log.info("call.refused", code=refusal.code.value, reason=refusal.reason)
        await websocket.send_denial_response(
            JSONResponse(refusal.body, status_code=refusal.status, headers=refusal.headers)
        )
        return
    with lifecycle.call():
        await websocket.accept(handshake.subprotocol)
        if lost_call is not None:
            await lost_call.resume(websocket)
        else:
            await VoiceLiveSessionManager(websocket, settings).run()


def serve(settings: Settings) -> int:
    """Run the gateway until it is told to stop. Returns the exit status."""
    configure_logs(settings.log_level)
    try:
        listener = listen(settings.app_host, settings.app_port)
    except OSError as error:
        log.error("gateway.cannot_listen", reason=error.strerror, remedy="Set APP_HOST and APP_PORT.")  # noqa: TRY400
        return EXIT_CANNOT_LISTEN
    with listener:
        server = make_server(settings)
        server.run(sockets=[listener])
    return 0 if server.started else 1


def make_server(settings: Settings) -> GatewayServer:
    """The HTTP server with the gateway's limits on sockets, to be run on sockets of `listen`."""
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # uvicorn would believe whoever connects from this machine
        ws=CallProtocol,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,
        ws_ping_interval=PING_S,
        ws_ping_timeout=PING_S,
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S,
    )
    return GatewayServer(config, app.state.lifecycle, lambda: app.state.calls.live)


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
