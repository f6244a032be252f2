"""May this caller start a call? Decided before the WebSocket is accepted, without contact to anything."""

from dataclasses import dataclass
from typing import Final

from app.lifecycle import Lifecycle, Phase
from app.messages import CATALOGUE, PROTOCOL, ErrorCode


@dataclass(frozen=True, slots=True)
class Refusal:
    """A plain HTTP answer instead of the upgrade."""

    code: ErrorCode

    @property
    def status(self) -> int:
        """The HTTP status."""
        return CATALOGUE[self.code].http_status or 503

    @property
    def body(self) -> dict[str, dict[str, str]]:
        """The JSON body."""
        return {"error": {"code": self.code.value, "message": CATALOGUE[self.code].message}}

    @property
    def headers(self) -> dict[str, str]:
        """`Retry-After` in whole seconds, where trying again helps."""
        retry_after_ms = CATALOGUE[self.code].retry_after_ms
        return {"Retry-After": str(max(1, retry_after_ms // 1000))} if retry_after_ms else {}


NOT_READY: Final = Refusal(ErrorCode.SERVER_DRAINING)
FULL: Final = Refusal(ErrorCode.CAPACITY)
UNKNOWN_TOKEN: Final = Refusal(ErrorCode.UNAUTHORIZED)

RESUME_PREFIX: Final = "resume."


def decide(lifecycle: Lifecycle, max_calls: int) -> Refusal | None:
    """The reason to refuse, or None for a caller who may start."""
    if lifecycle.phase is not Phase.READY:
        return NOT_READY
    if lifecycle.live_calls >= max_calls:
        return FULL
    return None


def resume_token(offered: list[str]) -> str | None:
    """The token with which a client wants to take up its lost call, offered as a subprotocol."""
    for subprotocol in offered:
        if subprotocol.startswith(RESUME_PREFIX):
            return subprotocol.removeprefix(RESUME_PREFIX)
    return None


def choose_subprotocol(offered: list[str]) -> str | None:
    """Our subprotocol where the client offers it; a client that offers none is served without."""
    return PROTOCOL if PROTOCOL in offered else None
