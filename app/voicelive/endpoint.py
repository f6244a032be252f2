"""The Voice Live endpoint of this process: what its calls share, and how a session is opened."""

import asyncio
from dataclasses import dataclass
from typing import Final

import structlog

from app.config import Settings
from app.errors import ErrorCode
from app.voicelive.circuit import Circuit
from app.voicelive.connection import PROTOCOL_CLOSE_CODES, VoiceLiveClosedError, VoiceLiveConnection
from app.voicelive.credentials import (
    Credentials,
    SocketCredentials,
    TokenRefusedError,
    TokenUnavailableError,
)
from app.voicelive.events import MalformedEventError, ServiceError, SessionUpdated
from app.voicelive.handshake import ConnectFailedError, Connector, ConnectRefusedError, UntrustedError
from app.voicelive.opening import NoTokenError, OpeningFailedError, attempt_twice, nobody_there, refused
from app.voicelive.session import contradiction, session_update

STEP_TIMEOUT_S: Final = 5.0
"""For the handshake, name resolution and TLS included; and once more for the first `session.updated`."""

log = structlog.get_logger(__name__)


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
        self._clock = asyncio.get_running_loop().time
        self.circuit = Circuit()
        """Whether an attempt is worth while now."""

    async def open_session(self, conversation_id: str | None = None) -> OpenSession:
        """Connect and configure one session within CONNECT_TIMEOUT_S. A cancelled opening leaves nothing.

        `conversation_id` goes on with a Foundry agent's earlier conversation. Raises OpeningFailedError.
        """
        deadline = self._clock() + self._settings.connect_timeout_s

        async def once() -> OpenSession:
            return await self._open_once(conversation_id, deadline)

        return await self.circuit.attempt(lambda: attempt_twice(once, lambda: deadline - self._clock()))

    async def _open_once(self, conversation_id: str | None, deadline: float) -> OpenSession:
        connection = await self._connect(conversation_id, deadline)
        try:
            async with asyncio.timeout_at(self._step_ends_at(deadline)):
                updated = await self._configure(connection)
        except TimeoutError:
            await connection.close()
            raise OpeningFailedError(ErrorCode.UPSTREAM_LOST, "no session came about in time") from None
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

    async def _connect(self, conversation_id: str | None, deadline: float) -> VoiceLiveConnection:
        credentials = await self._socket_credentials(deadline)
        try:
            async with asyncio.timeout_at(self._step_ends_at(deadline)):
                return await VoiceLiveConnection.open(
                    self._connector, self._settings, credentials, conversation_id
                )
        except TimeoutError:
            raise OpeningFailedError(ErrorCode.UPSTREAM_LOST, "the endpoint did not answer in time") from None
        except ConnectRefusedError as error:
            if error.status == 401:
                self._credentials.forget(credentials)
            has_token = credentials.bearer is not None or credentials.agent_token is not None
            raise refused(error.status, str(error), error.retry_after_s, has_new_token=has_token) from None
        except UntrustedError:
            raise OpeningFailedError(
                ErrorCode.UPSTREAM_CONFIG, "the endpoint's certificate is not trusted"
            ) from None
        except ConnectFailedError:
            raise nobody_there("the endpoint is not reachable") from None

    async def _socket_credentials(self, deadline: float) -> SocketCredentials:
        try:
            async with asyncio.timeout_at(deadline):
                return await self._credentials.for_socket()
        except TokenRefusedError:
            raise NoTokenError(ErrorCode.UPSTREAM_AUTH, "Entra refused the service principal") from None
        except (TokenUnavailableError, TimeoutError):
            raise NoTokenError(ErrorCode.AUTH_UNAVAILABLE, "Entra is not reachable") from None

    def _step_ends_at(self, deadline: float) -> float:
        return min(deadline, self._clock() + STEP_TIMEOUT_S)

    async def _configure(self, connection: VoiceLiveConnection) -> SessionUpdated:
        asked = session_update(self._settings)
        try:
            connection.send(asked)
            updated = await _next_session_updated(connection)
        except VoiceLiveClosedError as closed:
            strange = closed.code in PROTOCOL_CLOSE_CODES
            code = ErrorCode.UPSTREAM_PROTOCOL if strange else ErrorCode.UPSTREAM_LOST
            raise OpeningFailedError(code, str(closed)) from None
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
