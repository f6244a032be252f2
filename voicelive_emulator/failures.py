"""How a fault of our own appears in the log."""

import traceback


def described(error: Exception) -> dict[str, str]:
    """Return what the error is and where it came up.

    The message of an exception may hold what was said in a call, so it stays out.
    """
    innermost = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
    frames = traceback.extract_tb(innermost.__traceback__)
    where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return {"error": type(innermost).__name__, "where": where}
