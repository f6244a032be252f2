"""The rows of the table: what is measured, and how it is started."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from bench.relay.processes import BUILD

NATIVE: Final = "native relay"
GATEWAY: Final = "gateway"
ALONE: Final = "sockets and codec alone"


@dataclass(frozen=True, slots=True)
class Gateway:
    """One program between the load and the mock.

    `{port}` in command and environment is where it must listen, `{upstream}` is the mock's port.
    """

    name: str
    command: str
    environment: Mapping[str, str] = field(default_factory=dict)
    load: str = "--wait-for session_started"
    """More arguments of the load generator."""
    mock: str = ""
    """More arguments of the mock."""
    counted_calls: int = 5
    """How many calls keep their pace while instructions are counted, which is some fifty times slower."""


_LIMITLESS: Final = {
    "APP_HOST": "127.0.0.1",
    "APP_PORT": "{port}",
    "AZURE_VOICELIVE_ENDPOINT": "http://127.0.0.1:{upstream}",
    "AZURE_VOICELIVE_MODEL": "gpt-4.1",
    "AZURE_VOICELIVE_API_KEY": "bench",
    "AZURE_VOICELIVE_VOICE_TYPE": "azure-standard",
    "AZURE_VOICELIVE_VOICE_NAME": "en-US-AvaNeural",
    "MAX_CALLS": "10000",
    "CONNECT_TIMEOUT_S": "120",  # callgrind is slow
    "PLAYOUT_LEAD_MS": "0",
    "CALLER_AUDIO_MAX_RATE": "0",
    "WORKERS": "1",
}
"""A production call with everything on; no limit bites."""

GATEWAYS: Final = (
    Gateway(NATIVE, f"{BUILD}/native_relay --port {{port}} --upstream-port {{upstream}}"),
    Gateway(GATEWAY, f"{sys.executable} -m app.main", _LIMITLESS),
    Gateway(ALONE, f"{sys.executable} -m bench.relay.sockets_gateway", _LIMITLESS),
    Gateway("gateway, plain ASGI", f"{sys.executable} -m bench.relay.plain_gateway", _LIMITLESS),
    Gateway("SDK, typed", f"{sys.executable} -m bench.relay.typed_gateway", _LIMITLESS, counted_calls=1),
    Gateway(
        "TCP proxy",
        f"{BUILD}/tcp_proxy --port {{port}} --upstream-port {{upstream}}",
        load="--proto realtime --path /voice-live/realtime",
        mock="--require-key 0",
    ),
)
