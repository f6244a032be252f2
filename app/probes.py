"""The probes: `/health` says that the process lives, `/ready` whether new calls are welcome."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from app.lifecycle import Lifecycle, Phase

router = APIRouter()


@router.get("/health")
async def health() -> dict[str, str]:
    """The process lives."""
    return {"status": "healthy"}


class Readiness(BaseModel):
    """`status`: ready, or why not. `ticket_required` is there where it is true."""

    status: str
    ticket_required: bool = False


@router.get(
    "/ready",
    response_model=Readiness,
    responses={503: {"model": Readiness, "description": "starting, draining or misconfigured"}},
)
async def ready(request: Request) -> JSONResponse:
    """New calls are welcome; `ticket_required` where each needs a ticket."""
    state = request.app.state
    lifecycle: Lifecycle = state.lifecycle
    status = lifecycle.phase.value
    if lifecycle.phase is Phase.READY and state.endpoint.circuit.is_misconfigured:
        status = "misconfigured"
    answer: dict[str, object] = {"status": status}
    if state.settings.client_auth == "ticket":
        answer["ticket_required"] = True
    return JSONResponse(answer, status_code=200 if status == Phase.READY.value else 503)
