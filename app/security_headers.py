"""Security headers on every response of the gateway: pages, the API, refusals and errors."""

from collections.abc import Awaitable
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
"""Where a response has its own, as the page does, that one counts."""

DOCS_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'unsafe-inline' https://cdn.jsdelivr.net",
        "style-src 'unsafe-inline' https://cdn.jsdelivr.net",
        "img-src data: https://fastapi.tiangolo.com",
        "connect-src 'self'",
        "worker-src blob:",
        "frame-ancestors 'none'",
    )
)
"""FastAPI's pages of the API, which production does not have, bring scripts from elsewhere."""

DOCS_PATHS: Final = ("/docs", "/redoc")

STRICT_TRANSPORT: Final = "max-age=31536000"

_STARTS: Final = ("http.response.start", "websocket.http.response.start")


class SecurityHeaders:
    """ASGI middleware: adds the headers that a response does not have."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """One request or one WebSocket; of the latter only a refusal is a response.

        Not a coroutine, of which every call would keep one.
        """

        async def send_with_headers(message: Message) -> None:
            if message["type"] in _STARTS:
                add_headers(MutableHeaders(scope=message), scope)
            await send(message)

        return self._app(scope, receive, send_with_headers)


def add_headers(headers: MutableHeaders, scope: Scope) -> None:
    """Add to these what they lack. `Strict-Transport-Security` only where the request came over TLS."""
    if scope["path"] in DOCS_PATHS:
        headers.setdefault("Content-Security-Policy", DOCS_POLICY)
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    if scope["scheme"] in ("https", "wss"):
        headers.setdefault("Strict-Transport-Security", STRICT_TRANSPORT)
