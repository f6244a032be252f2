"""Which core a process of the soak runs on."""

import os
from typing import Final

GATEWAY_CORE: Final = 0
LOAD_CORE: Final = 1


def take_core(core: int) -> None:
    """Run on this core alone, where there are several: load and gateway take no time from each other."""
    available = sorted(os.sched_getaffinity(0))
    if len(available) > 1:
        os.sched_setaffinity(0, {available[core]})
