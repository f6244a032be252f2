"""The Voice Live endpoint of this process: what its calls share, and how a session is opened."""

from dataclasses import dataclass

import structlog

from app.config import Settings
from app.messages import ErrorCode
from app.voicelive.connection import VoiceLiveClosedError, VoiceLiveConnection
from app.voicelive.credentials import Credentials, TokenRefusedError, TokenUnavailableError
from app.voicelive.events import MalformedEventError, ServiceError, SessionUpdated
from app.voicelive.handshake import ConnectFailedError, Connector, ConnectRefusedError
from app.voicelive.session import contradiction, session_update

log = structlog.get_logger(__name__)


class OpeningFailedError(Exception):
    """No session came about. `code` is the contract's; `reason` is for the operator and holds no secret."""

    def __init__(self, code: ErrorCode, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A configured session.

    `conversation_id` is the agent's own, where it has one: a later session can go on with it. `expires_at` is
    in Unix seconds.
    """

    connection: VoiceLiveConnection
    session_id: str
    conversation_id: str | None
    expires_at: int | None


class VoiceLiveEndpoint:
    """Opens sessions with the process's one connector and one set of credentials."""

    def __init__(self, settings: Settings, credentials: Credentials) -> None:
        self._settings = settings
        self._connector = Connector()
        self._credentials = credentials

    async def open_session(self, conversation_id: str | None = None) -> OpenSession:
        """Connect and configure one session. The caller bounds the time; a cancelled opening leaves nothing.

        `conversation_id` goes on with a Foundry agent's earlier conversation. Raises OpeningFailedError.
        """
        connection = await self._connect(conversation_id)
        try:
            updated = await self._configure(connection)
        except BaseException:
            await connection.close()
            raise
        agent = updated.session.get("agent")
        expires_at = updated.session.get("expires_at")
        return OpenSession(
            connection,
            updated.session_id,
            conversation_id=agent.get("thread_id") if isinstance(agent, dict) else None,
            expires_at=expires_at if isinstance(expires_at, int) else None,
        )

    async def _connect(self, conversation_id: str | None) -> VoiceLiveConnection:
        try:
            credentials = await self._credentials.for_socket()
        except TokenRefusedError:
            raise OpeningFailedError(ErrorCode.UPSTREAM_AUTH, "Entra refused the service principal") from None
        except TokenUnavailableError:
            raise OpeningFailedError(ErrorCode.AUTH_UNAVAILABLE, "Entra is not reachable") from None
        try:
            return await VoiceLiveConnection.open(
                self._connector, self._settings, credentials, conversation_id
            )
        except ConnectRefusedError as refused:
            if refused.status == 401:
                self._credentials.forget(credentials)
            raise OpeningFailedError(
                _code_of_status(refused.status), str(refused), refused.retry_after_s
            ) from None
        except ConnectFailedError:
            raise OpeningFailedError(ErrorCode.UPSTREAM_LOST, "the endpoint is not reachable") from None

    async def _configure(self, connection: VoiceLiveConnection) -> SessionUpdated:
        asked = session_update(self._settings)
        try:
            connection.send(asked)
            updated = await _next_session_updated(connection)
        except VoiceLiveClosedError as closed:
            raise OpeningFailedError(ErrorCode.UPSTREAM_LOST, str(closed)) from None
        except MalformedEventError:
            raise OpeningFailedError(
                ErrorCode.UPSTREAM_PROTOCOL, "the endpoint does not speak Voice Live"
            ) from None
        if (field := contradiction(asked, updated.session)) is not None:
            raise OpeningFailedError(ErrorCode.UPSTREAM_CONFIG, f"the service did not apply our {field}")
        return updated


async def _next_session_updated(connection: VoiceLiveConnection) -> SessionUpdated:
    while True:
        event = await connection.receive()
        if isinstance(event, SessionUpdated):
            return event
        if isinstance(event, ServiceError):
            log.error("upstream.session_refused", code=loggable(event.code))
            raise OpeningFailedError(ErrorCode.UPSTREAM_CONFIG, "session.update was refused")


def loggable(code: str) -> str:
    """An error code of the service as it may be logged: an identifier, never free text."""
    return code if len(code) <= 64 and code.replace("_", "").replace(".", "").isalnum() else "unnamed"


def _code_of_status(status: int) -> ErrorCode:
    match status:
        case 401 | 403:
            return ErrorCode.UPSTREAM_AUTH
        case 429:
            return ErrorCode.UPSTREAM_BUSY
        case status if 400 <= status < 500:
            return ErrorCode.UPSTREAM_CONFIG
        case _:
            return ErrorCode.UPSTREAM_LOST
