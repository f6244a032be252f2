"""Origins and host names, as browsers and attackers write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.admission.origins import (
    host_name,
    is_allowed_origin,
    is_trusted_host,
    own_origin,
    parse_origin,
)

SHOP = "https://shop.example.com"
LOOK_ALIKES = [
    "https://evil.example.net",
    "null",
    "",
    "*",
    "https://shop.example.com.evil.net",
    "https://evilshop.example.com",
    "https://example.com",
    "http://shop.example.com",
    "https://shop.example.com:8443",
    "https://shop.example.com:443",
    "HTTPS://SHOP.EXAMPLE.COM",
    "https://Shop.example.com",
    "https://shop.example.com.",
    "https://shop.example.com/",
    "https://shop.example.com, https://shop.example.com",
    " https://shop.example.com",
    "https://shop.example.com\x00",
    "https://shop.example.com@evil.net",
    "wss://shop.example.com",
]
hosts = st.from_regex(r"[a-z0-9-]{1,12}(\.[a-z0-9-]{1,12}){0,3}", fullmatch=True)
ports = st.integers(1, 65_535)


@pytest.mark.parametrize("origin", LOOK_ALIKES)
def test_what_only_looks_like_an_allowed_origin_is_not_one(origin: str) -> None:
    assert not is_allowed_origin([origin], "http://127.0.0.1:8000", [SHOP])
    assert not is_allowed_origin([origin], SHOP, [])


def test_exactly_one_exact_origin_is_allowed() -> None:
    assert is_allowed_origin([SHOP], None, [SHOP])
    assert is_allowed_origin([SHOP], SHOP, [])
    assert not is_allowed_origin([SHOP, SHOP], SHOP, [SHOP])
    assert not is_allowed_origin([], SHOP, [SHOP])


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("https://Shop.Example.com:443", "https://shop.example.com"),
        ("http://localhost:80", "http://localhost"),
        ("http://localhost:0443", "http://localhost:443"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("https://shop.example.com/", None),
        ("https://*.example.com", None),
        ("https://user@example.com", None),
        ("https://example.com:0", None),
        ("https://example.com:65536", None),
        ("https://", None),
        ("null", None),
        ("shop.example.com", None),
    ],
)
def test_origins_of_the_settings_are_brought_to_the_form_of_browsers(
    written: str, canonical: str | None
) -> None:
    assert parse_origin(written) == canonical


@given(st.text(max_size=40) | st.from_regex(r"[a-z]{1,5}://[\w.:@/*-]*"))
def test_any_text_is_an_origin_in_one_form_or_none(text: str) -> None:
    origin = parse_origin(text)
    if origin is not None:
        assert parse_origin(origin) == origin
        assert is_allowed_origin([text], None, [origin]) == (text == origin)


@given(hosts, ports, st.sampled_from(["http", "https"]))
def test_our_own_origin_is_what_a_browser_makes_of_the_address(host: str, port: int, scheme: str) -> None:
    own = own_origin(scheme, f"{host}:{port}")
    default = {"http": 80, "https": 443}[scheme]
    assert own == (f"{scheme}://{host}" if port == default else f"{scheme}://{host}:{port}")
    assert parse_origin(own or "") == own


@given(st.lists(st.text(max_size=30), max_size=3))
def test_any_hosts_are_trusted_only_if_they_are_one_that_is_listed(sent: list[str]) -> None:
    trusted = is_trusted_host(sent, ["voice.example.com"])
    assert trusted == (len(sent) == 1 and host_name(sent[0]) == "voice.example.com")


@pytest.mark.parametrize(
    ("sent", "trusted"),
    [
        (["voice.example.com"], True),
        (["Voice.Example.com:8000"], True),
        (["voice.example.com."], False),
        (["voice.example.com.evil.net"], False),
        (["voice.example.com/health?"], False),
        (["voice.example.com@evil.net"], False),
        (["voice.example.com:port"], False),
        (["voice.example.com", "voice.example.com"], False),
        ([], False),
    ],
)
def test_hosts(sent: list[str], trusted: bool) -> None:
    assert is_trusted_host(sent, ["voice.example.com"]) == trusted


def test_without_a_list_any_host_is_ours_but_not_two_of_them() -> None:
    assert is_trusted_host(["anything.test:1"], [])
    assert is_trusted_host(["anything.test:1"], ["*"])
    assert not is_trusted_host(["a.test", "b.test"], [])
    assert not is_trusted_host(["a.test/x"], [])
