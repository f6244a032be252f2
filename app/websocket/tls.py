"""The certificate with which the gateway serves https and wss itself."""

import ssl
from pathlib import Path


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 and later. Raises OSError for files that cannot be read, are not PEM, or do not match."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # With a password that is wrong, a key that needs one is an error; with none, the terminal would be asked.
    context.load_cert_chain(certificate, key, password=str)
    return context
