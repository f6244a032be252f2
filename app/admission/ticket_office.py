"""`POST /api/tickets`: the operator's own system asks for a ticket, and hands it to the caller."""

import time
from typing import Annotated, Final

import orjson
import structlog
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from pydantic import AfterValidator, BaseModel, Field, ValidationError

from app.admission import decision
from app.admission.operators import KeysUnavailableError, NotAuthenticatedError, Operators
from app.admission.origins import MAX_ORIGIN_CHARACTERS, parse_origin
from app.admission.refusals import ErrorBody, Refusal
from app.admission.store import AdmissionStore, StoreError
from app.admission.tickets import Grant, bearer_of, hash_ticket, new_ticket
from app.errors import ErrorCode
from app.lifecycle import Lifecycle, Phase

MAX_BODY_BYTES: Final = 4 * 1024
MAX_NAME_CHARACTERS: Final = 256

log = structlog.get_logger(__name__)


ORIGIN_PATTERN: Final = (
    r"^[A-Za-z][A-Za-z0-9+.-]*://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])"
    r"(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?$"
)
"""For the description of the API; `parse_origin` decides."""


def _origin(text: str | None) -> str | None:
    if text is None:
        return None
    origin = parse_origin(text)
    if origin is None:
        raise ValueError("not an origin")
    return origin


class TicketRequest(BaseModel):
    """Who will call, from where, and for which campaign."""

    subject: str = Field(
        min_length=1,
        max_length=MAX_NAME_CHARACTERS,
        description="your own id of the caller: limits count by it",
    )
    origin: Annotated[str | None, AfterValidator(_origin)] = Field(
        None,
        description="the origin of the page that calls; null for an app that is no page",
        json_schema_extra={"pattern": ORIGIN_PATTERN, "maxLength": MAX_ORIGIN_CHARACTERS},
    )
    campaign: str | None = Field(None, max_length=MAX_NAME_CHARACTERS, description="what the call is for")


class Ticket(BaseModel):
    """Permission for one call."""

    ticket: str
    expires_in_s: int


class RefusedError(Exception):
    """No ticket; `refusal` is the answer."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


class TicketOffice:
    """Issues tickets to operators."""

    def __init__(self, operators: Operators, store: AdmissionStore, lifecycle: Lifecycle, ttl_s: int) -> None:
        self._operators = operators
        self._store = store
        self._lifecycle = lifecycle
        self._ttl_s = ttl_s

    async def issue(self, request: Request) -> Ticket:
        """A ticket for this request. Raises RefusedError."""
        if self._lifecycle.phase is not Phase.READY:
            raise RefusedError(decision.NOT_READY)
        try:
            operator = self._operators.authenticate(_credential_of(request))
        except NotAuthenticatedError as error:
            raise RefusedError(Refusal(ErrorCode.UNAUTHORIZED, str(error))) from None
        except KeysUnavailableError:
            raise RefusedError(Refusal(ErrorCode.AUTH_UNAVAILABLE, "signing keys")) from None
        wanted = await _read(request)
        if operator.subject is not None and operator.subject != wanted.subject:
            other = "The token names another subject."
            raise RefusedError(Refusal(ErrorCode.FORBIDDEN, "subject", message=other, param="subject"))
        ticket = new_ticket()
        grant = Grant(wanted.subject, wanted.origin, wanted.campaign)
        try:
            now = time.monotonic()
            await self._store.put_ticket(hash_ticket(ticket), grant, now + self._ttl_s, now)
        except StoreError as error:
            log.error("admission.store_failed", reason=str(error))  # noqa: TRY400
            raise RefusedError(decision.NO_STORE) from None
        return Ticket(ticket=ticket, expires_in_s=self._ttl_s)


def _credential_of(request: Request) -> str | None:
    """The API key or the token: `Authorization: Bearer …`, of an API key also `X-API-Key`."""
    return bearer_of(request.headers.get("Authorization", "")) or request.headers.get("X-API-Key")


async def _read(request: Request) -> TicketRequest:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise RefusedError(_bad(f"The body must have at most {MAX_BODY_BYTES} bytes."))
    try:
        return TicketRequest.model_validate(orjson.loads(body))
    except orjson.JSONDecodeError:
        raise RefusedError(_bad("The body must be one JSON object.")) from None
    except ValidationError as error:
        location = error.errors(include_input=False)[0]["loc"]
        if not location:
            raise RefusedError(_bad("The body must be one JSON object.")) from None
        param = str(location[0])
        description = TicketRequest.model_fields[param].description
        raise RefusedError(_bad(f"`{param}` is not usable. It is {description}.", param)) from None


def _bad(message: str, param: str | None = None) -> Refusal:
    return Refusal(ErrorCode.BAD_REQUEST, "body", message=message, param=param)


router = APIRouter()


@router.post(
    "/api/tickets",
    response_model=Ticket,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": TicketRequest.model_json_schema()}},
        },
    },
    # For the description alone: the office looks at what is shown.
    dependencies=[Depends(HTTPBearer(auto_error=False, description="an API key, or a signed token"))],
    responses={
        code: {"description": text, "model": ErrorBody}
        for code, text in {
            400: "bad body",
            401: "not authenticated",
            403: "not for this subject",
            503: "try again",
        }.items()
    },
)
async def issue_ticket(request: Request) -> JSONResponse:
    """A ticket for one call, under `Authorization: Bearer` with an API key or a JWT of yours."""
    office: TicketOffice = request.app.state.ticket_office
    try:
        ticket = await office.issue(request)
    except RefusedError as error:
        refusal = error.refusal
        log.info("ticket.refused", code=refusal.code.value, reason=refusal.reason)
        challenge = {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else {}
        return JSONResponse(refusal.body, refusal.status, headers=refusal.headers | challenge)
    return JSONResponse(ticket.model_dump())
