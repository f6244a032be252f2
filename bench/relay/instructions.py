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
from pathlib import Path
from typing import Final

from bench.relay.gateways import Gateway
from bench.relay.loads import Load, Started, started
from bench.relay.processes import BUILD, LOAD_CORE, BenchError, running

FRAME_BYTES: Final = 960
START_TIMEOUT_S: Final = 240.0
OPEN_TIMEOUT_S: Final = 180.0
STEADY_S: Final = 3.0
COUNTED_S: Final = 6.0
LONGEST_S: Final = 60.0


def instructions_per_frame(gateway: Gateway, keep: Path | None = None) -> float:
    """Instructions for each frame that reached the mock. `keep`: where the profile is to stay.

    Raises BenchError.
    """
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
                frames = _count(it)
                if generator.poll() is not None:
                    raise BenchError("the load ended early")
            _control(it, "--dump")
        return _total(profile) / frames


def _wait_until_steady(it: Started) -> None:
    """The generator sends once every call is open."""
    deadline = time.monotonic() + OPEN_TIMEOUT_S
    while not _frames(it):
        if time.monotonic() > deadline:
            raise BenchError("no frame reached the mock")
        time.sleep(1)
    time.sleep(STEADY_S)


def _count(it: Started) -> float:
    before = _frames(it)
    _control(it, "--instr=on")
    time.sleep(COUNTED_S)
    _control(it, "--instr=off")
    frames = _frames(it) - before
    if frames <= 0:
        raise BenchError("no frame reached the mock")
    return frames


def _frames(it: Started) -> float:
    """How many frames have reached the mock."""
    it.mock.send_signal(signal.SIGUSR1)
    assert it.mock.stdout is not None  # noqa: S101 (opened by `running`)
    totals = json.loads(it.mock.stdout.readline())
    return float(totals["pcm_bytes"] / FRAME_BYTES)


def _control(it: Started, command: str) -> None:
    subprocess.run(  # noqa: S603
        ["callgrind_control", command, str(it.process.pid)],  # noqa: S607
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
