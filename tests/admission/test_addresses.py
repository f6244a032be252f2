"""Whose word counts for where a caller comes from."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.admission.addresses import caller_address, forwarded_scheme, limit_key, parse_network

PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
addresses = st.ip_addresses().map(str)
anything = st.text(max_size=20) | addresses | st.just("10.0.0.1")


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["192.0.2.66, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["192.0.2.66", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ['"[2001:db8::1]:4711"'], "2001:db8::1"),
        ("fd00::1", ["2001:db8::1"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1, nonsense"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("", ["198.51.100.1"], ""),
    ],
)
def test_only_what_trusted_proxies_wrote_counts(peer: str, forwarded_for: list[str], address: str) -> None:
    assert caller_address(peer, forwarded_for, PROXIES) == address


@given(addresses, st.lists(anything, max_size=5))
def test_without_trusted_proxies_nobody_can_claim_another_address(peer: str, claimed: list[str]) -> None:
    address = caller_address(peer, claimed, ())
    mapped = getattr(ip_address(peer), "ipv4_mapped", None)
    assert ip_address(address) == (mapped or ip_address(peer))


@given(st.lists(anything.filter(lambda text: "," not in text), max_size=40), addresses)
def test_what_a_caller_writes_before_the_proxy_s_entry_changes_nothing(claims: list[str], real: str) -> None:
    honest = caller_address("10.0.0.1", [real], PROXIES)
    if honest != "10.0.0.1" and not any(ip_address(honest) in network for network in PROXIES):
        assert caller_address("10.0.0.1", [*claims, real], PROXIES) == honest
        assert caller_address("10.0.0.1", [", ".join([*claims, real])], PROXIES) == honest


def test_the_scheme_is_the_proxy_s_word_only_where_it_is_trusted() -> None:
    assert forwarded_scheme("10.0.0.1", "ws", ["https"], PROXIES) == "https"
    assert forwarded_scheme("10.0.0.1", "ws", ["http, WSS"], PROXIES) == "https"
    assert forwarded_scheme("203.0.113.9", "ws", ["https"], PROXIES) == "http"
    assert forwarded_scheme("203.0.113.9", "wss", ["http"], ()) == "https"


def test_an_ipv6_address_counts_with_its_whole_site() -> None:
    assert limit_key("2001:db8:1:2:3:4:5:6") == limit_key("2001:db8:1:2::1") == "2001:db8:1:2::/64"
    assert limit_key("198.51.100.1") == "198.51.100.1"
    assert limit_key("") == ""


@given(st.text(max_size=30))
def test_any_text_is_a_network_or_none(text: str) -> None:
    network = parse_network(text)
    assert network is None or network == ip_network(text)
