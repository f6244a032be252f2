"""Where a caller calls from: the address of the connection, or what a trusted proxy says of it. Pure."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_HOPS: Final = 16
"""Proxies in a row that are looked through; no real chain is as long."""

IPV6_SITE_BITS: Final = 64
"""Whoever has one IPv6 address has all of its /64."""


def parse_network(text: str) -> Network | None:
    """An address or a CIDR range such as 10.0.0.0/8; None for anything else."""
    try:
        return ip_network(text)
    except ValueError:
        return None


def caller_address(peer: str, forwarded_for: Sequence[str], trusted: Sequence[Network]) -> str:
    """The address that the caller, or the nearest proxy which we do not trust, connects from.

    `forwarded_for` are all `X-Forwarded-For` headers, to which every proxy appends whom it serves. They are
    read from their end and only as far as trusted proxies wrote them: the rest is what somebody claims.
    """
    address = _parse(peer)
    if address is None:
        return peer
    entries = ",".join(forwarded_for[-MAX_HOPS:]).rsplit(",", MAX_HOPS)[-MAX_HOPS:]
    while is_trusted(address, trusted) and entries:
        before = _parse(entries.pop())
        if before is None:
            break
        address = before
    return str(address)


def forwarded_scheme(peer: str, scheme: str, forwarded: Sequence[str], trusted: Sequence[Network]) -> str:
    """`http` or `https`, as the caller's browser sees us; `forwarded` are all `X-Forwarded-Proto` headers."""
    address = _parse(peer)
    if forwarded and address is not None and is_trusted(address, trusted):
        scheme = forwarded[-1].rsplit(",", 1)[-1].strip().lower()
    return "https" if scheme in ("https", "wss") else "http"


def is_trusted(address: Address, trusted: Sequence[Network]) -> bool:
    """Whether this address is one of the trusted proxies."""
    return any(address in network for network in trusted if network.version == address.version)


def limit_key(address: str) -> str:
    """What limits per address count by: the address, of an IPv6 address its /64."""
    parsed = _parse(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((parsed, IPV6_SITE_BITS), strict=False))
    return address


def _parse(text: str) -> Address | None:
    """Also with a port, as some proxies write it, and IPv4 in IPv6's clothes as what it is."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
