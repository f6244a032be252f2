"""The browser client: `/` and its files under `/static`; the headers allow no foreign or inline code."""

from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, Response
from starlette.staticfiles import StaticFiles

WEB: Final = Path(__file__).parent / "web"

HEADERS: Final = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            "connect-src 'self' ws: wss:",
            "worker-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    ),
    "Permissions-Policy": "microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}

router = APIRouter()


@router.get("/", include_in_schema=False)
def page() -> Response:
    """The page, read anew so that a change is seen at once."""
    return Response((WEB / "index.html").read_bytes(), media_type="text/html", headers=HEADERS)


class PageFiles(StaticFiles):
    """The page's modules, styles and worklets, under the page's own headers."""

    def __init__(self) -> None:
        super().__init__(directory=WEB)

    async def get_response(self, path: str, scope: MutableMapping[str, Any]) -> Response:
        """One file."""
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response
