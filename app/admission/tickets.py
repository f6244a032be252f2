"""Tickets: permission for one call, bound to who asked for it, the page that calls and a campaign. Pure."""

import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Final

TICKET_BYTES: Final = 32
TICKET_PREFIX: Final = "ticket."
"""A browser can put a ticket nowhere but among the subprotocols that it offers."""

_TICKET: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_BEARER: Final = re.compile(r"[Bb]earer +([^ ]+)")


@dataclass(frozen=True, slots=True)
class Grant:
    """What a ticket permits: one call by `subject` from pages of `origin` (None: from no page at all)."""

    subject: str
    origin: str | None = None
    campaign: str | None = None


def new_ticket() -> str:
    """256 random bits in base64url: 43 characters, which a subprotocol's name may have."""
    return secrets.token_urlsafe(TICKET_BYTES)


def is_ticket(text: str) -> bool:
    """Whether this has the form of a ticket."""
    return _TICKET.fullmatch(text) is not None


def hash_ticket(ticket: str) -> bytes:
    """All that is kept of a ticket."""
    return hashlib.sha256(ticket.encode()).digest()


def bearer_of(authorization: str) -> str | None:
    """The credential in an `Authorization: Bearer …` header; None for another scheme."""
    match = _BEARER.fullmatch(authorization.strip())
    return match[1] if match else None
