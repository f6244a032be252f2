"""Web origins and host names: read, brought to one form, compared. Pure.

A browser says in `Origin` which page opens a socket (RFC 6454); the page itself cannot change it. It is
compared as a whole, character by character: a browser writes every origin in one form only.
"""

import re
from collections.abc import Collection, Sequence
from typing import Final

_NAME: Final = r"(?P<name>[a-z0-9._-]+|\[[0-9a-f:.]+\])"
_HOST: Final = re.compile(rf"{_NAME}(?::(?P<port>\d{{1,5}}))?", re.ASCII)
_ORIGIN: Final = re.compile(rf"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>{_HOST.pattern})", re.ASCII)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
MAX_ORIGIN_CHARACTERS: Final = 300


def parse_origin(text: str) -> str | None:
    """The origin as a browser writes it: lower case, without its scheme's own port. Else None."""
    match = _ORIGIN.fullmatch(text.lower()) if len(text) <= MAX_ORIGIN_CHARACTERS else None
    return None if match is None else own_origin(match["scheme"], match["host"])


def own_origin(scheme: str, host: str) -> str | None:
    """The origin of what is served at this `Host`, in a browser's form; None where that is not a host."""
    match = _HOST.fullmatch(host.lower()) if len(host) <= MAX_ORIGIN_CHARACTERS else None
    if match is None:
        return None
    port = int(match["port"]) if match["port"] else None
    if port is not None and not 1 <= port <= 65_535:
        return None
    if port is None or port == _DEFAULT_PORTS.get(scheme):
        return f"{scheme}://{match['name']}"
    return f"{scheme}://{match['name']}:{port}"


def host_name(host: str) -> str | None:
    """The name in a `Host` header, without its port; None where that is not a host."""
    match = _HOST.fullmatch(host.lower()) if len(host) <= MAX_ORIGIN_CHARACTERS else None
    return match["name"] if match else None


def is_trusted_host(hosts: Sequence[str], trusted: Collection[str]) -> bool:
    """Whether a request with these `Host` headers is meant for us. Empty `trusted`: any one host is."""
    if len(hosts) != 1 or (name := host_name(hosts[0])) is None:
        return False
    return not trusted or "*" in trusted or name in trusted


def is_allowed_origin(origins: Sequence[str], own: str | None, allowed: Collection[str]) -> bool:
    """Whether a page of this origin may call: one that is listed, or the one we serve ourselves (`own`).

    `origins` are all `Origin` headers of the request: a browser sends one.
    """
    return len(origins) == 1 and (origins[0] in allowed or origins[0] == own)
