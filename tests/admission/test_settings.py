"""Settings of who may call: what contradicts, and what production does not start with."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.config import SettingsError, settings_from
from tests.processes import PROJECT
from tests.test_config import MODEL, problems_of

HASH = "ab" * 32
TICKET: dict[str, Any] = {**MODEL, "client_auth": "ticket", "ticket_api_key_hashes": HASH}
PRODUCTION: dict[str, Any] = {
    **TICKET,
    "app_env": "production",
    "allowed_origins": "https://shop.example.com",
    "trusted_hosts": "voice.example.com",
}


def warnings_of(**values: object) -> str:
    return "\n".join(settings_from({**MODEL, **values}).warnings())


class TestTickets:
    def test_somebody_must_be_able_to_get_one(self) -> None:
        assert problems_of({**MODEL, "client_auth": "ticket"}) == ["TICKET_API_KEY_HASHES"]

    @pytest.mark.parametrize("by", ["ticket_jwt_key", "ticket_jwks_url"])
    def test_a_signed_token_must_name_audience_and_issuer(self, by: str) -> None:
        value = "https://login.example.com/keys"
        found = problems_of({**TICKET, by: value})
        assert found == ["TICKET_JWT_AUDIENCE", "TICKET_JWT_ISSUER"]
        settings_from({**TICKET, by: value, "ticket_jwt_audience": "a", "ticket_jwt_issuer": "i"})

    def test_tokens_are_signed_in_one_way(self) -> None:
        both = {"ticket_jwt_key": "k" * 32, "ticket_jwks_url": "https://login.example.com/keys"}
        named = {"ticket_jwt_audience": "a", "ticket_jwt_issuer": "i"}
        assert problems_of({**TICKET, **both, **named}) == ["TICKET_JWKS_URL"]

    @pytest.mark.parametrize(
        "url", ["http://login.example.com/keys", "ftp://x/", "keys", "https://u@x/", "https://x:y/"]
    )
    def test_keys_are_fetched_over_https(self, url: str) -> None:
        named = {"ticket_jwt_audience": "a", "ticket_jwt_issuer": "i"}
        assert problems_of({**TICKET, "ticket_jwks_url": url, **named}) == ["TICKET_JWKS_URL"]

    @pytest.mark.parametrize("ttl", ["0", "31", "soon"])
    def test_a_ticket_lives_thirty_seconds_at_most(self, ttl: str) -> None:
        assert problems_of({**TICKET, "ticket_ttl_s": ttl}) == ["TICKET_TTL_S"]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("allowed_origins", "https://shop.example.com/"),
        ("allowed_origins", "*"),
        ("allowed_origins", "null"),
        ("allowed_origins", "https://a.test,shop.example.com"),
        ("trusted_hosts", "https://voice.example.com"),
        ("trusted_hosts", "voice.example.com:443"),
        ("trusted_hosts", "*.example.com"),
        ("trusted_proxies", "*"),
        ("trusted_proxies", "10.0.0.1/8"),
        ("trusted_proxies", "proxy.example.com"),
        ("ticket_api_key_hashes", "abc"),
        ("ticket_api_key_hashes", f"{HASH},not-a-hash"),
        ("max_calls_per_subject", "-1"),
        ("daily_minutes_per_subject", "1441"),
        ("admission_store_file", "/nowhere/at/all.db"),
    ],
)
def test_a_malformed_value_is_told_by_name_and_not_repeated(variable: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings_from({**MODEL, variable: value})
    assert [problem.variable for problem in caught.value.problems] == [variable.upper()]
    if len(value) > 5:
        assert value not in str(caught.value)


class TestOpen:
    def test_off_loopback_it_is_loud(self) -> None:
        assert "WHOEVER REACHES" in warnings_of()
        assert "WHOEVER REACHES" in warnings_of(app_host="192.0.2.1")
        for host in ("127.0.0.1", "::1", "localhost"):
            assert "WHOEVER REACHES" not in warnings_of(app_host=host)
        assert not settings_from(TICKET).warnings()

    def test_what_is_for_tickets_alone_is_told_to_be_unused(self) -> None:
        assert "TICKET_JWT_ISSUER unused" in warnings_of(ticket_jwt_issuer="i")

    def test_a_short_key_is_told(self) -> None:
        named = {"ticket_jwt_audience": "a", "ticket_jwt_issuer": "i"}
        assert "TICKET_JWT_KEY" in warnings_of(**TICKET, ticket_jwt_key="short", **named)


class TestProduction:
    def test_a_safe_combination_starts(self) -> None:
        assert not settings_from(PRODUCTION).warnings()

    @pytest.mark.parametrize(
        ("values", "named"),
        [
            ({"client_auth": "open"}, "CLIENT_AUTH"),
            ({"allowed_origins": ""}, "ALLOWED_ORIGINS"),
            ({"allowed_origins": "http://shop.example.com"}, "ALLOWED_ORIGINS"),
            ({"trusted_hosts": ""}, "TRUSTED_HOSTS"),
            ({"trusted_hosts": "voice.example.com,*"}, "TRUSTED_HOSTS"),
            ({"log_level": "DEBUG"}, "LOG_LEVEL"),
            ({"azure_voicelive_endpoint": "http://127.0.0.1:8765"}, "AZURE_VOICELIVE_ENDPOINT"),
            ({"azure_authority_host": "http://localhost:1"}, "AZURE_AUTHORITY_HOST"),
            (
                {"ticket_jwt_key": "short", "ticket_jwt_audience": "a", "ticket_jwt_issuer": "i"},
                "TICKET_JWT_KEY",
            ),
            (
                {
                    "ticket_jwks_url": "http://localhost/keys",
                    "ticket_jwt_audience": "a",
                    "ticket_jwt_issuer": "i",
                },
                "TICKET_JWKS_URL",
            ),
        ],
    )
    def test_each_unsafe_combination_is_named(self, values: dict[str, str], named: str) -> None:
        assert problems_of({**PRODUCTION, **values}) == [named]

    def test_all_are_told_at_once_before_the_port_is_bound(self, tmp_path: Path) -> None:
        variables = {name.upper(): value for name, value in MODEL.items()} | {
            "APP_ENV": "production",
            "LOG_LEVEL": "DEBUG",
            "TRUSTED_HOSTS": "*",
            "AZURE_VOICELIVE_ENDPOINT": "http://127.0.0.1:1",
            "PYTHONPATH": str(PROJECT),
        }
        ended = subprocess.run(
            [sys.executable, "-m", "app.main"],
            cwd=tmp_path,
            env=variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == 2
        for named in (
            "CLIENT_AUTH",
            "ALLOWED_ORIGINS",
            "TRUSTED_HOSTS",
            "LOG_LEVEL",
            "AZURE_VOICELIVE_ENDPOINT",
        ):
            assert f"  {named}: " in ended.stderr, named
        assert "Traceback" not in ended.stderr + ended.stdout
