"""Every fault of the table, three times, each at a random moment of the call.

The seed is printed; `FAULT_SEED` repeats a run, `FAULT_RUNS` plays more of them (`make soak`: 20).
"""

import os
import random

import pytest

from tests.reliability.faults import FAULTS, Fault, run

SEED = int(os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(2**32))
RUNS = int(os.environ.get("FAULT_RUNS", "3"))


@pytest.mark.parametrize("fault", FAULTS, ids=str)
async def test_fault(fault: Fault) -> None:
    choice = random.Random(f"{SEED} {fault}")
    # Every phase before any phase twice.
    phases = [*choice.sample(fault.phases, len(fault.phases)), *choice.choices(fault.phases, k=RUNS)][:RUNS]
    for number, phase in enumerate(phases):
        print(f"FAULT_SEED={SEED} run {number}: {fault} while {phase.value}")  # noqa: T201
        await run(fault, phase, SEED + number)
