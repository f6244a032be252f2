"""`voice-live tickets`: keys for those who ask for tickets, and a ticket to call by hand."""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Final

import aiohttp

API_KEY_BYTES: Final = 32
TIMEOUT_S: Final = 10.0


class NoTicketError(Exception):
    """The gateway gave none; `str()` says why."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whom the ticket is for."""

    subject: str
    origin: str | None = None
    campaign: str | None = None


def new_key() -> str:
    """A random API key."""
    return secrets.token_urlsafe(API_KEY_BYTES)


def hash_of(key: str) -> str:
    """What TICKET_API_KEY_HASHES has of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


async def get_ticket(url: str, key: str, wanted: Wanted) -> str:
    """A ticket from the gateway at `url` (http or https). Raises NoTicketError."""
    body = {"subject": wanted.subject, "origin": wanted.origin, "campaign": wanted.campaign}
    headers = {"Authorization": f"Bearer {key}"}
    address = f"{url.rstrip('/')}/api/tickets"
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as http,
            http.post(address, json=body, headers=headers, allow_redirects=False) as answer,
        ):
            if answer.status == 404:
                raise NoTicketError("The gateway has no tickets: its CLIENT_AUTH is open.")
            content = await answer.json()
            if answer.status != 200:
                raise NoTicketError(f"HTTP {answer.status}: {content['error']['message']}")
            return str(content["ticket"])
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise NoTicketError(f"Nobody answers at {url} ({type(error).__name__}).") from None
    except (KeyError, TypeError):
        raise NoTicketError(f"What answers at {url} is no gateway.") from None
