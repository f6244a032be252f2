"""Why a call is over. Every part of a call may end it; the first reason counts."""

from dataclasses import dataclass

from app.errors import ErrorCode


@dataclass(frozen=True, slots=True)
class CallEnd:
    """The reason. `code` None is the normal end."""

    code: ErrorCode | None
    caller_left: bool = False
    param: str | None = None
    retry_after_ms: int | None = None

    def __str__(self) -> str:
        return "caller_left" if self.caller_left else self.code.value if self.code else "ended"


class CallOverError(Exception):
    """A caller's socket is not served any more, because the call is over."""
