"""Tokens: minted once at a time, reused while they outlive the longest call, renewed ahead of time."""

import asyncio

import pytest
from pydantic import SecretStr

from app.config import ServicePrincipal, settings_from
from app.voicelive import credentials as credentials_module
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
        self.asked = 0
        self.minted = 0
        self.has_minted = asyncio.Event()
        self.lifetime_s = LIFETIME_S
        self.gate = asyncio.Event()
        self.gate.set()
        self.fails_with: Exception | None = None

    async def mint(self, _: ServicePrincipal) -> Token:
        self.asked += 1
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


async def test_callers_who_wait_for_the_same_token_share_its_failure() -> None:
    endpoint = TokenEndpoint()
    endpoint.fails_with = TokenUnavailableError()
    credentials = endpoint.credentials(AGENT)
    endpoint.gate.clear()
    attempts = 0

    async def call() -> None:
        nonlocal attempts
        with pytest.raises(TokenUnavailableError):
            await credentials.for_socket()
        attempts += 1

    async with asyncio.TaskGroup() as tasks:
        for _ in range(50):
            tasks.create_task(call())
        await asyncio.sleep(0)
        endpoint.gate.set()
    assert attempts == 50
    assert endpoint.asked == 1
    endpoint.fails_with = None
    assert token_of(await credentials.for_socket()) == "token-1"


async def test_a_caller_who_leaves_takes_nobody_along() -> None:
    endpoint = TokenEndpoint()
    credentials = endpoint.credentials(AGENT)
    endpoint.gate.clear()
    async with asyncio.TaskGroup() as tasks:
        leaves = tasks.create_task(credentials.for_socket())
        await asyncio.sleep(0)
        stays = tasks.create_task(credentials.for_socket())
        await asyncio.sleep(0)
        leaves.cancel()
        await asyncio.sleep(0)
        endpoint.gate.set()
    assert token_of(stays.result()) == "token-1"


async def test_a_token_endpoint_that_does_not_answer_costs_five_seconds_for_all_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(credentials_module, "MINT_TIMEOUT_S", 0.2)
    endpoint = TokenEndpoint()
    endpoint.gate.clear()
    credentials = endpoint.credentials(AGENT)
    started_at = asyncio.get_running_loop().time()
    results = await asyncio.gather(*(credentials.for_socket() for _ in range(10)), return_exceptions=True)
    assert {type(result) for result in results} == {TokenUnavailableError}
    assert asyncio.get_running_loop().time() - started_at < 1.0


async def test_no_proxy_of_the_environment_sees_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = 0

    async def proxy(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen += 1
        writer.close()

    server = await asyncio.start_server(proxy, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, address)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with server:
        principal = ServicePrincipal("tenant", "client", SecretStr("secret"), "https://localhost:1")
        with pytest.raises(TokenUnavailableError):
            async with asyncio.timeout(30):
                await mint(principal)
    assert seen == 0
