"""What opens a Voice Live socket: the API key, and tokens minted from the service principal.

One `Credentials` per process. A token is reused while it outlives the longest call; `keep_fresh` renews it
ahead of time, so that a caller waits for the token endpoint only when there is no good token at all.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog
from pydantic import SecretStr

from app.config import ClassicAgent, FoundryAgent, ServicePrincipal, Settings
from app.redaction import REDACTOR

SCOPE: Final = "https://ai.azure.com/.default"
"""The scope that Foundry agents and Voice Live accept (azure-ai-voicelive 1.3.1 asks for the same)."""

MINT_TIMEOUT_S: Final = 5
"""For a caller to have a token, whether it is minted now or another caller's is waited for."""

MARGIN_S: Final = 60
RENEW_AHEAD_S: Final = 120
RETRY_S: Final = 30

log = structlog.get_logger(__name__)


class TokenRefusedError(Exception):
    """The token endpoint refused our service principal: the operator's fault."""


class TokenUnavailableError(Exception):
    """The token endpoint cannot be reached or does not answer sensibly."""


@dataclass(frozen=True, slots=True)
class Token:
    """An access token and when it ends, in Unix seconds."""

    value: SecretStr
    expires_at: int


@dataclass(frozen=True, slots=True)
class SocketCredentials:
    """What one connection needs: `api_key` or `bearer` for the socket, `agent_token` for a classic agent."""

    api_key: SecretStr | None = None
    bearer: SecretStr | None = None
    agent_token: SecretStr | None = None


async def mint(principal: ServicePrincipal) -> Token:
    """Ask Entra for a token with the service principal. No interactive login, no CLI.

    Raises TokenRefusedError, TokenUnavailableError; neither carries the service's text, which may hold ids.
    """
    # Imported where it is used: it costs 0.4 s, which start-up need not wait for.
    from azure.core.exceptions import AzureError, ClientAuthenticationError
    from azure.identity.aio import ClientSecretCredential

    # A new credential each time: an old one would hand out its cached token however short its life.
    credential = ClientSecretCredential(
        principal.tenant_id,
        principal.client_id,
        principal.client_secret.get_secret_value(),
        authority=principal.authority_host,
        # Without it the library first asks Microsoft's directory about an authority that it does not know.
        disable_instance_discovery=True,
        # A proxy of the environment would see the secret. The library follows no redirects here.
        use_env_settings=False,
    )
    async with credential:
        try:
            async with asyncio.timeout(MINT_TIMEOUT_S):
                token = await credential.get_token(SCOPE)
        except TimeoutError:
            raise TokenUnavailableError from None
        except ClientAuthenticationError as error:
            if error.status_code is None or not 400 <= error.status_code < 500:
                raise TokenUnavailableError from None  # a fault of its own, or an answer without a token
            raise TokenRefusedError from None
        except (AzureError, ValueError, KeyError):
            raise TokenUnavailableError from None
    REDACTOR.hide(token.token, passing=True)
    return Token(SecretStr(token.token), token.expires_on)


class Credentials:
    """The credentials of this process, minted at most once at a time."""

    def __init__(
        self,
        settings: Settings,
        mint_token: Callable[[ServicePrincipal], Awaitable[Token]] = mint,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._mint = mint_token
        self._wall_clock = wall_clock
        self._minting = asyncio.Lock()
        self._token: Token | None = None
        self._failures = 0
        self._failure: type[TokenRefusedError | TokenUnavailableError] = TokenUnavailableError
        self._needed_s = settings.max_call_duration_s + MARGIN_S

    async def for_socket(self) -> SocketCredentials:
        """What the next call needs. Raises TokenRefusedError, TokenUnavailableError."""
        api_key = self._settings.azure_voicelive_api_key
        match self._settings.agent_mode:
            case ClassicAgent():
                return SocketCredentials(api_key=api_key, agent_token=await self._good_token())
            case FoundryAgent():
                return SocketCredentials(bearer=await self._good_token())
            case _ if api_key is not None:
                return SocketCredentials(api_key=api_key)
            case _:
                return SocketCredentials(bearer=await self._good_token())

    async def keep_fresh(self) -> None:
        """Mint ahead of time, for as long as the process lives. Returns at once where no token is needed."""
        if not self._needs_token():
            return
        while True:
            try:
                await self._good_token(self._needed_s + RENEW_AHEAD_S)
            except (TokenRefusedError, TokenUnavailableError) as error:
                log.warning("token.unavailable", reason=type(error).__name__, retry_s=RETRY_S)
                await asyncio.sleep(RETRY_S)
            except Exception:
                # This runs beside the calls and must never take them along.
                log.exception("token.unavailable", retry_s=RETRY_S)
                await asyncio.sleep(RETRY_S)
            else:
                due_s = self._remaining_s() - self._needed_s - RENEW_AHEAD_S
                await asyncio.sleep(max(due_s, RETRY_S))

    def forget(self, refused: SocketCredentials) -> None:
        """Drop the token that Voice Live refused, so that the next call mints anew."""
        used = refused.bearer or refused.agent_token
        if self._token is not None and self._token.value == used:
            self._token = None

    def _needs_token(self) -> bool:
        if isinstance(self._settings.agent_mode, ClassicAgent | FoundryAgent):
            return True
        return self._settings.azure_voicelive_api_key is None

    def _remaining_s(self) -> float:
        return 0.0 if self._token is None else self._token.expires_at - self._wall_clock()

    async def _good_token(self, needed_s: float | None = None) -> SecretStr:
        principal = self._settings.service_principal
        if principal is None:
            raise TokenRefusedError
        failures_before = self._failures
        try:
            async with asyncio.timeout(MINT_TIMEOUT_S), self._minting:
                if self._failures > failures_before:
                    # What was waited for has failed: the next attempt is for those who come later.
                    raise self._failure
                if self._token is None or self._remaining_s() < (needed_s or self._needed_s):
                    self._token = await self._attempt(principal)
                return self._token.value
        except TimeoutError:
            raise TokenUnavailableError from None

    async def _attempt(self, principal: ServicePrincipal) -> Token:
        try:
            token = await self._mint(principal)
        except (TokenRefusedError, TokenUnavailableError) as failure:
            self._failures += 1
            self._failure = type(failure)
            raise
        log.info("token.minted", lifetime_s=int(token.expires_at - self._wall_clock()))
        return token
