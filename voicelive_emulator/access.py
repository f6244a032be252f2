"""May this request open a session, and which one? Decided before the upgrade, by real HTTP statuses.

Pure. Voice Live takes a credential as `api-key` (header or query) or as `Authorization: Bearer`
(header, or query for browsers); what is to answer is named in the query.
"""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from voicelive_emulator.session_config import AgentIdentity

Mode = Literal["model", "classic", "agent"]
_BEARER: Final = "bearer "


@dataclass(frozen=True, slots=True)
class Admission:
    """A session to open."""

    mode: Mode
    model: str | None
    api_version: str | None
    agent: AgentIdentity | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer instead of an upgrade."""

    status: int
    code: str
    message: str


class Access:
    """The rules of one emulator."""

    def __init__(
        self, api_key: str | None, is_valid_token: Callable[[str], bool], *, agent_api_keys: bool = False
    ) -> None:
        """Take the only key to accept, None for any; and whether a token was minted here and is alive."""
        self._api_key = api_key
        self._agent_api_keys = agent_api_keys
        self._is_valid_token = is_valid_token

    def decide(self, query: Mapping[str, str], headers: Mapping[str, str]) -> Admission | Refusal:
        """Return what the request gets; `headers` are looked up without regard to case."""
        admission = _admission(query)
        if isinstance(admission, Refusal):
            return admission
        key = headers.get("api-key") or query.get("api-key")
        authorization = headers.get("Authorization") or query.get("Authorization") or ""
        bearer = authorization[len(_BEARER) :] if authorization.lower().startswith(_BEARER) else None
        if admission.mode == "agent" and not (self._agent_api_keys and self._is_key(key)):
            if bearer is None and key is not None:
                return _unauthorized("An agent cannot be reached with an API key; use an Entra token.")
            if bearer is None or not self._is_valid_token(bearer):
                return _unauthorized("The token is missing, unknown or expired.")
            return admission
        # OpenAI's clients put the key where a token goes.
        if not any(self._is_key(value) for value in (key, bearer)) and not self._is_token(bearer):
            return _unauthorized("The key or token is missing or wrong.")
        if admission.mode == "classic" and not self._is_token(query.get("agent-access-token")):
            return _unauthorized("The agent access token is missing, unknown or expired.")
        return admission

    def _is_key(self, value: str | None) -> bool:
        if not value:
            return False
        return self._api_key is None or hmac.compare_digest(value.encode(), self._api_key.encode())

    def _is_token(self, value: str | None) -> bool:
        return bool(value) and self._is_valid_token(value or "")


def _admission(query: Mapping[str, str]) -> Admission | Refusal:
    api_version = query.get("api-version")
    project = query.get("agent-project-name")
    if "agent-name" in query:
        if not project or not query["agent-name"]:
            return Refusal(400, "invalid_request", "agent-name and agent-project-name belong together.")
        name = query["agent-name"]
        agent = AgentIdentity(name, name, project, query.get("conversation-id", ""))
        return Admission("agent", None, api_version, agent)
    if "agent-id" in query:
        if not project or not query["agent-id"]:
            return Refusal(400, "invalid_request", "agent-id and agent-project-name belong together.")
        agent = AgentIdentity(query["agent-id"], query["agent-id"], project)
        return Admission("classic", None, api_version, agent)
    model = query.get("model") or query.get("deployment")
    if not model:
        return Refusal(400, "invalid_request", "The query names neither a model nor an agent.")
    return Admission("model", model, api_version, None)


def _unauthorized(message: str) -> Refusal:
    return Refusal(401, "unauthorized", message)
