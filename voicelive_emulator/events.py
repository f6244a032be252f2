"""Server events as they look on the wire: ids, the common head of an event, errors.

Key order is that of the recorded service: `event_id`, `type`, then the rest. What goes into which
event is decided elsewhere.
"""

import string
from collections.abc import Sequence
from random import Random
from typing import Any, Final

import orjson

Event = dict[str, Any]
"""One event, ready to be written as JSON."""

_BASE62: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
ID_LENGTH: Final = 22
"""Characters after the prefix of most ids that the live service makes."""
_LARGEST_ECHO_BYTES: Final = 1_000_000
"""JavaScript's client of Microsoft breaks at messages of 1 MiB, so no event may be larger."""


class ClientError(Exception):
    """A client event that cannot be carried out. It becomes an `error` event; the session goes on."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        """Take the stable code, a sentence for the developer, and the path of the offending field."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


class Events:
    """Makes events and ids for one session. A seeded `random` gives the same ids every time."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def new_id(self, prefix: str, length: int = ID_LENGTH) -> str:
        """Return `prefix_` and `length` base62 characters."""
        return f"{prefix}_{''.join(self._random.choices(_BASE62, k=length))}"

    def choose(self, options: Sequence[str]) -> str:
        """Return one of several texts."""
        return self._random.choice(options)

    def event(self, event_type: str, /, **fields: Any) -> Event:
        """Return an event with a fresh id; the order of `fields` is the order on the wire."""
        return {"event_id": self.new_id("event"), "type": event_type, **fields}

    def error(self, error: ClientError, event_id: str | None) -> Event:
        """Return the `error` event that answers the client event `event_id`."""
        return self._error("invalid_request_error", error.code, error.message, error.param, event_id)

    def server_error(self, code: str, message: str) -> Event:
        """Return an `error` event that no client event has caused."""
        return self._error("server_error", code, message, None, None)

    def _error(
        self, error_type: str, code: str, message: str, param: str | None, event_id: str | None
    ) -> Event:
        details = {
            "type": error_type,
            "code": code,
            "message": message,
            "param": param,
            "event_id": event_id,
        }
        return self.event("error", error=details)


def check_size(echo: Event, param: str) -> None:
    """Raise ClientError if the event that shows this object would be too large for clients."""
    if len(orjson.dumps(echo)) > _LARGEST_ECHO_BYTES:
        raise ClientError("value_too_large", f"'{param}' is too large to be shown.", param)


def event_id_of(event: object) -> str | None:
    """Return the id that a client gave its event; None where there is none."""
    event_id = event.get("event_id") if isinstance(event, dict) else None
    return event_id if isinstance(event_id, str) else None
