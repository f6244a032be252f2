"""The rules of admission. Pure: what a caller shows and what is live in, a refusal or None out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from app.admission import addresses, origins
from app.admission.addresses import Network
from app.admission.refusals import Refusal
from app.admission.store import Exceeded
from app.admission.tickets import TICKET_PREFIX, Grant, bearer_of, is_ticket
from app.errors import ErrorCode
from app.lifecycle import Phase
from app.messages import PROTOCOL

NOT_READY: Final = Refusal(ErrorCode.SERVER_DRAINING, "not ready")
FULL: Final = Refusal(ErrorCode.CAPACITY, "MAX_CALLS")
UNKNOWN_HOST: Final = Refusal(ErrorCode.BAD_REQUEST, "host")
FOREIGN_ORIGIN: Final = Refusal(ErrorCode.FORBIDDEN, "origin")
UNKNOWN_TOKEN: Final = Refusal(ErrorCode.UNAUTHORIZED, "resume token")
NO_TICKET: Final = Refusal(ErrorCode.UNAUTHORIZED, "no ticket")
UNKNOWN_TICKET: Final = Refusal(ErrorCode.UNAUTHORIZED, "ticket unknown, used or expired")
FOREIGN_TICKET: Final = Refusal(ErrorCode.FORBIDDEN, "ticket of another origin")
NO_ORIGIN: Final = Refusal(ErrorCode.FORBIDDEN, "no origin")
NO_STORE: Final = Refusal(ErrorCode.STORAGE_UNAVAILABLE, "store")

RESUME_PREFIX: Final = "resume."


@dataclass(frozen=True, slots=True)
class Handshake:
    """What a caller shows before the upgrade. Of each header, all that were sent."""

    address: str
    hosts: Sequence[str]
    origins: Sequence[str]
    own_origin: str | None
    authorizations: Sequence[str]
    subprotocols: Sequence[str]

    @property
    def resume_token(self) -> str | None:
        """The token with which a client wants to take up its lost call, offered as a subprotocol."""
        return next(iter(self._offered(RESUME_PREFIX)), None)

    @property
    def ticket(self) -> str | None:
        """The one ticket that is shown, in whichever way; None where there is none, or several."""
        shown = [*self.bearers, *self._offered(TICKET_PREFIX)]
        return shown[0] if len(shown) == 1 and is_ticket(shown[0]) else None

    @property
    def bearers(self) -> list[str]:
        """What is shown in `Authorization`; other schemes than Bearer are a proxy's business."""
        return [bearer for value in self.authorizations if (bearer := bearer_of(value)) is not None]

    @property
    def subprotocol(self) -> str | None:
        """Our subprotocol where the client offers it; a client that offers none is served without."""
        return PROTOCOL if PROTOCOL in self.subprotocols else None

    def _offered(self, prefix: str) -> list[str]:
        return [name.removeprefix(prefix) for name in self.subprotocols if name.startswith(prefix)]


def read_handshake(scope: Any, trusted_proxies: Sequence[Network]) -> Handshake:
    """The handshake in an ASGI scope."""
    peer = scope["client"][0] if scope.get("client") else ""
    hosts = _headers(scope, b"host")
    scheme = addresses.forwarded_scheme(
        peer, scope["scheme"], _headers(scope, b"x-forwarded-proto"), trusted_proxies
    )
    return Handshake(
        address=addresses.caller_address(peer, _headers(scope, b"x-forwarded-for"), trusted_proxies),
        hosts=hosts,
        origins=_headers(scope, b"origin"),
        own_origin=origins.own_origin(scheme, hosts[0]) if len(hosts) == 1 else None,
        authorizations=_headers(scope, b"authorization"),
        subprotocols=scope["subprotocols"],
    )


def _headers(scope: Any, name: bytes) -> list[str]:
    return [value.decode("latin-1") for header, value in scope["headers"] if header == name]


def refuse_stranger(
    handshake: Handshake, *, trusted_hosts: Sequence[str], allowed_origins: Sequence[str]
) -> Refusal | None:
    """Whether the request is not meant for us, or comes from a page that may not call.

    A client without `Origin` is no browser, so no page misuses its visitor.
    """
    if not origins.is_trusted_host(handshake.hosts, trusted_hosts):
        return UNKNOWN_HOST
    if handshake.origins and not origins.is_allowed_origin(
        handshake.origins, handshake.own_origin, allowed_origins
    ):
        return FOREIGN_ORIGIN
    return None


def refuse_without_ticket(handshake: Handshake) -> Refusal | None:
    """Whether no ticket is shown as it must be: by a page among the subprotocols, else in `Authorization`."""
    if handshake.ticket is None:
        return NO_TICKET
    if not handshake.origins and not handshake.bearers:
        return NO_ORIGIN
    return None


def permits(handshake: Handshake, grant: Grant) -> bool:
    """Whether the ticket was asked for this page.

    Of a client that sends no `Origin` this is not asked: it is no browser, and could send any.
    """
    return not handshake.origins or grant.origin == handshake.origins[0]


def refuse_by_count(exceeded: Exceeded, seconds_to_midnight: int) -> Refusal:
    """The limit of a subject or an address is reached; minutes are free again at midnight, UTC."""
    tomorrow = exceeded is Exceeded.SUBJECT_MINUTES
    return Refusal(ErrorCode.RATE_LIMITED, exceeded.value, seconds_to_midnight if tomorrow else None)


def refuse_by_load(
    phase: Phase, live_calls: int, max_calls: int, upstream_retry_after_s: float | None
) -> Refusal | None:
    """Whether this process takes no more calls now.

    `upstream_retry_after_s`: when Voice Live is worth another attempt; None: now.
    """
    if phase is not Phase.READY:
        return NOT_READY
    if live_calls >= max_calls:
        return FULL
    if upstream_retry_after_s is not None:
        return Refusal(ErrorCode.UPSTREAM_BUSY, "circuit open", math.ceil(upstream_retry_after_s))
    return None
