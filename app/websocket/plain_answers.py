"""Answers below the application, to what is no request or no handshake. They look like its own."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import orjson
from starlette.datastructures import MutableHeaders
from websockets.datastructures import Headers
from websockets.http11 import Response

from app.admission.refusals import Refusal
from app.errors import ErrorCode
from app.security_headers import add_headers

_CODES: Final[Mapping[HTTPStatus, ErrorCode]] = {
    HTTPStatus.INTERNAL_SERVER_ERROR: ErrorCode.INTERNAL,
    HTTPStatus.SERVICE_UNAVAILABLE: ErrorCode.SERVER_DRAINING,
}
"""Of every other status the client is the cause."""


def plain_answer(status: HTTPStatus, scheme: str, more: Mapping[str, str] | None = None) -> Response:
    """The answer with this status, after which the connection is closed.

    `scheme` is that of the connection: http, https, ws or wss. `more` headers go before the usual ones.
    """
    refusal = Refusal(_CODES.get(status, ErrorCode.BAD_REQUEST))
    body = orjson.dumps(refusal.body)
    usual = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
    headers = MutableHeaders({**(more or {}), **refusal.headers, **usual})
    add_headers(headers, {"path": "", "scheme": scheme})
    return Response(status.value, status.phrase, Headers(headers.items()), body)
