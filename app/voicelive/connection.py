"""One Voice Live session as a socket: open, send, receive, close.

The socket is ours (aiohttp, one connector per process) and not the SDK's: the SDK's iterator ends silently
on every close, its handshake leaks a client session when cancelled, and its typed path costs some ten times
a plain codec per event. The handshake equals the SDK's, which a test holds.

The agent token of a classic agent travels in the URL, so no URL and no exception text of aiohttp leaves
this module.
"""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
import orjson
import pybase64
from yarl import URL

from app.config import ClassicAgent, FoundryAgent, Model, Settings
from app.voicelive.credentials import SocketCredentials
from app.voicelive.events import ServerEvent, parse_server_event

MAX_EVENT_BYTES: Final = 4 * 1024 * 1024
HEARTBEAT_S: Final = 6
"""aiohttp pings this often and waits half of it for the pong: a dead peer is found within 9 s."""
CLOSE_TIMEOUT_S: Final = 0.8
"""Voice Live is given this long to answer our close frame: an open session costs money."""

USER_AGENT: Final = "voice-live-api/0.1"


class ConnectRefusedError(Exception):
    """Voice Live answered the handshake with `status` instead of upgrading."""

    def __init__(self, status: int, retry_after_s: float | None) -> None:
        super().__init__(f"the handshake was answered with status {status}")
        self.status = status
        self.retry_after_s = retry_after_s


class ConnectFailedError(Exception):
    """No connection came about: name resolution, network, TLS, or a redirect, which we never follow."""


class VoiceLiveClosedError(Exception):
    """The session is over. `code` is the peer's close code; 1006 when the connection was lost."""

    def __init__(self, code: int) -> None:
        super().__init__(f"closed with code {code}")
        self.code = code


async def _refuse_redirect(
    session: aiohttp.ClientSession, context: SimpleNamespace, params: aiohttp.TraceRequestRedirectParams
) -> None:
    """`ws_connect` follows redirects and would carry our credentials to wherever one points."""
    del session, context
    params.response.close()
    raise aiohttp.ClientError("redirected")


def open_http() -> aiohttp.ClientSession:
    """The client session that all calls of the process share: one connector, one resolver, no proxy."""
    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(_refuse_redirect)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), trace_configs=[trace], trust_env=False
    )


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
    """The headers that authenticate the socket. Secret."""
    headers = {"User-Agent": USER_AGENT}
    if credentials.api_key is not None:
        headers["api-key"] = credentials.api_key.get_secret_value()
    if credentials.bearer is not None:
        headers["Authorization"] = f"Bearer {credentials.bearer.get_secret_value()}"
    return headers


class VoiceLiveConnection:
    """One open Voice Live session. One reader at a time; any number of senders."""

    def __init__(self, socket: "aiohttp.ClientWebSocketResponse[bool]") -> None:
        self._socket = socket

    @classmethod
    async def open(
        cls,
        http: aiohttp.ClientSession,
        settings: Settings,
        credentials: SocketCredentials,
        conversation_id: str | None = None,
    ) -> "VoiceLiveConnection":
        """Shake hands. The caller bounds the time; a cancelled handshake leaves nothing open.

        Raises ConnectRefusedError, ConnectFailedError.
        """
        try:
            socket = await http.ws_connect(
                handshake_url(settings, credentials, conversation_id),
                headers=handshake_headers(credentials),
                max_msg_size=MAX_EVENT_BYTES,
                heartbeat=HEARTBEAT_S,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT_S),
                compress=0,
                decode_text=False,
            )
        except aiohttp.WSServerHandshakeError as error:
            raise ConnectRefusedError(error.status, _retry_after_s(error.headers)) from None
        except (aiohttp.ClientError, OSError, ValueError):
            raise ConnectFailedError from None
        return cls(socket)

    async def send(self, event: Mapping[str, Any]) -> None:
        """Send one client event. Raises VoiceLiveClosedError."""
        await self._send_frame(orjson.dumps(event))

    async def send_audio(self, pcm: bytes) -> None:
        """Send caller speech: PCM16 LE, 24 kHz, mono, whole samples. Raises VoiceLiveClosedError."""
        await self._send_frame(
            b"".join((b'{"type":"input_audio_buffer.append","audio":"', pybase64.b64encode(pcm), b'"}'))
        )

    async def _send_frame(self, data: bytes) -> None:
        try:
            await self._socket.send_frame(data, aiohttp.WSMsgType.TEXT)
        except (ConnectionError, aiohttp.ClientError):
            raise VoiceLiveClosedError(self._socket.close_code or 1006) from None

    async def receive(self) -> ServerEvent:
        """The next event, in the order in which the service sent it.

        Raises VoiceLiveClosedError when the session is over, MalformedEventError for a message that is no
        event; after the latter the session goes on.
        """
        message = await self._socket.receive()
        if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            return parse_server_event(message.data)
        # CLOSE, CLOSING, CLOSED and ERROR alike: aiohttp keeps the code that counts on the socket.
        raise VoiceLiveClosedError(self._socket.close_code or 1006)

    async def close(self) -> None:
        """Hang up, within CLOSE_TIMEOUT_S. Never raises for a peer that is gone already."""
        await self._socket.close()


def _retry_after_s(headers: Mapping[str, str] | None) -> float | None:
    try:
        return max(0.0, float((headers or {}).get("Retry-After", "")))
    except ValueError:
        return None
