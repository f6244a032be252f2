# ruff: noqa: T201 (its table is what it is for)
"""Coverage-guided fuzzing of what clients and Voice Live send, raw frames, and HTTP: part of `make fuzz`."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random

TARGETS = ("check_client_message", "check_upstream_event")
RUNS = int(os.environ.get("FUZZ_RUNS", "1000000"))
FRAMES = int(os.environ.get("FUZZ_FRAMES", "20000"))
HTTP_EXAMPLES = int(os.environ.get("FUZZ_HTTP", "1000"))
"""For each operation of the API that takes input."""
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


def http() -> tuple[int, str]:
    """Schemathesis against a gateway with tickets: how many requests, and what it says unless all went well.

    All its checks: no 5xx, no status, content type, header or body that the description does not have,
    nothing valid refused, nothing invalid taken, nobody served without a credential.
    """
    from tests.admission.bank import API_KEY, VARIABLES
    from tests.admission.test_toll_fraud import log_read_away
    from tests.processes import gateway_process

    variables = VARIABLES | {
        "AZURE_VOICELIVE_ENDPOINT": "http://127.0.0.1:1",
        "AZURE_VOICELIVE_MODEL": "gpt-4.1",
        "AZURE_VOICELIVE_API_KEY": "key",
        "AZURE_VOICELIVE_VOICE_TYPE": "azure-standard",
        "AZURE_VOICELIVE_VOICE_NAME": "en-US-AvaNeural",
    }
    with (
        gateway_process(variables) as gateway,
        log_read_away(gateway),
        tempfile.TemporaryDirectory() as folder,
    ):
        command = [
            *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{gateway.address}/openapi.json"),
            *("--header", f"Authorization: Bearer {API_KEY}", "--max-examples", str(HTTP_EXAMPLES)),
            *("--seed", "1", "--no-color"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    generated = re.search(r"([\d,]+) generated", done.stdout)
    requests = int(generated[1].replace(",", "")) if generated else 0
    return requests, "" if done.returncode == 0 else done.stdout[-4000:] + done.stderr[-2000:]


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
    began = time.monotonic()
    requests, found = http()
    took_s = time.monotonic() - began
    print(f"| HTTP | {requests:,} | {found or 'no 5xx, every answer as described'} | {took_s:.0f} |")
    return int(stall_s > MAX_STALL_S or bool(found))


if __name__ == "__main__":
    sys.exit(main())
