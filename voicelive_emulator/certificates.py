"""A certificate for this run: for localhost, signed by an authority that lives as long as the process."""

import os
import ssl
import tempfile
from pathlib import Path

import trustme

_NAMES = ("localhost", "127.0.0.1", "::1")


def server_tls(certificate_file: Path | None) -> tuple[ssl.SSLContext, Path]:
    """Return the server's TLS context, and the file that clients must trust (`SSL_CERT_FILE`).

    The authority's certificate is written to `certificate_file`, or to a temporary file. Raises OSError.
    """
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*_NAMES).configure_cert(context)
    if certificate_file is None:
        descriptor, name = tempfile.mkstemp(prefix="voicelive-emulator-", suffix=".pem")
        os.close(descriptor)
        certificate_file = Path(name)
    authority.cert_pem.write_to_path(certificate_file)
    return context, certificate_file
