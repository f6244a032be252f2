"""How a caller is told no: a plain HTTP answer instead of the upgrade."""

from dataclasses import dataclass

from pydantic import BaseModel

from app.errors import CATALOGUE, ErrorCode


@dataclass(frozen=True, slots=True)
class Refusal:
    """A plain HTTP answer. `reason` is for the log; `message` is a sentence of ours that says more."""

    code: ErrorCode
    reason: str = ""
    retry_after_s: int | None = None
    message: str | None = None
    param: str | None = None

    @property
    def status(self) -> int:
        """The HTTP status."""
        return CATALOGUE[self.code].http_status or 503

    @property
    def body(self) -> dict[str, dict[str, str]]:
        """The JSON body."""
        message = self.message or CATALOGUE[self.code].message
        param = {"param": self.param} if self.param else {}
        return {"error": {"code": self.code.value, "message": message, **param}}

    @property
    def headers(self) -> dict[str, str]:
        """`Retry-After` in whole seconds, where trying again helps."""
        retry_after_ms = CATALOGUE[self.code].retry_after_ms
        if self.retry_after_s is None and not retry_after_ms:
            return {}
        return {"Retry-After": str(max(1, self.retry_after_s or (retry_after_ms or 0) // 1000))}


class ErrorDetails(BaseModel):
    """What went wrong. `code` is stable, `message` is for a person, `param` names the field that is wrong."""

    code: ErrorCode
    message: str
    param: str | None = None


class ErrorBody(BaseModel):
    """The body of a refusal, for the description of the API."""

    error: ErrorDetails
