"""The second net under the logs: takes credentials, phone numbers and payloads out of any text.

The first net is that nothing logs them. This one is for what libraries quote in their messages and in the
texts of their exceptions. It knows the process's own secrets, which `hide` is told, and the shapes in which
credentials travel.
"""

import re
from collections import deque
from collections.abc import Callable
from typing import Final
from urllib.parse import quote, quote_plus

from pydantic import BaseModel, SecretStr

HIDDEN: Final = "[hidden]"

MIN_SECRET_CHARACTERS: Final = 8
"""A shorter secret is no secret, and taking it out of every text would leave nothing readable."""

MAX_REMEMBERED: Final = 16
"""So many minted tokens are remembered, the newest; all of them are hidden by their shape, too."""

_CREDENTIAL_NAMES: Final = (
    r"api[-_]?key|agent-access-token|access[-_]token|refresh[-_]token|id[-_]token|client[-_]secret"
    r"|client[-_]assertion|password|passwd|secret|token|ticket|authorization|cookie|set-cookie|sig|signature"
)
_PHONE: Final = re.compile(
    r"(?<![\w.:-])(?!\d{1,3}(?:\.\d{1,3}){3}(?!\d))\+?\(?\d(?:[ ().-]{0,2}\d){6,15}(?![\w:])"
)
_PHONE_DIGITS: Final = 9
_PHONE_DIGITS_AFTER_PLUS: Final = 7


def _hide_phone(found: re.Match[str]) -> str:
    number = found.group()
    digits = sum(character.isdigit() for character in number)
    wanted = _PHONE_DIGITS_AFTER_PLUS if number.startswith("+") else _PHONE_DIGITS
    return HIDDEN if digits >= wanted else number


_SHAPES: Final[tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...]] = (
    # The frames that the library `websockets` writes at DEBUG: `< TEXT '{"type":...' [57 bytes]`.
    (re.compile(r"(?s)([<>] (?:TEXT|BINARY|CONT|PING|PONG|CLOSE)) .*"), rf"\1 {HIDDEN}"),
    # `Authorization: Bearer …`, `Basic …`, with any quoting between.
    (re.compile(r"(?i)\b(bearer|basic)(\s+|%20)[\w.~+/=%-]{4,}"), rf"\1 {HIDDEN}"),
    # Tickets and resume tokens as they travel, in the WebSocket subprotocol.
    (re.compile(r"\b(ticket|resume)\.[\w-]{8,}"), rf"\1.{HIDDEN}"),
    # `name=value`, `name: value`, `"name": "value"` and `('name', 'value')`, also of bytes.
    (
        re.compile(
            rf"(?i)(\b(?:{_CREDENTIAL_NAMES})\b\\?['\"]?\s*(?:[=:,]|%3D)\s*b?\\?['\"]?)[^\s&'\",;\\)\]}}]{{4,}}"
        ),
        rf"\1{HIDDEN}",
    ),
    # JSON web tokens, wherever.
    (re.compile(r"\beyJ[\w-]{5,}\.[\w-]{5,}(?:\.[\w-]*)?"), HIDDEN),
    # Anything long and opaque: 256 bits in base64 or hex, speech in base64.
    (re.compile(r"(?<![\w+=-])(?=[\w+=-]*[\dA-Z])[\w+=-]{40,}"), HIDDEN),
    (_PHONE, _hide_phone),
)


class Redactor:
    """What a process has to hide, and the text without it."""

    def __init__(self) -> None:
        self._lasting: set[str] = set()
        self._passing: deque[str] = deque(maxlen=MAX_REMEMBERED)
        self._known: re.Pattern[str] | None = None

    def hide(self, secret: str, *, passing: bool = False) -> None:
        """Hide this from now on; one that is `passing`, such as a token, until many others have come."""
        if len(secret) < MIN_SECRET_CHARACTERS:
            return
        if passing:
            self._passing.append(secret)
        else:
            self._lasting.add(secret)
        spellings = {
            spelling
            for known in (*self._lasting, *self._passing)
            for spelling in (known, quote(known, safe=""), quote_plus(known), repr(known)[1:-1])
        }
        # The longest first, so that no rest of one remains where another is its beginning.
        self._known = re.compile("|".join(map(re.escape, sorted(spellings, key=len, reverse=True))))

    def hide_settings(self, settings: BaseModel) -> None:
        """Hide every setting that is a secret."""
        for name in type(settings).model_fields:
            value = getattr(settings, name)
            if isinstance(value, SecretStr):
                self.hide(value.get_secret_value())

    def redact(self, text: str) -> str:
        """The text without secrets, credentials and phone numbers."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        for shape, replacement in _SHAPES:
            text = shape.sub(replacement, text)
        return text


REDACTOR: Final = Redactor()
"""The process's own, as its logs are."""
