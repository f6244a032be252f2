"""How a Voice Live socket comes about: its URL, its headers, and the one connector of the process.

The handshake equals the SDK's, which a test holds. The agent token of a classic agent travels in the URL, so
neither the URL nor any exception text or log line of the libraries leaves this module.
"""

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

import aiohappyeyeballs
import picows
from yarl import URL

from app.config import ClassicAgent, FoundryAgent, Model, Settings
from app.voicelive.credentials import SocketCredentials
from app.voicelive.message_reader import read_buffer

USER_AGENT: Final = "voice-live-api/0.1"
MAX_EVENT_BYTES: Final = 1024 * 1024

PING_AFTER_S: Final = 6
PONG_WITHIN_S: Final = 2.5
"""A peer that sends nothing is asked after the first time and given the second: found dead within 9 s."""

NAME_LIFETIME_S: Final = 10.0
HAPPY_EYEBALLS_DELAY_S: Final = 0.25
READ_BUFFER_BYTES: Final = 2 * 1024
"""For the handshake; it grows with what is read."""

TLS_BUFFER_BYTES: Final = 16 * 1024 + 320
"""One record, each way. aiofastnet's default is sixteen, which a call would keep for as long as it lasts."""

_TLS_BUFFERS: Final[Mapping[str, Any]] = {
    "ssl_incoming_bio_size": TLS_BUFFER_BYTES,
    "ssl_outgoing_bio_size": TLS_BUFFER_BYTES,
}

Listener = TypeVar("Listener", bound=picows.WSListener)

# picows writes the request with its secrets, addresses and exception texts to its log.
_silent = logging.Logger("picows", logging.CRITICAL + 1)
_SILENT: Final = logging.LoggerAdapter(_silent)


class ConnectRefusedError(Exception):
    """Voice Live answered the handshake with `status` instead of upgrading."""

    def __init__(self, status: int, retry_after_s: float | None) -> None:
        super().__init__(f"the handshake was answered with status {status}")
        self.status = status
        self.retry_after_s = retry_after_s


class ConnectFailedError(Exception):
    """No connection came about: name resolution, network, TLS, or a redirect, which we never follow."""


class UntrustedError(ConnectFailedError):
    """The endpoint's certificate is not trusted, or is for another host."""


def handshake_url(
    settings: Settings, credentials: SocketCredentials, conversation_id: str | None = None
) -> URL:
    """The upstream URL with its query. Secret: in classic mode it carries the agent token."""
    query = {"api-version": settings.api_version}
    match settings.agent_mode:
        case ClassicAgent(agent_id, project_name):
            query |= {"agent-id": agent_id, "agent-project-name": project_name}
            if credentials.agent_token is not None:
                query["agent-access-token"] = credentials.agent_token.get_secret_value()
        case FoundryAgent(agent_name, project_name, agent_version):
            query |= {"agent-name": agent_name, "agent-project-name": project_name}
            if agent_version:
                query["agent-version"] = agent_version
            if conversation_id:
                query["conversation-id"] = conversation_id
        case Model(name):
            query["model"] = name
    endpoint = URL(settings.endpoint)
    scheme = "wss" if endpoint.scheme == "https" else "ws"
    return endpoint.with_scheme(scheme).joinpath("voice-live", "realtime").with_query(query)


def handshake_headers(credentials: SocketCredentials) -> dict[str, str]:
    """The headers that are the SDK's too. Secret: they authenticate the socket."""
    headers = {"Accept": "*/*", "Accept-Encoding": "gzip, deflate", "User-Agent": USER_AGENT}
    if credentials.api_key is not None:
        headers["api-key"] = credentials.api_key.get_secret_value()
    if credentials.bearer is not None:
        headers["Authorization"] = f"Bearer {credentials.bearer.get_secret_value()}"
    return headers


class Connector:
    """What the connections of a process share: one TLS context, the names that were resolved lately, and the
    buffer for what is read.

    No proxy is used, no redirect followed, no compression offered.
    """

    def __init__(self) -> None:
        self.read_buffer = read_buffer()
        self._tls: ssl.SSLContext | None = None
        self._resolved: dict[tuple[str, int], tuple[float, Sequence[aiohappyeyeballs.AddrInfoType]]] = {}

    async def connect(self, url: URL, headers: Mapping[str, str], listener: Listener) -> None:
        """Shake hands; then `listener` is connected. The caller bounds the time.

        A cancelled handshake leaves nothing open. Raises ConnectRefusedError, ConnectFailedError.
        """
        if any(letter in value for value in headers.values() for letter in "\r\n\0"):
            raise ConnectFailedError
        secure = url.scheme == "wss"
        if secure and self._tls is None:
            # Certificates are those of the system, or of SSL_CERT_FILE.
            self._tls = ssl.create_default_context()
        connected: socket.socket | None = None

        async def open_socket(_: object) -> socket.socket:
            nonlocal connected
            connected = await self._open_socket(url)
            return connected

        complete = False
        try:
            transport, _ = await picows.ws_connect(
                lambda: listener,
                str(url),
                ssl_context=self._tls if secure else None,
                extra_headers=headers,
                socket_factory=open_socket,
                websocket_handshake_timeout=None,
                max_redirects=0,
                max_frame_size=MAX_EVENT_BYTES,
                enable_auto_ping=True,
                auto_ping_idle_timeout=PING_AFTER_S,
                auto_ping_reply_timeout=PONG_WITHIN_S,
                read_buffer_init_size=READ_BUFFER_BYTES,
                **(_TLS_BUFFERS if secure else {}),
                logger_name=_SILENT,
            )
            # It returns as well when the peer hung up instead of answering.
            complete = transport.response is not None
        except picows.WSInvalidStatusError as error:
            raise _refusal(error) from None
        except ssl.SSLCertVerificationError:
            raise UntrustedError from None
        except (picows.WSError, OSError, ValueError):
            raise ConnectFailedError from None
        finally:
            if not complete and connected is not None:
                # What holds the socket now, of asyncio or of picows, sees its end and lets go of it.
                with suppress(OSError):
                    connected.shutdown(socket.SHUT_RDWR)
        if not complete:
            raise ConnectFailedError

    async def _open_socket(self, url: URL) -> socket.socket:
        host, port = url.host or "", url.port or 0
        expires_at, addresses = self._resolved.get((host, port), (0.0, ()))
        if time.monotonic() >= expires_at:
            loop = asyncio.get_running_loop()
            addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            self._resolved[host, port] = (time.monotonic() + NAME_LIFETIME_S, addresses)
        return await aiohappyeyeballs.start_connection(
            addresses, happy_eyeballs_delay=HAPPY_EYEBALLS_DELAY_S, interleave=1
        )


def _refusal(error: picows.WSInvalidStatusError) -> ConnectRefusedError | ConnectFailedError:
    response = error.response
    if response is None or 300 <= response.status < 400:
        return ConnectFailedError()
    return ConnectRefusedError(response.status, _retry_after_s(response.headers))


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    try:
        return max(0.0, float(headers.get("Retry-After", "")))
    except ValueError:
        return None
