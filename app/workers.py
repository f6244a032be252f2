"""WORKERS > 1: the processes behind `app.fleet`, on one listening socket.

The first process holds the socket and supervises; each worker is a whole gateway of its own. A worker obeys
its supervisor alone: a signal to the whole process group, as a terminal or a service manager sends it,
reaches the supervisor too and would otherwise count twice. A worker whose supervisor is gone ends its calls
and exits.
"""

import asyncio
import contextlib
import multiprocessing
import signal
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType
from typing import Final, Protocol

import structlog
import uvicorn

from app.config import Settings
from app.fleet import Finish, Fleet, Kill, Opened, Start, Step, Tell, Word
from app.lifecycle import Lifecycle
from app.server import DrainableCall, GatewayServer
from app.telemetry import configure_logs

READY: Final = b"ready"
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

log = structlog.get_logger(__name__)


def run_workers(settings: Settings, listener: socket.socket, work: "Worker") -> int:
    """Run WORKERS processes on this socket until they are told to stop; the exit status.

    `work` is what runs in each of them.
    """
    with contextlib.ExitStack() as stack:
        if settings.admission_store_file is None:
            # What all of them must know together is in a file that ends with them.
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="voice-live-"))
            settings = settings.model_copy(update={"admission_store_file": Path(folder) / "admission.sqlite"})
        signals = stack.enter_context(_signals())
        supervisor = _Supervisor(settings, listener, work, signals)
        return supervisor.run()


class _Supervisor:
    def __init__(
        self, settings: Settings, listener: socket.socket, work: "Worker", signals: socket.socket
    ) -> None:
        self._settings = settings
        self._listener = listener
        self._work = work
        self._signals = signals
        self._fleet = Fleet(settings.workers, settings.drain_timeout_s)
        self._processes: dict[int, SpawnProcess] = {}
        self._connections: dict[int, Connection] = {}
        self._spawn = multiprocessing.get_context("spawn")
        self._status: int | None = None

    def run(self) -> int:
        try:
            self._take(self._fleet.begin(time.monotonic()))
            while self._status is None:
                self._wait()
                self._take(self._fleet.tick(time.monotonic()))
            return self._status
        finally:
            for process in self._processes.values():
                process.kill()
                process.join()

    def _wait(self) -> None:
        """Until something has happened or is due."""
        due_at = self._fleet.next_wake_at()
        timeout_s = None if due_at is None else max(0.0, due_at - time.monotonic())
        sources = [*(process.sentinel for process in self._processes.values())]
        happened = wait([self._signals, *self._connections.values(), *sources], timeout_s)
        for number, connection in list(self._connections.items()):
            if connection in happened:
                self._hear(number, connection)
        for number, process in list(self._processes.items()):
            if process.sentinel in happened:
                self._bury(number, process)
        if self._signals in happened:
            for number in self._signals.recv(64):
                now = time.monotonic()
                told = self._fleet.end(now) if number == signal.SIGINT else self._fleet.drain(now)
                log.info("gateway.draining" if number == signal.SIGTERM else "gateway.ending")
                self._take(told)

    def _hear(self, number: int, connection: Connection) -> None:
        try:
            word = connection.recv_bytes()
        except (EOFError, OSError):
            del self._connections[number]
            connection.close()
            return
        if word == READY:
            self._take(self._fleet.ready(number, time.monotonic()))

    def _bury(self, number: int, process: SpawnProcess) -> None:
        process.join()
        del self._processes[number]
        if (connection := self._connections.pop(number, None)) is not None:
            connection.close()
        status = process.exitcode or 0
        if status:
            log.error("worker.died", worker=number, status=status)
        self._take(self._fleet.exited(number, status, time.monotonic()))

    def _take(self, steps: list[Step]) -> None:
        for step in steps:
            match step:
                case Start(number):
                    self._start(number)
                case Tell(number, word):
                    with contextlib.suppress(OSError):  # it is gone, which its sentinel tells
                        self._connections[number].send_bytes(word.value)
                case Kill(number):
                    log.error("worker.killed", worker=number)
                    self._processes[number].kill()
                case Opened():
                    host, port = self._listener.getsockname()[:2]
                    tls = self._settings.app_tls_cert_file is not None
                    log.info("gateway.ready", host=host, port=port, tls=tls, workers=self._settings.workers)
                case Finish(status):
                    self._status = status

    def _start(self, number: int) -> None:
        ours, theirs = self._spawn.Pipe()
        process = self._spawn.Process(
            target=_run_worker,
            args=(number, self._settings, self._listener, theirs, self._work),
            name=f"worker {number}",
        )
        process.start()
        theirs.close()
        self._processes[number] = process
        self._connections[number] = ours


@contextlib.contextmanager
def _signals() -> Iterator[socket.socket]:
    """A socket on which the numbers of the signals arrive that tell a gateway to stop."""
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    before = {number: signal.signal(number, _ignore) for number in SIGNALS}
    wakeup_before = signal.set_wakeup_fd(sender.fileno())
    try:
        yield receiver
    finally:
        signal.set_wakeup_fd(wakeup_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        receiver.close()
        sender.close()


def _ignore(number: int, frame: FrameType | None) -> None:
    del number, frame


# ------------------------------------------------------------------------------------------- in the worker


class WorkerServer(GatewayServer):
    """The server of one worker: its supervisor says when it opens, drains and ends."""

    def __init__(
        self,
        connection: Connection,
        config: uvicorn.Config,
        lifecycle: Lifecycle,
        live_calls: Callable[[], Sequence[DrainableCall]],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(config, lifecycle, live_calls, tls)
        self._connection = connection
        lifecycle.hold_back()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called by uvicorn for a signal, which the supervisor has had too."""
        del sig, frame

    def announce(self, listeners: list[socket.socket]) -> None:
        """Tell the supervisor that calls can come, and listen to it from now on."""
        del listeners
        asyncio.get_running_loop().add_reader(self._connection.fileno(), self._obey)
        self._connection.send_bytes(READY)

    def _obey(self) -> None:
        try:
            word = Word(self._connection.recv_bytes())
        except (EOFError, OSError):
            asyncio.get_running_loop().remove_reader(self._connection.fileno())
            word = Word.END  # the supervisor is gone
        match word:
            case Word.OPEN:
                self.let_in()
            case Word.DRAIN:
                self.drain()
            case Word.END:
                self.end_now()


class MakeServer(Protocol):
    """Makes a GatewayServer, or one that behaves otherwise towards signals."""

    def __call__(
        self,
        config: uvicorn.Config,
        lifecycle: Lifecycle,
        live_calls: Callable[[], Sequence[DrainableCall]],
        tls: ssl.SSLContext | None = None,
    ) -> GatewayServer:
        """The arguments are those of GatewayServer."""


Worker = Callable[[Settings, socket.socket, MakeServer], int]
"""Runs one gateway on this socket with this kind of server; the exit status. A function of a module."""


def _run_worker(
    number: int, settings: Settings, listener: socket.socket, connection: Connection, work: Worker
) -> None:
    # Until the server has its own handlers: what the process group is told is for the supervisor.
    for each in SIGNALS:
        signal.signal(each, _ignore)
    structlog.contextvars.bind_contextvars(worker=number)
    configure_logs(settings.log_level)

    sys.exit(work(settings, listener, partial(WorkerServer, connection)))
