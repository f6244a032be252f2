"""Many more sequences of the conversation's property test than `make test` has time for: `make fuzz`."""

import sys

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.test_conversation import AdversarialCall


def main() -> None:
    """Run as many sequences as the first argument says; raises when a rule is broken."""
    sequences = int(sys.argv[1])
    run_state_machine_as_test(
        AdversarialCall,
        settings=settings(
            max_examples=sequences,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(f"{sequences} sequences, no rule broken")  # noqa: T201 - a command's result


if __name__ == "__main__":
    main()
