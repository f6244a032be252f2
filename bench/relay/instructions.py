"""User-mode instructions of a gateway for each 20 ms frame, counted by valgrind's callgrind.

They repeat within some 3 % on a machine whose cores are shared, where seconds do not. The gateway runs under
callgrind with counting off; when the load is steady, counting is on for some seconds. The figure covers a
frame up, its tenth of an audio delta and a transcript delta down, and all that the gateway does beside them.
The kernel's share is not in it.
"""

import json
import re
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.relay.gateways import Gateway
from bench.relay.loads import Load, Started, started
from bench.relay.processes import BUILD, LOAD_CORE, BenchError, running

FRAME_BYTES: Final = 960
FRAMES_PER_S: Final = 50
START_TIMEOUT_S: Final = 240.0
OPEN_TIMEOUT_S: Final = 180.0
STEADY_S: Final = 3.0
COUNTED_S: Final = 6.0
LONGEST_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Count:
    """Instructions for each frame that reached the mock.

    `pace` is the share of the sent frames that did while counting: well below 1 the gateway could not follow
    under callgrind, and what came in a row was cheaper or dearer than at its usual pace.
    """

    per_frame: float
    pace: float


def count_instructions(gateway: Gateway, keep: Path | None = None) -> Count:
    """Count for some seconds. `keep`: where the profile is to stay. Raises BenchError."""
    with tempfile.TemporaryDirectory() as folder:
        profile = keep or Path(folder) / "callgrind.out"
        prefix = ("valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={profile}")
        with started(gateway, prefix, START_TIMEOUT_S) as it:
            load = Load("paced", gateway.counted_calls, LONGEST_S, warmup_s=1)
            command = [
                *(f"{BUILD}/loadgen", "--port", str(it.port), "--open-timeout", str(OPEN_TIMEOUT_S)),
                *load.arguments(),
                *gateway.load.split(),
            ]
            with running(LOAD_CORE, command) as generator:
                _wait_until_steady(it)
                frames, seconds = _count(it)
                if generator.poll() is not None:
                    raise BenchError("the load ended early")
            _tell(it, "dump")
        sent = seconds * FRAMES_PER_S * gateway.counted_calls
        return Count(_total(profile) / frames, frames / sent)


def _wait_until_steady(it: Started) -> None:
    """The generator sends once every call is open."""
    deadline = time.monotonic() + OPEN_TIMEOUT_S
    while not _frames(it):
        if time.monotonic() > deadline:
            raise BenchError("no frame reached the mock")
        time.sleep(1)
    time.sleep(STEADY_S)


def _count(it: Started) -> tuple[float, float]:
    """How many frames reached the mock while counting, and for how many seconds that was."""
    _tell(it, "instrumentation", "on")
    before, begun = _frames(it), time.monotonic()
    time.sleep(COUNTED_S)
    frames, seconds = _frames(it) - before, time.monotonic() - begun
    _tell(it, "instrumentation", "off")
    if frames <= 0:
        raise BenchError("no frame reached the mock")
    return frames, seconds


def _frames(it: Started) -> float:
    """How many frames have reached the mock."""
    it.mock.send_signal(signal.SIGUSR1)
    assert it.mock.stdout is not None  # noqa: S101 (opened by `running`)
    totals = json.loads(it.mock.stdout.readline())
    return float(totals["pcm_bytes"] / FRAME_BYTES)


def _tell(it: Started, *command: str) -> None:
    """A monitor command for callgrind. It has taken effect on return."""
    subprocess.run(  # noqa: S603
        ["vgdb", f"--pid={it.process.pid}", *command],  # noqa: S607
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=START_TIMEOUT_S,
        check=True,
    )


def _total(profile: Path) -> int:
    """The instructions of the largest dump."""
    totals = [
        int(found[1])
        for dump in profile.parent.glob(f"{profile.name}*")
        for found in re.finditer(r"^totals: (\d+)", dump.read_text(errors="replace"), re.MULTILINE)
    ]
    if not totals:
        raise BenchError("callgrind wrote no profile")
    return max(totals)
