"""Which endpoints may be given credentials: a matrix of good ones, mistakes and attacks."""

import pytest

from app.config import SettingsError, settings_from
from app.upstream_addresses import is_below, parse
from tests.test_config import MODEL

GOOD = [
    "https://bank.services.ai.azure.com",
    "https://bank.services.ai.azure.com/",
    "https://bank.services.ai.azure.com:443",
    "https://Bank.Services.AI.Azure.com",
    "https://bank.cognitiveservices.azure.com",
    "https://bank.openai.azure.com",
    "https://eastus2.api.cognitive.microsoft.com",
    "https://bank.cognitiveservices.azure.us",
    "https://bank.cognitiveservices.azure.cn",
    "http://127.0.0.1:8765",
    "http://localhost:8765",
    "https://localhost:8443",
    "http://[::1]:8765",
    "http://127.8.8.8",
    "https://voice.internal.example",
    "https://voice.internal.example:8443/base",
]
BAD = [
    "http://bank.services.ai.azure.com",
    "wss://bank.services.ai.azure.com",
    "ftp://bank.services.ai.azure.com",
    "bank.services.ai.azure.com",
    "https://services.ai.azure.com",
    "https://bank.services.ai.azure.com.evil.example",
    "https://bankservices.ai.azure.com",
    "https://evil-cognitiveservices.azure.com",
    "https://bank.azure.com.evil",
    "https://bank.services.ai.azure.com.",
    "https://bank.services.ai.azure.com:8443",
    "https://bank.services.ai.azure.com:0443x",
    "https://bank.services.ai.azure.com:99999",
    "https://user@bank.services.ai.azure.com",
    "https://bank.services.ai.azure.com@evil.example",
    "https://bank.services.ai.azure.com\\@evil.example",
    "https://evil.example/bank.services.ai.azure.com",
    "https://evil.example#.services.ai.azure.com",
    "https://evil.example?.services.ai.azure.com",
    "https://bank.services.ai.azure.com?api-key=x",
    "https://bank.services.ai.azure.com\t",
    "https://bank.services.ai.azure.com\n",
    " https://bank.services.ai.azure.com",
    "https://b\u00e4nk.services.ai.azure.com",
    "https://bank.services.ai.\u0430zure.com",
    "https://bank.services.ai.azure\u3002com",
    "https://bank..services.ai.azure.com",
    "https://169.254.169.254",
    "http://169.254.169.254/metadata",
    "http://[fe80::1]",
    "https://[::ffff:169.254.169.254]",
    "http://0.0.0.0",
    "http://127.1",
    "http://0x7f000001",
    "http://2130706433",
    "http://localhost.evil.example",
    "https://localhost.",
    "http://voice.internal.example",
    "https://sub.voice.internal.example",
    "https://",
    "https://:443",
    "https:///path",
]


def problems(name: str, value: str) -> list[str]:
    try:
        settings_from(MODEL | {name: value, "upstream_allowed_hosts": "voice.internal.example"})
    except SettingsError as error:
        return [problem.variable for problem in error.problems]
    return []


@pytest.mark.parametrize("endpoint", GOOD)
def test_azure_this_machine_and_named_hosts_are_served(endpoint: str) -> None:
    assert problems("azure_voicelive_endpoint", endpoint) == []


@pytest.mark.parametrize("endpoint", BAD)
def test_everything_else_is_refused_at_start(endpoint: str) -> None:
    assert problems("azure_voicelive_endpoint", endpoint) == ["AZURE_VOICELIVE_ENDPOINT"]


@pytest.mark.parametrize(
    "authority",
    [
        "https://login.microsoftonline.com",
        "https://login.microsoftonline.com/",
        "https://login.microsoftonline.us",
        "https://login.partner.microsoftonline.cn",
        "https://login.chinacloudapi.cn",
        "https://localhost:8443",
        "https://voice.internal.example",
    ],
)
def test_the_sign_in_service_is_azures_or_named(authority: str) -> None:
    assert problems("azure_authority_host", authority) == []


@pytest.mark.parametrize(
    "authority",
    [
        "http://login.microsoftonline.com",
        "https://login.microsoftonline.com.evil.example",
        "https://evil.login.microsoftonline.com",
        "https://login.microsoftonline.com:444",
        "https://login.microsoftonline.com@evil.example",
        "https://login.microsoftonline.com.",
        "https://169.254.169.254",
        "https://login.evil.example",
        "login.microsoftonline.com",
    ],
)
def test_no_other_sign_in_service_gets_the_secret(authority: str) -> None:
    assert problems("azure_authority_host", authority) == ["AZURE_AUTHORITY_HOST"]


def test_a_domain_ends_at_a_dot() -> None:
    assert is_below("a.azure.com", ["azure.com"])
    assert not is_below("azure.com", ["azure.com"])
    assert not is_below("xazure.com", ["azure.com"])


def test_the_connection_goes_to_the_host_that_was_checked() -> None:
    """yarl, which the connection uses, reads the same host and port from every address that is served."""
    from yarl import URL

    for endpoint in GOOD:
        checked, used = parse(endpoint), URL(endpoint)
        assert checked is not None
        assert (checked.scheme, checked.host) == (used.scheme, used.host)
        assert checked.port in (None, used.port)
