"""An operator with an API key: what its settings are, and how its system asks for tickets."""

import hashlib
from typing import Any

from tests.gateway import RunningGateway

API_KEY = "bank-api-key-canary"
SHOP = "https://shop.example.com"
SETTINGS: dict[str, object] = {
    "client_auth": "ticket",
    "allowed_origins": SHOP,
    "ticket_api_key_hashes": hashlib.sha256(API_KEY.encode()).hexdigest(),
}
VARIABLES = {name.upper(): str(value) for name, value in SETTINGS.items()}


async def ask(
    gateway: RunningGateway, body: object, credential: str | None = API_KEY, **headers: str
) -> tuple[int, dict[str, Any]]:
    """Status and body of the answer to `POST /api/tickets`."""
    if credential is not None:
        headers["Authorization"] = f"Bearer {credential}"
    url = f"{gateway.address}/api/tickets"
    async with gateway.http.post(url, json=body, headers=headers) as answer:
        return answer.status, await answer.json()


async def ticket(
    gateway: RunningGateway, subject: str = "alice", origin: str | None = SHOP, campaign: str = "spring"
) -> str:
    """A ticket for one call."""
    body = {"subject": subject, "origin": origin, "campaign": campaign}
    status, answer = await ask(gateway, body)
    assert status == 200, answer
    issued: str = answer["ticket"]
    return issued


def offering(*tickets: str) -> tuple[str, str]:
    """The header with which a page shows tickets."""
    return "Sec-WebSocket-Protocol", ", ".join(["voice-live.v1", *(f"ticket.{shown}" for shown in tickets)])


def bearing(shown: str) -> tuple[str, str]:
    """The header with which an app shows a ticket."""
    return "Authorization", f"Bearer {shown}"
