"""The catalogue of errors: every `code` of the contract, what it means to a person, and how it is told.

The one source for the gateway, the page and the documentation.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


class ErrorCode(enum.StrEnum):
    """Every `code` of the contract that the gateway sends."""

    INTERNAL = "internal"
    SERVER_DRAINING = "server_draining"
    CAPACITY = "capacity"
    UPSTREAM_BUSY = "upstream_busy"
    UPSTREAM_LOST = "upstream_lost"
    UPSTREAM_PROTOCOL = "upstream_protocol"
    BAD_REQUEST = "bad_request"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    AGENT_SILENT = "agent_silent"
    IDLE_TIMEOUT = "idle_timeout"
    SLOW_CONSUMER = "slow_consumer"
    SESSION_EXPIRED = "session_expired"
    RATE_LIMITED = "rate_limited"
    UPSTREAM_AUTH = "upstream_auth"
    UPSTREAM_CONFIG = "upstream_config"
    AUTH_UNAVAILABLE = "auth_unavailable"
    STORAGE_UNAVAILABLE = "storage_unavailable"


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """What one error code means: the sentence for a person, the ways it is told, and whether to retry."""

    message: str
    close_code: int
    http_status: int | None
    retryable: bool
    retry_after_ms: int | None = None


CATALOGUE: Final[Mapping[ErrorCode, CatalogueEntry]] = {
    ErrorCode.INTERNAL: CatalogueEntry(
        "Something went wrong on our side. Please call again.", 1011, 500, retryable=True, retry_after_ms=1000
    ),
    ErrorCode.SERVER_DRAINING: CatalogueEntry(
        "The service is restarting. Please call again in a moment.",
        1012,
        503,
        retryable=True,
        retry_after_ms=1000,
    ),
    ErrorCode.CAPACITY: CatalogueEntry(
        "All lines are busy. Please try again shortly.", 1013, 503, retryable=True, retry_after_ms=5000
    ),
    ErrorCode.UPSTREAM_BUSY: CatalogueEntry(
        "The voice service is busy. Please try again shortly.", 1013, 503, retryable=True, retry_after_ms=5000
    ),
    ErrorCode.UPSTREAM_LOST: CatalogueEntry(
        "The connection to the voice service was lost. Please call again.",
        1014,
        502,
        retryable=True,
        retry_after_ms=1000,
    ),
    ErrorCode.UPSTREAM_PROTOCOL: CatalogueEntry(
        "The voice service sent something we do not understand. Please call again.",
        1014,
        502,
        retryable=True,
        retry_after_ms=1000,
    ),
    ErrorCode.BAD_REQUEST: CatalogueEntry(
        "This message could not be understood.", 4400, 400, retryable=False
    ),
    ErrorCode.UNAUTHORIZED: CatalogueEntry(
        "The permission for this call is missing, used or has expired.", 4401, 401, retryable=False
    ),
    ErrorCode.FORBIDDEN: CatalogueEntry("Calls are not allowed from here.", 4403, 403, retryable=False),
    ErrorCode.AGENT_SILENT: CatalogueEntry(
        "The agent did not answer. Please say it again.", 1014, None, retryable=True
    ),
    ErrorCode.IDLE_TIMEOUT: CatalogueEntry(
        "Nobody has spoken for a while, so the call was ended.", 4408, None, retryable=True
    ),
    ErrorCode.SLOW_CONSUMER: CatalogueEntry(
        "Your connection is too slow for a voice call.", 4408, None, retryable=True
    ),
    ErrorCode.SESSION_EXPIRED: CatalogueEntry(
        "The call has reached its maximum length.", 4410, None, retryable=True
    ),
    ErrorCode.RATE_LIMITED: CatalogueEntry(
        "Too much at once. Please wait a moment, then try again.",
        4429,
        429,
        retryable=True,
        retry_after_ms=5000,
    ),
    ErrorCode.UPSTREAM_AUTH: CatalogueEntry(
        "The voice service refused our credentials. The operator has to mend this.",
        4502,
        502,
        retryable=False,
    ),
    ErrorCode.UPSTREAM_CONFIG: CatalogueEntry(
        "The voice service refused our configuration. The operator has to mend this.",
        4502,
        502,
        retryable=False,
    ),
    ErrorCode.AUTH_UNAVAILABLE: CatalogueEntry(
        "Our sign-in service is not reachable. Please try again shortly.",
        4503,
        503,
        retryable=True,
        retry_after_ms=5000,
    ),
    ErrorCode.STORAGE_UNAVAILABLE: CatalogueEntry(
        "Our records are not reachable. Please try again shortly.",
        4503,
        503,
        retryable=True,
        retry_after_ms=5000,
    ),
}
