"""`voice-live doctor`: finds out, one step after the other, what keeps calls from working.

It goes the way of a call with the gateway's own parts and stops at the first step that fails, because
the later ones would only fail again. What it prints holds no secret, and no text of the service.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import typer

from app.config import ClassicAgent, FoundryAgent, Model, Settings, SettingsError, load_settings
from app.telemetry import configure_logs
from app.voicelive.connection import VoiceLiveClosedError, VoiceLiveConnection
from app.voicelive.credentials import (
    Credentials,
    SocketCredentials,
    TokenRefusedError,
    TokenUnavailableError,
)
from app.voicelive.endpoint import loggable
from app.voicelive.events import MalformedEventError, ServiceError, SessionUpdated
from app.voicelive.handshake import ConnectFailedError, Connector, ConnectRefusedError
from app.voicelive.session import contradiction, session_update

NETWORK_WAIT_S: Final = 5.0
_ROLE_REMEDY: Final = "Give the service principal the role Cognitive Services User on the resource."
_VOICE_REMEDY: Final = (
    "Check AZURE_VOICELIVE_VOICE_TYPE, AZURE_VOICELIVE_VOICE_NAME and AZURE_VOICELIVE_VOICE_ENDPOINT_ID."
)


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one step; `remedy` where it failed, in words for the operator."""

    step: str
    found: str
    remedy: str | None = None


class _TroubleError(Exception):
    """A step has failed: what was found, and how to mend it."""

    def __init__(self, found: str, remedy: str) -> None:
        super().__init__(found)
        self.found = found
        self.remedy = remedy


def run_doctor(env_file: Path) -> int:
    """Examines the configured endpoint and prints what it finds; returns the exit status."""
    try:
        settings = load_settings(env_file)
    except SettingsError as error:
        typer.echo(f"FAILED  settings\n{error}")
        if not env_file.exists():
            typer.echo(f"note    {env_file} does not exist. Copy .env.example to .env, and fill it in.")
        return 1
    configure_logs("CRITICAL")  # the findings say it better
    for warning in settings.warnings():
        typer.echo(f"note    {warning}")
    return 0 if asyncio.run(examine(settings, _print)) else 1


async def examine(settings: Settings, tell: Callable[[Finding], None]) -> bool:
    """Takes every step of a call's opening until one fails; true when none did."""
    patient = _Patient(settings)
    steps: list[tuple[str, Callable[[], Awaitable[str]]]] = [
        ("settings", patient.settings_are_complete),
        ("name", patient.name_resolves),
        ("network", patient.network_connects),
        ("credential", patient.credential_is_there),
        ("handshake", patient.handshake_is_accepted),
        ("session", patient.session_is_configured),
    ]
    try:
        for name, step in steps:
            started = time.perf_counter()
            try:
                found = await step()
            except _TroubleError as trouble:
                tell(Finding(name, trouble.found, trouble.remedy))
                return False
            took_ms = round((time.perf_counter() - started) * 1000)
            tell(Finding(name, f"{found} ({took_ms} ms)"))
    finally:
        await patient.release()
    return True


