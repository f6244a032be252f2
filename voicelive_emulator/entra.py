"""Enough of Microsoft Entra for a service principal: a token for a client id and a secret.

Tokens are opaque and known only to this process. The request and its answers have the form of the
OAuth 2.0 client credentials flow of the v2.0 endpoint; errors carry an AADSTS number, as
`azure-identity` shows them.
"""

import hmac
import secrets
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_MOST_TOKENS: Final = 10_000


@dataclass(slots=True)
class TokenIssuer:
    """Mints tokens and knows them again. `clock` gives seconds that only go forward."""

    clock: Callable[[], float]
    lifetime_s: int
    client_secret: str | None = None
    """The only secret to accept; None for any that is not empty."""
    _expiries: dict[str, float] = field(default_factory=dict)

    def is_valid(self, token: str) -> bool:
        """Return whether the token was minted here and is still alive."""
        return self._expiries.get(token, 0.0) > self.clock()

    def answer(self, form: Mapping[str, str], lifetime_s: int | None = None) -> tuple[int, dict[str, Any]]:
        """Return HTTP status and JSON body for the form of a token request.

        `lifetime_s` is for this token only.
        """
        lifetime_s = self.lifetime_s if lifetime_s is None else lifetime_s
        if form.get("grant_type") != "client_credentials":
            return _failure(
                400, "unsupported_grant_type", 70003, "Only client_credentials is available here."
            )
        for name in ("client_id", "scope"):
            if not form.get(name):
                return _failure(400, "invalid_request", 900144, f"The request must contain: '{name}'.")
        secret = form.get("client_secret", "")
        if not secret or not self._is_secret(secret):
            return _failure(401, "invalid_client", 7000215, "Invalid client secret provided.")
        return 200, {
            "token_type": "Bearer",
            "expires_in": lifetime_s,
            "ext_expires_in": lifetime_s,
            "access_token": self._mint(lifetime_s),
        }

    def _is_secret(self, secret: str) -> bool:
        return self.client_secret is None or hmac.compare_digest(secret.encode(), self.client_secret.encode())

    def _mint(self, lifetime_s: int) -> str:
        now = self.clock()
        self._expiries = {token: expiry for token, expiry in self._expiries.items() if expiry > now}
        while len(self._expiries) >= _MOST_TOKENS:
            del self._expiries[next(iter(self._expiries))]
        token = secrets.token_urlsafe(48)
        self._expiries[token] = now + lifetime_s
        return token


def _failure(status: int, error: str, number: int, message: str) -> tuple[int, dict[str, Any]]:
    trace_id = str(uuid.uuid4())
    return status, {
        "error": error,
        "error_description": f"AADSTS{number}: {message} Trace ID: {trace_id}",
        "error_codes": [number],
        "trace_id": trace_id,
        "correlation_id": str(uuid.uuid4()),
    }
