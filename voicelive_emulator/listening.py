"""The ports of the emulator. They are taken before the models load, so that a taken port is known at once.

Whoever connects meanwhile waits until the models are loaded.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from voicelive_emulator.settings import Settings


class CannotListen(Exception):  # noqa: N818 (says what is the case)
    """A port cannot be had; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """Listening sockets; `tls` is None where there is no TLS."""

    plain: socket.socket
    tls: socket.socket | None


@contextmanager
def listening(settings: Settings) -> Iterator[Listeners]:
    """Listen inside the block. Raises CannotListen."""
    with _listen(settings.host, settings.port, "--port") as plain:
        if settings.tls_port is None:
            yield Listeners(plain, None)
            return
        with _listen(settings.host, settings.tls_port, "--tls-port") as tls:
            yield Listeners(plain, tls)


def _listen(host: str, port: int, option: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        why = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise CannotListen(f"Cannot listen on {host}, port {port} ({option}): {why}.") from None