class _Patient:
    """One endpoint under examination; every step needs the ones before it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        parts = urlsplit(settings.endpoint)
        self._host = parts.hostname or ""
        self._tls = parts.scheme == "https"
        self._port = parts.port or (443 if self._tls else 80)
        self._credentials = SocketCredentials()
        self._connection: VoiceLiveConnection | None = None

    async def settings_are_complete(self) -> str:
        """`load_settings` has checked them already."""
        return f"{_mode(self._settings)}, api-version {self._settings.api_version}"

    async def name_resolves(self) -> str:
        try:
            async with asyncio.timeout(NETWORK_WAIT_S):
                found = await asyncio.get_running_loop().getaddrinfo(
                    self._host, self._port, type=socket.SOCK_STREAM
                )
        except (OSError, TimeoutError):
            raise _TroubleError(
                f"{self._host} has no address.",
                "Look for a typing error in AZURE_VOICELIVE_ENDPOINT. Otherwise the resource may be deleted, "
                "or this machine's DNS does not know its private name.",
            ) from None
        return f"{self._host} is {', '.join(sorted({str(entry[4][0]) for entry in found}))}"

    async def network_connects(self) -> str:
        context = ssl.create_default_context() if self._tls else None
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(NETWORK_WAIT_S):
                _, writer = await asyncio.open_connection(self._host, self._port, ssl=context)
                tls = writer.get_extra_info("ssl_object")
                version = tls.version() if tls is not None else "plain"
        except ssl.SSLCertVerificationError as error:
            raise _TroubleError(
                f"The certificate of {self._host} is not trusted: {error.verify_message}.",
                "Check this machine's clock. Behind a proxy that opens TLS, name its certificate in "
                "SSL_CERT_FILE.",
            ) from None
        except ssl.SSLError:
            raise _TroubleError(
                f"{self._host}, port {self._port}, does not speak TLS.",
                "Check scheme and port of AZURE_VOICELIVE_ENDPOINT.",
            ) from None
        except (OSError, TimeoutError):
            raise _TroubleError(
                f"{self._host}, port {self._port}, does not answer.",
                "Is it running? Ask whether a firewall is in between, or whether the resource admits "
                "selected networks only.",
            ) from None
        finally:
            if writer is not None:
                writer.transport.abort()
        return f"port {self._port} answers, {version}"

    async def credential_is_there(self) -> str:
        try:
            self._credentials = await Credentials(self._settings).for_socket()
        except TokenRefusedError:
            raise _TroubleError(
                "Entra refused the service principal.",
                "Check AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET. Secrets expire; the app "
                "registration in Entra makes new ones.",
            ) from None
        except TokenUnavailableError:
            authority = urlsplit(self._settings.azure_authority_host).hostname
            raise _TroubleError(
                f"The sign-in service {authority} does not answer.",
                "Check AZURE_AUTHORITY_HOST, and that this machine may reach it.",
            ) from None
        if self._credentials.bearer or self._credentials.agent_token:
            return "Entra has minted a token"
        return "an API key is set; the handshake will show whether it is good"

    async def handshake_is_accepted(self) -> str:
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                self._connection = await VoiceLiveConnection.open(
                    Connector(), self._settings, self._credentials
                )
        except ConnectRefusedError as refused:
            raise _TroubleError(
                f"Voice Live refused the handshake with HTTP {refused.status}.",
                _remedy_for_status(refused.status, self._settings),
            ) from None
        except (ConnectFailedError, TimeoutError):
            raise _TroubleError(
                "The connection was lost during the handshake.",
                "A proxy or a firewall in between may not let WebSockets pass. Otherwise try again.",
            ) from None
        return "Voice Live accepted the handshake"

    async def session_is_configured(self) -> str:
        assert self._connection is not None  # noqa: S101 (the handshake came before)
        asked = session_update(self._settings)
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                self._connection.send(asked)
                applied = await _applied_session(self._connection)
        except VoiceLiveClosedError as closed:
            raise _TroubleError(
                f"Voice Live closed the session with code {closed.code}.", _remedy_for_agent(self._settings)
            ) from None
        except (MalformedEventError, TimeoutError):
            raise _TroubleError(
                "What answers there does not speak Voice Live.", "Check AZURE_VOICELIVE_ENDPOINT."
            ) from None
        field = contradiction(asked, applied.session)
        if field is not None:
            raise _TroubleError(f"Voice Live did not apply our {field}.", _VOICE_REMEDY)
        return f"the session is configured, with the voice {self._settings.voice_name}"

    async def release(self) -> None:
        """Closes what the steps have opened."""
        if self._connection is not None:
            await self._connection.close()


async def _applied_session(connection: VoiceLiveConnection) -> SessionUpdated:
    while True:
        match await connection.receive():
            case SessionUpdated() as updated:
                return updated
            case ServiceError(code):
                raise _TroubleError(
                    f"Voice Live refused the configuration of the session ({loggable(code)}).",
                    f"{_VOICE_REMEDY} Then VAD_TYPE, INPUT_TRANSCRIPTION_MODEL and INPUT_LANGUAGE.",
                )
            case _:
                pass


def _remedy_for_status(status: int, settings: Settings) -> str:
    with_token = settings.azure_voicelive_api_key is None or isinstance(settings.agent_mode, FoundryAgent)
    match status:
        case 401 if with_token:
            return f"{_ROLE_REMEDY} A new role takes some minutes."
        case 401:
            return "Copy KEY1 of this very resource to AZURE_VOICELIVE_API_KEY."
        case 403:
            return f"{_ROLE_REMEDY} If it has it, the resource may admit selected networks only."
        case 404:
            return (
                "Check that AZURE_VOICELIVE_ENDPOINT is a Foundry resource in a region with Voice Live, and "
                "AZURE_VOICELIVE_API_VERSION. " + _remedy_for_agent(settings)
            )
        case 429:
            return "Too many calls for the quota of the resource: wait, or ask Azure for more."
        case status if 400 <= status < 500:
            return _remedy_for_agent(settings) + " Check AZURE_VOICELIVE_API_VERSION, too."
        case _:
            return "Voice Live itself is in trouble: try again later."


def _remedy_for_agent(settings: Settings) -> str:
    match settings.agent_mode:
        case ClassicAgent():
            return "Check AZURE_VOICELIVE_AGENT_ID and AZURE_VOICELIVE_PROJECT_NAME."
        case FoundryAgent():
            return (
                "Check AZURE_VOICELIVE_AGENT_NAME, AZURE_VOICELIVE_AGENT_VERSION and "
                "AZURE_VOICELIVE_PROJECT_NAME."
            )
        case _:
            return "Check that AZURE_VOICELIVE_MODEL is a model that Voice Live offers in the region."


def _mode(settings: Settings) -> str:
    match settings.agent_mode:
        case ClassicAgent(agent_id):
            return f"classic agent {agent_id}"
        case FoundryAgent(agent_name):
            return f"agent {agent_name}"
        case Model(name):
            return f"model {name}"


def _print(finding: Finding) -> None:
    verdict = "ok      " if finding.remedy is None else "FAILED  "
    typer.echo(f"{verdict}{finding.step:<11}{finding.found}")
    if finding.remedy is not None:
        typer.echo(f"{'':19}{finding.remedy}")
