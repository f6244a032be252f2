"""A certificate for this run: for localhost, signed by an authority that lives as long as the process."""

import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import trustme

_NAMES: Final = ("localhost", "127.0.0.1", "::1")


@contextmanager
def server_tls(certificate_file: Path | None) -> Iterator[tuple[ssl.SSLContext, Path]]:
    """Give the server's TLS context, and the file that clients must trust (`SSL_CERT_FILE`).

    The authority's certificate is written to `certificate_file`, or to a temporary file that is gone
    after the block. Raises OSError.
    """
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*_NAMES).configure_cert(context)
    if certificate_file is not None:
        authority.cert_pem.write_to_path(certificate_file)
        yield context, certificate_file
        return
    with tempfile.TemporaryDirectory(prefix="voicelive-emulator-") as folder:
        certificate_file = Path(folder) / "authority.pem"
        authority.cert_pem.write_to_path(certificate_file)
        yield context, certificate_file
