"""Many more sequences of the conversation's property test than `make test` has time for: `make fuzz`."""

import sys

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.test_conversation import AdversarialCall

ROUND = 500
"""Each round begins anew from another seed, since what Hypothesis remembers of one grows without end."""


def main() -> None:
    """Run as many sequences as the first argument says; raises when a rule is broken."""
    wanted = int(sys.argv[1])
    for done in range(0, wanted, ROUND):
        run_state_machine_as_test(
            AdversarialCall,
            settings=settings(
                max_examples=min(ROUND, wanted - done),
                stateful_step_count=50,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        print(f"{min(done + ROUND, wanted)} sequences, no rule broken", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
