"""From a pydantic complaint to the `error` that Voice Live gives: a code, a sentence, a `param`."""

from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from voicelive_emulator.events import ClientError

TAG: Final = "#"
"""Names of union branches begin with it, so that they never show in a `param`."""

_CODES: Final = {
    "missing": "missing_required_parameter",
    "extra_forbidden": "unknown_parameter",
    "union_tag_not_found": "missing_required_parameter",
}


class Strict(BaseModel):
    """An object from a client: unknown fields and near misses of types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())


M = TypeVar("M", bound=BaseModel)


def validate(model: type[M], data: object, param: str = "") -> M:
    """Return `data` as a `model`; raises ClientError whose `param` is a path that begins with `param`."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise _client_error(error, param) from None


def tag_of(data: Any, default: str | None = None) -> str | None:
    """Return the branch of a union for an object with a `type`; None where there is none."""
    kind = data.get("type", default) if isinstance(data, dict) else getattr(data, "type", default)
    return f"{TAG}{kind}" if isinstance(kind, str) else None


def _client_error(error: ValidationError, prefix: str) -> ClientError:
    first = error.errors(include_url=False, include_context=True)[0]
    path = prefix
    for part in first["loc"]:
        if isinstance(part, int):
            path += f"[{part}]"
        elif not part.startswith(TAG):
            path += f".{part}" if path else part
    kind = first["type"]
    if kind in {"union_tag_invalid", "union_tag_not_found"}:
        path += ".type" if path else "type"
        known = str(first.get("ctx", {}).get("expected_tags", "")).replace(TAG, "")
        message = f"'{path}' must be one of {known}." if known else f"'{path}' is missing or not known."
    elif kind == "missing":
        message = f"Missing required parameter: '{path}'."
    elif kind == "extra_forbidden":
        message = f"Unknown parameter: '{path}'."
    else:
        message = f"Invalid value for '{path}': {first['msg']}."
    code = _CODES.get(kind, "invalid_type" if kind.endswith("_type") else "invalid_value")
    return ClientError(code, message, path or None)
