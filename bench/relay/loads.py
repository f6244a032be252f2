"""One load against one gateway and a fresh mock, and what the load generator says about it."""

import json
import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from bench.relay.gateways import Gateway
from bench.relay.processes import (
    BUILD,
    GATEWAY_CORE,
    LOAD_CORE,
    BenchError,
    family,
    free_port,
    on_core,
    running,
    wait_for_port,
)

START_TIMEOUT_S: Final = 30.0
SETTLE_S: Final = 0.7
LOAD_TIMEOUT_S: Final = 120


@dataclass(frozen=True, slots=True)
class Load:
    """What the load generator does, and for how long it is measured."""

    mode: str
    calls: int
    seconds: float
    warmup_s: float = 2.0
    drain_s: float = 1.5

    def arguments(self) -> list[str]:
        """The arguments of the load generator."""
        return [
            *("--mode", self.mode),
            *("--sessions", str(self.calls)),
            *("--warmup", str(self.warmup_s)),
            *("--duration", str(self.seconds)),
            *("--drain", str(self.drain_s)),
        ]


@dataclass(frozen=True, slots=True)
class Started:
    """A gateway that listens, and the mock behind it."""

    process: "subprocess.Popen[str]"
    port: int
    mock: "subprocess.Popen[str]"


@contextmanager
def started(
    gateway: Gateway, prefix: tuple[str, ...] = (), timeout_s: float = START_TIMEOUT_S
) -> Iterator[Started]:
    """The mock and the gateway, pinned. `prefix` goes before the gateway's command. Raises BenchError."""
    upstream, port = free_port(), free_port()
    mock_command = [f"{BUILD}/mock_upstream", "--port", str(upstream), *shlex.split(gateway.mock)]
    ports = {"port": str(port), "upstream": str(upstream)}
    command = [word.format(**ports) for word in shlex.split(gateway.command)]
    environment = {name: value.format(**ports) for name, value in gateway.environment.items()}
    with running(LOAD_CORE, mock_command) as mock:
        wait_for_port(upstream, mock, timeout_s)
        with running(GATEWAY_CORE, [*prefix, *command], environment) as process:
            wait_for_port(port, process, timeout_s)
            time.sleep(SETTLE_S)
            yield Started(process, port, mock)


def measure(gateway: Gateway, load: Load) -> Mapping[str, Any]:
    """The load generator's figures. Raises BenchError."""
    with started(gateway) as it:
        command = [
            *(f"{BUILD}/loadgen", "--port", str(it.port)),
            *("--pids", ",".join(map(str, family(it.process)))),
            *("--mock-pid", str(it.mock.pid)),
            *load.arguments(),
            *shlex.split(gateway.load),
        ]
        done = subprocess.run(  # noqa: S603
            on_core(LOAD_CORE, command), capture_output=True, text=True, timeout=LOAD_TIMEOUT_S, check=False
        )
        if it.process.poll() is not None:
            raise BenchError(f"ended with status {it.process.returncode} under load")
    figures: dict[str, Any] = json.loads(done.stdout or "{}")
    if "error" in figures or not figures:
        raise BenchError(figures.get("error") or done.stderr.strip() or "the load generator said nothing")
    return figures
