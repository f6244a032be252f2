"""Where credentials may be sent: Azure, this machine, and the hosts that the operator names. Pure.

A wrong or forged address would hand the API key, the client secret and the callers' speech to a stranger, so
it is refused before anything is sent. The form is checked by one strict pattern: no two readers of an address
can then disagree about its host.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

VOICE_LIVE_DOMAINS: Final = (
    "services.ai.azure.com",
    "cognitiveservices.azure.com",
    "openai.azure.com",
    "api.cognitive.microsoft.com",
    # The clouds of the United States' government and of China.
    "services.ai.azure.us",
    "cognitiveservices.azure.us",
    "openai.azure.us",
    "api.cognitive.microsoft.us",
    "cognitiveservices.azure.cn",
    "api.cognitive.azure.cn",
)
"""A resource is a host below one of these."""

SIGN_IN_HOSTS: Final = (
    # azure.identity.AzureAuthorityHosts, and the newer name of the one in China.
    "login.microsoftonline.com",
    "login.microsoftonline.us",
    "login.chinacloudapi.cn",
    "login.partner.microsoftonline.cn",
)

_ADDRESS: Final = re.compile(
    r"(?P<scheme>https?)://(?:(?P<name>[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)|\[(?P<ipv6>[0-9a-f:.]+)\])"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<path>/[A-Za-z0-9._~/-]*)?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Address:
    """A well-formed address. `host` is in lower case, `port` None where none is named."""

    scheme: str
    host: str
    port: int | None


def parse(address: str) -> Address | None:
    """None for what is not plainly scheme, host and perhaps port and path: no user, no query, no space."""
    found = _ADDRESS.fullmatch(address)
    if found is None:
        return None
    host = (found["name"] or found["ipv6"]).lower()
    port = int(found["port"]) if found["port"] else None
    if ".." in host or (port is not None and not 0 < port < 65_536):
        return None
    return Address(found["scheme"].lower(), host, port)


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address, is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_below(host: str, domains: Sequence[str]) -> bool:
    """Whether `host` is a name below one of these domains."""
    return any(host.endswith(f".{domain}") for domain in domains)


def fault_of(
    address: str,
    *,
    domains: Sequence[str] = (),
    hosts: Sequence[str] = (),
    allowed_hosts: Sequence[str] = (),
) -> str | None:
    """What is wrong with this address, or None.

    It must be a host below `domains` or one of `hosts`, with https on its usual port; or one of
    `allowed_hosts`, with https on any port; or this machine.
    """
    parsed = parse(address)
    if parsed is None:
        return "is not an https address of scheme, host and perhaps port and path alone."
    if is_loopback(parsed.host):
        return None
    if parsed.scheme != "https":
        return "is plain http, which would send credentials in the open."
    if parsed.host in allowed_hosts:
        return None
    if not is_below(parsed.host, domains) and parsed.host not in hosts:
        return "is not a host of Azure, and UPSTREAM_ALLOWED_HOSTS does not name it."
    if parsed.port not in (None, 443):
        return "names a port that Azure does not use."
    return None
