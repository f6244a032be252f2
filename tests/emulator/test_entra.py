"""The token endpoint: its rules, and the real credential of azure-identity against it."""

import asyncio
import sys
from pathlib import Path

import pytest

from tests.emulator.doubles import Doubles
from voicelive_emulator.entra import TokenIssuer
from voicelive_emulator.server import serving
from voicelive_emulator.settings import Settings

FORM = {
    "grant_type": "client_credentials",
    "client_id": "app",
    "client_secret": "secret",
    "scope": "https://ai.azure.com/.default",
}


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def minted(issuer: TokenIssuer) -> str:
    status, body = issuer.answer(FORM)
    assert status == 200
    token = body["access_token"]
    assert isinstance(token, str)
    return token


class TestTokenIssuer:
    def test_mints_a_bearer_token(self) -> None:
        issuer = TokenIssuer(Clock(), lifetime_s=600)
        status, body = issuer.answer(FORM)
        assert status == 200
        assert body["token_type"] == "Bearer"
        assert body["expires_in"] == 600
        assert issuer.is_valid(body["access_token"])

    def test_tokens_differ_and_strangers_are_not_valid(self) -> None:
        issuer = TokenIssuer(Clock(), lifetime_s=600)
        assert minted(issuer) != minted(issuer)
        assert not issuer.is_valid("made-up")
        assert not issuer.is_valid("")

    def test_tokens_expire(self) -> None:
        clock = Clock()
        issuer = TokenIssuer(clock, lifetime_s=600)
        token = minted(issuer)
        clock.now += 599
        assert issuer.is_valid(token)
        clock.now += 1
        assert not issuer.is_valid(token)

    @pytest.mark.parametrize(
        ("change", "status", "error"),
        [
            ({"client_secret": "wrong"}, 401, "invalid_client"),
            ({"client_secret": ""}, 401, "invalid_client"),
            ({"client_id": ""}, 400, "invalid_request"),
            ({"scope": ""}, 400, "invalid_request"),
            ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ],
    )
    def test_refuses(self, change: dict[str, str], status: int, error: str) -> None:
        issuer = TokenIssuer(Clock(), lifetime_s=600, client_secret="secret")
        found, body = issuer.answer({**FORM, **change})
        assert (found, body["error"]) == (status, error)
        assert body["error_description"].startswith(f"AADSTS{body['error_codes'][0]}")
        assert "access_token" not in body


_MINT = """
import asyncio, sys
from azure.core.exceptions import ClientAuthenticationError
from azure.identity.aio import ClientSecretCredential

async def main(port, secret):
    authority = f"https://localhost:{port}"
    async with ClientSecretCredential(
        "11111111-2222-3333-4444-555555555555", "app", secret,
        authority=authority, disable_instance_discovery=True,
    ) as credential:
        try:
            print((await credential.get_token("https://ai.azure.com/.default")).token)
        except ClientAuthenticationError:
            print("refused")

asyncio.run(main(*sys.argv[1:]))
"""


class TestRealCredential:
    async def test_gets_a_token_over_tls(self, doubles: Doubles, tmp_path: Path) -> None:
        settings = Settings(
            port=0, tls_port=0, certificate_file=tmp_path / "authority.pem", client_secret="right"
        )
        async with serving(settings, doubles.models()) as endpoints:
            # The credential reads SSL_CERT_FILE while it is imported, so it needs a process of its own.
            async def mint(secret: str) -> str:
                running = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-c",
                    _MINT,
                    str(endpoints.tls_port),
                    secret,
                    stdout=asyncio.subprocess.PIPE,
                    env={"SSL_CERT_FILE": str(endpoints.certificate_file)},
                )
                output, _ = await asyncio.wait_for(running.communicate(), 60)
                return output.decode().strip()

            assert len(await mint("right")) >= 32
            assert await mint("wrong") == "refused"
