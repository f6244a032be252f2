"""Settings that are lists: comma-separated in the environment, each item checked and brought to one form."""

import re
from typing import Annotated, Final

from pydantic import BeforeValidator
from pydantic_settings import NoDecode

from app.admission.addresses import Network, parse_network
from app.admission.origins import host_name, parse_origin

_SHA_256: Final = re.compile(r"[0-9a-fA-F]{64}")


def _items(value: object) -> list[str]:
    items = value.split(",") if isinstance(value, str) else list(value) if isinstance(value, tuple) else []
    return [str(item).strip() for item in items if str(item).strip()]


def _origins(value: object) -> tuple[str, ...]:
    origins = tuple(parse_origin(item) for item in _items(value))
    if None in origins:
        raise ValueError("an origin is a scheme, a host and perhaps a port, with nothing behind it")
    return tuple(origin for origin in origins if origin)


def _hosts(value: object) -> tuple[str, ...]:
    items = _items(value)
    if any(item != "*" and host_name(item) != item.lower() for item in items):
        raise ValueError("a host is a name or an address alone")
    return tuple(item.lower() for item in items)


def _networks(value: object) -> tuple[Network, ...]:
    networks = tuple(parse_network(item) for item in _items(value))
    if None in networks:
        raise ValueError("a proxy is an IP address, or a range of them whose host bits are zero")
    return tuple(network for network in networks if network)


def _key_hashes(value: object) -> tuple[str, ...]:
    items = _items(value)
    if any(_SHA_256.fullmatch(item) is None for item in items):
        raise ValueError("a SHA-256 is 64 hexadecimal digits")
    return tuple(item.lower() for item in items)


Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_origins)]
Hosts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_hosts)]
Networks = Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_networks)]
KeyHashes = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_key_hashes)]
