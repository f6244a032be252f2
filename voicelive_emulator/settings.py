"""What can be set when the emulator starts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

LONGEST_SESSION_S: Final = 3_600
"""Voice Live ends a session after an hour."""
TOKEN_LIFETIME_S: Final = 3_599
"""What Entra gives by default."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of `python -m voicelive_emulator`. Port 0 lets the system choose."""

    host: str = "127.0.0.1"
    port: int = 8765
    tls_port: int | None = None
    """None: no TLS."""
    certificate_file: Path | None = None
    """Where to write the certificate that clients must trust; None: a temporary file."""
    api_key: str | None = None
    """The only key to accept; None: any that is not empty."""
    client_secret: str | None = None
    """The only secret of a service principal to accept; None: any that is not empty."""
    token_lifetime_s: int = TOKEN_LIFETIME_S
    session_lifetime_s: int = LONGEST_SESSION_S
    max_sessions: int = 100
    """Further sessions are refused with HTTP 429."""
