# ruff: noqa: T201 (its table is what it is for)
"""Coverage-guided fuzzing of what clients and Voice Live send, and raw frames: part of `make fuzz`."""

import json
import os
import subprocess
import sys
import time
from random import Random

TARGETS = ("check_client_message", "check_upstream_event")
RUNS = int(os.environ.get("FUZZ_RUNS", "1000000"))
FRAMES = int(os.environ.get("FUZZ_FRAMES", "20000"))
MAX_STALL_S = 0.1
SEEDS = (
    {"type": "audio", "audio": "AAAA"},
    {"type": "playback", "response_id": "resp_1", "played_ms": 20},
    {"type": "text", "text": "hello"},
    {"type": "response.created", "response": {"id": "resp_1"}},
    {"type": "response.audio.delta", "response_id": "resp_1", "item_id": "item_1", "delta": "AAAA"},
    {"type": "response.done", "response": {"id": "resp_1", "status": "completed", "output": []}},
    {"type": "error", "error": {"code": "x"}},
)


def fuzz(target: str) -> None:
    """Run one target under Atheris, which ends the process."""
    import atheris

    with atheris.instrument_imports(include=["app"]):
        from tests.reliability import fuzz_targets
    check = getattr(fuzz_targets, target)
    chance = Random(1)
    for seed in SEEDS:
        check(json.dumps(seed).encode())

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        if not data or seed % 4 == 0:
            data = json.dumps(chance.choice(SEEDS)).encode()
        return atheris.Mutate(data, max_size)  # type: ignore[no-any-return]

    options = [sys.argv[0], f"-runs={RUNS}", "-max_len=2048", "-verbosity=0", "-timeout=5"]
    atheris.Setup(options, check, custom_mutator=mutate)
    atheris.Fuzz()


def frames() -> float:
    """Raw frames by Hypothesis's strategies, mutated; the longest stall of the gateway, in seconds."""
    from app.telemetry import configure_logs
    from tests.reliability.fuzz_targets import check_frames, frame, gateway_in_thread

    configure_logs("CRITICAL")
    chance = Random(1)
    with gateway_in_thread() as gateway:
        for _number in range(FRAMES // 10):
            made = b"".join(
                frame(chance.choice((0, 1, 1, 2, 8, 9, 10, 15)), json.dumps(chance.choice(SEEDS)).encode())
                for _frame in range(10)
            )
            data = bytearray(made)
            for _mutation in range(chance.randrange(4)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            check_frames(gateway, bytes(data), quiet_s=0.02)
        return gateway.longest_stall_s


def main() -> int:
    """All targets in turn; the exit status."""
    if len(sys.argv) == 2:
        fuzz(sys.argv[1])
    print("| | runs | result | seconds |\n|---|---|---|---|")
    for target in TARGETS:
        began = time.monotonic()
        command = [sys.executable, "-m", "tests.reliability.fuzz", target]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
        result = "nothing found" if done.returncode == 0 else done.stderr[-2000:]
        print(f"| `{target}` | {RUNS:,} | {result} | {time.monotonic() - began:.0f} |", flush=True)
        if done.returncode:
            return 1
    began = time.monotonic()
    stall_s = frames()
    verdict = f"no crash, no 1011, longest stall {1000 * stall_s:.0f} ms"
    print(f"| raw frames | {FRAMES:,} | {verdict} | {time.monotonic() - began:.0f} |")
    return int(stall_s > MAX_STALL_S)


if __name__ == "__main__":
    sys.exit(main())
