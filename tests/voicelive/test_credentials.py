"""Tokens: minted once at a time, reused while they outlive the longest call, renewed ahead of time."""

import asyncio

import pytest
from pydantic import SecretStr

from app.config import ServicePrincipal, settings_from
from app.voicelive.credentials import (
    Credentials,
    SocketCredentials,
    Token,
    TokenRefusedError,
    TokenUnavailableError,
    mint,
)
from tests.processes import EmulatorProcess, emulator_process
from tests.test_config import AGENT, MODEL, ORIGINAL

LIFETIME_S = 3600


class TokenEndpoint:
    """Mints numbered tokens; the clock stands still until the test moves it."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.minted = 0
        self.has_minted = asyncio.Event()
        self.lifetime_s = LIFETIME_S
        self.gate = asyncio.Event()
        self.gate.set()
        self.fails_with: Exception | None = None

    async def mint(self, _: ServicePrincipal) -> Token:
        await self.gate.wait()
        if self.fails_with is not None:
            raise self.fails_with
        self.minted += 1
        self.has_minted.set()
        return Token(SecretStr(f"token-{self.minted}"), int(self.now + self.lifetime_s))

    def credentials(self, values: dict[str, str]) -> Credentials:
        return Credentials(settings_from(values), self.mint, lambda: self.now)


def token_of(credentials: SocketCredentials) -> str:
    token = credentials.agent_token or credentials.bearer
    assert token is not None
    return token.get_secret_value()


async def test_each_mode_has_its_own_credentials() -> None:
    endpoint = TokenEndpoint()
    classic = await endpoint.credentials(ORIGINAL).for_socket()
    assert classic.api_key is not None
    assert (classic.bearer, token_of(classic)) == (None, "token-1")
    agent = await endpoint.credentials(AGENT | {"azure_voicelive_api_key": "unused"}).for_socket()
    assert (agent.api_key, agent.agent_token) == (None, None)
    model = await endpoint.credentials(MODEL).for_socket()
    assert (model.bearer, model.agent_token) == (None, None)
    assert endpoint.minted == 2


async def test_a_hundred_callers_at_once_cost_one_token() -> None:
    endpoint = TokenEndpoint()
    credentials = endpoint.credentials(AGENT)
    endpoint.gate.clear()
    async with asyncio.TaskGroup() as tasks:
        calls = [tasks.create_task(credentials.for_socket()) for _ in range(100)]
        await asyncio.sleep(0)
        endpoint.gate.set()
    assert endpoint.minted == 1
    assert {token_of(call.result()) for call in calls} == {"token-1"}


async def test_a_token_is_reused_only_while_it_outlives_the_longest_call() -> None:
    endpoint = TokenEndpoint()
    credentials = endpoint.credentials(AGENT | {"max_call_duration_s": "1740"})
    await credentials.for_socket()
    endpoint.now += LIFETIME_S - 1740 - 61
    await credentials.for_socket()
    assert endpoint.minted == 1
    endpoint.now += 2
    assert token_of(await credentials.for_socket()) == "token-2"


async def test_a_caller_who_leaves_while_a_token_is_minted_takes_nobody_along() -> None:
    endpoint = TokenEndpoint()
    credentials = endpoint.credentials(AGENT)
    endpoint.gate.clear()
    async with asyncio.TaskGroup() as tasks:
        leaving = tasks.create_task(credentials.for_socket())
        staying = tasks.create_task(credentials.for_socket())
        await asyncio.sleep(0)
        leaving.cancel()
        endpoint.gate.set()
    assert token_of(staying.result()) == "token-1"


async def test_a_refused_token_is_minted_anew() -> None:
    endpoint = TokenEndpoint()
    credentials = endpoint.credentials(AGENT)
    refused = await credentials.for_socket()
    credentials.forget(refused)
    assert token_of(await credentials.for_socket()) == "token-2"
    credentials.forget(refused)
    assert token_of(await credentials.for_socket()) == "token-2"


async def test_it_is_minted_ahead_of_the_first_caller() -> None:
    endpoint = TokenEndpoint()
    credentials = endpoint.credentials(AGENT)
    async with asyncio.TaskGroup() as tasks:
        fresh = tasks.create_task(credentials.keep_fresh())
        await endpoint.has_minted.wait()
        endpoint.gate.clear()
        assert token_of(await credentials.for_socket()) == "token-1"
        fresh.cancel()


async def test_a_fault_while_minting_does_not_end_the_renewal() -> None:
    endpoint = TokenEndpoint()
    endpoint.fails_with = ZeroDivisionError()
    credentials = endpoint.credentials(AGENT)
    async with asyncio.TaskGroup() as tasks:
        fresh = tasks.create_task(credentials.keep_fresh())
        for _ in range(10):
            await asyncio.sleep(0)
        assert not fresh.done()
        fresh.cancel()


async def test_where_no_token_is_needed_none_is_minted() -> None:
    endpoint = TokenEndpoint()
    await endpoint.credentials(MODEL).keep_fresh()
    assert endpoint.minted == 0


def principal(emulator: EmulatorProcess, secret: str = "secret-canary") -> ServicePrincipal:
    return ServicePrincipal("tenant", "client", SecretStr(secret), emulator.tls_address)


async def test_an_untrusted_certificate_is_no_sign_in_service(emulator: EmulatorProcess) -> None:
    """This process does not trust the emulator's certificate; the real credential must not either."""
    with pytest.raises(TokenUnavailableError) as unavailable:
        await mint(principal(emulator))
    assert "canary" not in f"{unavailable.value!r}{unavailable.value.__cause__}"


async def test_nobody_there_is_unavailable_and_not_refused() -> None:
    with emulator_process() as gone:
        pass
    with pytest.raises(TokenUnavailableError):
        await mint(principal(gone))


def test_failures_carry_no_text() -> None:
    assert str(TokenRefusedError()) == str(TokenUnavailableError()) == ""
