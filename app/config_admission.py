"""Who may call, checked as a whole; and what production does not start with: settings in, problems out."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from app.config_checks import Problem
from app.upstream_addresses import is_loopback

if TYPE_CHECKING:
    from app.config import Settings

MIN_SHARED_KEY_BYTES: Final = 32
"""RFC 7518, 3.2: as long as the hash of HS256."""

_TICKET_SETTINGS: Final = (
    "ticket_api_key_hashes",
    "ticket_jwt_key",
    "ticket_jwks_url",
    "ticket_jwt_audience",
    "ticket_jwt_issuer",
)


def find_admission_problems(settings: "Settings") -> Iterator[Problem]:
    """Everything that is missing, contradictory or unsafe in who may call."""
    if settings.client_auth == "ticket":
        yield from _ticket_problems(settings)
    yield from _bad_store_file(settings.admission_store_file)
    if settings.app_env == "production":
        yield from _unsafe_in_production(settings)


def admission_warnings(settings: "Settings") -> Iterator[str]:
    """What somebody should know who does not want it so."""
    if settings.client_auth == "open":
        if not is_loopback(settings.app_host):
            yield (
                f"CLIENT_AUTH=open on {settings.app_host}: WHOEVER REACHES THIS ADDRESS CAN CALL, "
                "AND EVERY CALL COSTS MONEY. Set CLIENT_AUTH=ticket, or APP_HOST=127.0.0.1 to be alone here."
            )
        unused = [name.upper() for name in _TICKET_SETTINGS if getattr(settings, name)]
        if unused:
            yield f"{', '.join(unused)} unused: CLIENT_AUTH is open."
    elif settings.ticket_jwt_key is not None and _is_short(settings):
        yield f"TICKET_JWT_KEY is shorter than {MIN_SHARED_KEY_BYTES} bytes, so it can be guessed."


def _ticket_problems(settings: "Settings") -> Iterator[Problem]:
    by_token = bool(settings.ticket_jwt_key or settings.ticket_jwks_url)
    if not by_token and not settings.ticket_api_key_hashes:
        yield Problem(
            "TICKET_API_KEY_HASHES",
            "is missing: with CLIENT_AUTH=ticket nobody could get a ticket.",
            "Set it (`voice-live tickets new-key` makes a key), or TICKET_JWT_KEY, or TICKET_JWKS_URL.",
        )
    if settings.ticket_jwt_key and settings.ticket_jwks_url:
        yield Problem(
            "TICKET_JWKS_URL",
            "contradicts TICKET_JWT_KEY: each says how tokens are signed.",
            "Keep only one of the two.",
        )
    for name in ("ticket_jwt_audience", "ticket_jwt_issuer"):
        if by_token and not getattr(settings, name):
            yield Problem(
                name.upper(),
                "is missing: any token of your sign-in service would do.",
                f"Set it to {type(settings).model_fields[name].description}.",
            )
    if settings.ticket_jwks_url and not _is_https_or_loopback(settings.ticket_jwks_url):
        yield Problem(
            "TICKET_JWKS_URL",
            "is not an https address.",
            "Set it to an address such as https://login.example.com/keys.",
        )


def _bad_store_file(file: Path | None) -> Iterator[Problem]:
    if file is not None and not (
        os.access(file.parent, os.W_OK)
        and not file.is_dir()
        and (not file.exists() or os.access(file, os.W_OK))
    ):
        yield Problem("ADMISSION_STORE_FILE", "cannot be written.", "Name a file in a folder that can be.")


def _unsafe_in_production(settings: "Settings") -> Iterator[Problem]:
    if settings.client_auth == "open":
        yield Problem(
            "CLIENT_AUTH",
            "is open, so that strangers could spend your money.",
            "Set it to ticket, or APP_ENV to development.",
        )
    if not settings.allowed_origins:
        yield Problem(
            "ALLOWED_ORIGINS", "is empty.", "Set it to the https origins of the pages from which people call."
        )
    elif any(_is_plain_http(origin) for origin in settings.allowed_origins):
        yield Problem("ALLOWED_ORIGINS", "names a page of plain http.", "Name https origins only.")
    if not settings.trusted_hosts or "*" in settings.trusted_hosts:
        yield Problem(
            "TRUSTED_HOSTS",
            "lets every host name pass.",
            "Set it to the names under which callers reach you.",
        )
    if settings.log_level == "DEBUG":
        yield Problem("LOG_LEVEL", "is DEBUG.", "Set it to INFO.")
    for name in ("azure_voicelive_endpoint", "azure_authority_host", "ticket_jwks_url"):
        if (getattr(settings, name) or "").lower().startswith("http://"):
            yield Problem(name.upper(), "is plain http.", "Set it to an https address.")
    if settings.ticket_jwt_key is not None and _is_short(settings):
        yield Problem(
            "TICKET_JWT_KEY",
            "is short enough to be guessed.",
            f"Set it to at least {MIN_SHARED_KEY_BYTES} random bytes.",
        )


def _is_short(settings: "Settings") -> bool:
    key = settings.ticket_jwt_key
    return key is not None and len(key.get_secret_value().encode()) < MIN_SHARED_KEY_BYTES


def _is_plain_http(origin: str) -> bool:
    return origin.startswith("http://") and not is_loopback(urlsplit(origin).hostname or "")


def _is_https_or_loopback(address: str) -> bool:
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or parts.username is not None:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
