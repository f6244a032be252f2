"""How soon the gateway and the emulator are ready, and what they hold idle: `make bench-start`."""

import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import psutil

from tests.processes import EmulatorProcess, GatewayProcess, emulator_process, gateway_process

RUNS = 5
MIB = 1024 * 1024


def measure(
    start: Callable[[], AbstractContextManager[GatewayProcess | EmulatorProcess]],
) -> tuple[float, float]:
    """Median seconds to ready, and MiB of resident memory then."""
    seconds, memory = [], []
    for _ in range(RUNS):
        begun = time.perf_counter()
        with start() as running:
            seconds.append(time.perf_counter() - begun)
            memory.append(psutil.Process(running.process.pid).memory_info().rss / MIB)
    return statistics.median(seconds), statistics.median(memory)


def main() -> None:
    """Print a table."""
    variables = {
        "AZURE_VOICELIVE_ENDPOINT": "http://127.0.0.1:1",
        "AZURE_VOICELIVE_MODEL": "gpt-4.1",
        "AZURE_VOICELIVE_API_KEY": "none",
        "AZURE_VOICELIVE_VOICE_TYPE": "azure-standard",
        "AZURE_VOICELIVE_VOICE_NAME": "en-US-AvaNeural",
    }
    load = psutil.getloadavg()[0]
    print(f"median of {RUNS} starts; load average before: {load:.1f}")  # noqa: T201
    for name, start in (("gateway", lambda: gateway_process(variables)), ("emulator", emulator_process)):
        seconds, mib = measure(start)
        print(f"{name:9} ready after {seconds:5.2f} s, {mib:4.0f} MiB resident")  # noqa: T201


if __name__ == "__main__":
    main()
