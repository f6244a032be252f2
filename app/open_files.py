"""How many calls the process's limit of open files allows: each call holds two sockets.

Who runs out of files can neither accept a caller nor answer a probe, so calls are refused before that.
"""

import sys
from typing import Final

FILES_PER_CALL: Final = 2
SHARE_FOR_CALLS: Final = 0.8
KEPT: Final = 32
"""For the listener, the store, probes, tickets, the page, name resolution."""


def raise_limit() -> None:
    """Allow this process, and those that it starts, as many files as its user may give it."""
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def limit() -> int | None:
    """How many files may be open at once; None for no limit."""
    if sys.platform == "win32":
        return None
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def calls_that_fit(files: int | None, wanted: int) -> int:
    """At most `wanted` calls, fewer where so many files are not enough for them; always one."""
    if files is None:
        return wanted
    return min(wanted, max(1, (int(files * SHARE_FOR_CALLS) - KEPT) // FILES_PER_CALL))
