"""The HTTP server's process: its signals, its drain, its exit.

uvicorn by itself cuts every WebSocket at the first signal, before anybody can say goodbye.
"""

import asyncio
import signal
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Final, Protocol

import structlog
import uvicorn

from app.lifecycle import CloseCalls, Exit, Lifecycle, Phase, Step, WarnCalls

HANDSHAKE_TIMEOUT_S: Final = 5.0
"""For TLS, before anything of HTTP is read."""

log = structlog.get_logger(__name__)


class DrainableCall(Protocol):
    """What a drain asks of a call. None of these waits."""

    def warn_of_drain(self, ends_at: float) -> None:
        """The call will be closed at `ends_at`, in seconds of the event loop's clock."""

    def end_for_drain(self) -> bool:
        """End the call. False where it is over already."""


class GatewayServer(uvicorn.Server):
    """uvicorn with our drain.

    SIGTERM starts the drain: new calls are refused, live ones go on until they end or the drain's time is up.
    SIGINT, and every second signal, closes the live calls at once; one more does not wait for them.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        lifecycle: Lifecycle,
        live_calls: Callable[[], Sequence[DrainableCall]],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`live_calls` gives the calls that are live now, the oldest first."""
        super().__init__(config)
        self._lifecycle = lifecycle
        self._live_calls = live_calls
        self._tls = tls
        self._drain_logged = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called by uvicorn for SIGINT and SIGTERM; unlike uvicorn's own, the exit status stays 0."""
        del frame
        if sig == signal.SIGINT:
            self.end_now()
        else:
            self.drain()

    # Neither of these two may log: as signal handlers they may interrupt a log line.
    def drain(self) -> None:
        """Start the drain; asked a second time, end at once."""
        self._lifecycle.drain(time.monotonic())

    def end_now(self) -> None:
        """Close every call now, and end."""
        self._lifecycle.end_now(time.monotonic())

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Called by uvicorn: listen on these sockets, then say where."""
        # uvicorn's own servers would wait a minute for a TLS handshake.
        await super().startup([])
        for listener in sockets or []:
            self.servers.append(
                await asyncio.get_running_loop().create_server(
                    self._new_connection,
                    sock=listener,
                    backlog=self.config.backlog,
                    ssl=self._tls,
                    ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S if self._tls else None,
                )
            )
        self.announce(sockets or [])

    def announce(self, listeners: list[socket.socket]) -> None:
        """Say that calls can come now, and where."""
        for listener in listeners:
            host, port = listener.getsockname()[:2]
            log.info("gateway.ready", host=host, port=port, tls=self._tls is not None)

    def let_in(self) -> None:
        """Take calls, where that was held back."""
        self._lifecycle.let_in()

    def _new_connection(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]  # uvicorn calls it so, too
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    async def on_tick(self, counter: int) -> bool:
        """Called by uvicorn ten times a second; true ends the server."""
        if self._lifecycle.phase is Phase.DRAINING and not self._drain_logged:
            self._drain_logged = True
            log.info("gateway.draining", live_calls=self._lifecycle.live_calls)
        for step in self._lifecycle.tick(time.monotonic()):
            self._take(step)
        return await super().on_tick(counter)

    def _take(self, step: Step) -> None:
        match step:
            case WarnCalls(ends_at):
                for call in self._live_calls():
                    call.warn_of_drain(ends_at)
            case CloseCalls(at_most):
                closed = 0
                for call in self._live_calls():
                    if closed == at_most:
                        return
                    closed += call.end_for_drain()
            case Exit(forced):
                if forced:
                    log.warning("gateway.calls_abandoned", live_calls=self._lifecycle.live_calls)
                self.should_exit = True
                self.force_exit = self.force_exit or forced
