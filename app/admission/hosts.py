"""Requests for hosts that are not ours: answered with 400 before anything looks at them."""

from collections.abc import Awaitable, Sequence
from typing import Final

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app.admission import origins
from app.admission.decision import UNKNOWN_HOST

PROBES: Final = ("/health", "/ready")
"""Probes of a load balancer or of Kubernetes ask by address, and what they learn is no secret."""


class TrustedHosts:
    """ASGI middleware for HTTP; a call's handshake is judged with everything else that it shows."""

    def __init__(self, app: ASGIApp, trusted: Sequence[str]) -> None:
        """`trusted`: host names without a port; empty for any."""
        self._app = app
        self._trusted = trusted

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """One request. Not a coroutine, of which every call would keep one."""
        app = self._app
        if scope["type"] == "http" and scope["path"] not in PROBES:
            hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
            if not origins.is_trusted_host(hosts, self._trusted):
                app = JSONResponse(UNKNOWN_HOST.body, status_code=UNKNOWN_HOST.status)
        return app(scope, receive, send)
