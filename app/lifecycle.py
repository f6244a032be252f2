"""The life of the process: starting, ready, draining; and the calls that are live in it."""

import enum
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import structlog
import uvicorn

log = structlog.get_logger(__name__)


class Phase(enum.Enum):
    """Where the process is in its life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


class Lifecycle:
    """The phase and the number of live calls."""

    def __init__(self) -> None:
        self.phase = Phase.STARTING
        self.live_calls = 0

    @property
    def is_draining(self) -> bool:
        """Whether the process is about to end: no new calls, and live ones are told to end."""
        return self.phase is Phase.DRAINING

    @contextmanager
    def call(self) -> Iterator[None]:
        """Count one live call."""
        self.live_calls += 1
        try:
            yield
        finally:
            self.live_calls -= 1


class GatewayServer(uvicorn.Server):
    """uvicorn, whose own exit cuts every WebSocket before anybody can say goodbye.

    The first signal starts the drain; the server exits when no call is live. A second signal exits at once.
    """

    def __init__(self, config: uvicorn.Config, lifecycle: Lifecycle) -> None:
        super().__init__(config)
        self._lifecycle = lifecycle

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called by uvicorn for SIGINT and SIGTERM; unlike uvicorn's own, the exit status stays 0."""
        del sig, frame
        if self._lifecycle.is_draining:
            self.should_exit = self.force_exit = True
        self._lifecycle.phase = Phase.DRAINING

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Called by uvicorn: bind, then say where."""
        await super().startup(sockets)
        if self.started:
            for listener in sockets or []:
                host, port = listener.getsockname()[:2]
                log.info("gateway.ready", host=host, port=port)

    async def on_tick(self, counter: int) -> bool:
        """Called by uvicorn ten times a second; true ends the server."""
        if self._lifecycle.is_draining and not self._lifecycle.live_calls:
            self.should_exit = True
        return await super().on_tick(counter)
