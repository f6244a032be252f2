"""What can be set when the emulator starts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

LONGEST_SESSION_S: Final = 3_600
"""Voice Live ends a session after an hour."""
AgentUpdates = Literal["ignore", "warning", "error"]

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
    connections_per_minute: int | None = None
    """New sessions in any minute; further ones are refused with HTTP 429. None: no limit."""
    tokens_per_minute: int | None = None
    """Tokens in any minute; after them responses fail. None: no limit."""
    agent_updates: AgentUpdates = "warning"
    """What an agent's session does with fields that only the agent decides."""
    agent_api_keys: bool = False
    """Whether an agent can be reached with an API key, which Voice Live refuses."""
    pace: float = 0.0
    """How fast audio is sent, in multiples of real time; 0 is as fast as it is made."""
    seed: int | None = None
    """With a seed, ids are the same in every run and time passes with the caller's audio."""
    token_faults: tuple[str, ...] = ()
    """Faults of the token endpoint, for every request."""
