"""The browser client: `/` and its files under `/static`; the headers allow no foreign or inline code.

A file is read and compressed once; a browser that has it already is told so in a few bytes.
"""

import gzip
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

WEB: Final = Path(__file__).parent / "web"

MEDIA_TYPES: Final = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
"""The kinds of files that are served; the rest of the folder is for those who build on it."""

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
    # "same-origin" makes a browser leave a fresh tab's process for another one when the answer has come,
    # 50 to 100 ms later at the first paint. The page has no cookie and hears no message of an opener.
    "Cross-Origin-Opener-Policy": "unsafe-none",
    "Permissions-Policy": "microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}

FILES: Final = {
    path.relative_to(WEB).as_posix(): path for path in sorted(WEB.rglob("*")) if path.suffix in MEDIA_TYPES
}

router = APIRouter()


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file as it travels. `tag` changes with its content."""

    content: bytes
    compressed: bytes
    tag: str
    media_type: str


@lru_cache(maxsize=256)
def _read(path: Path, changed_ns: int) -> PageFile:
    del changed_ns  # another time is another file
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:16]
    return PageFile(content, gzip.compress(content, mtime=0), f'W/"{digest}"', MEDIA_TYPES[path.suffix])


def respond(request: Request, name: str) -> Response:
    """The file of this name in the folder of the page, as new as it is on disk; 404 where there is none."""
    path = FILES.get(name)
    if path is None:
        return PlainTextResponse("Not Found", status_code=404)
    file = _read(path, path.stat().st_mtime_ns)
    headers = HEADERS | {"ETag": file.tag, "Vary": "Accept-Encoding"}
    if file.tag in (known.strip() for known in request.headers.get("If-None-Match", "").split(",")):
        return Response(status_code=304, headers=headers)
    if "gzip" not in request.headers.get("Accept-Encoding", ""):
        return Response(file.content, headers=headers, media_type=file.media_type)
    return Response(
        file.compressed, headers=headers | {"Content-Encoding": "gzip"}, media_type=file.media_type
    )


async def page(request: Request) -> Response:
    """The page itself."""
    return respond(request, "index.html")


async def page_file(request: Request) -> Response:
    """One of its modules, styles, worklets."""
    return respond(request, request.path_params["name"])


router.add_route("/", page, include_in_schema=False)
router.add_route("/static/{name:path}", page_file, include_in_schema=False)
