"""Structured logs: one JSON object per line and event, with ids and sizes, never speech, text or secrets.

What libraries write passes the same way: below a warning nothing of theirs is let through, and every value
of every line is redacted, its control characters are escaped and its length is bounded.
"""

import logging
import sys
import threading
import unicodedata
from collections.abc import Mapping
from types import TracebackType
from typing import Final

import orjson
import structlog

from app.redaction import REDACTOR

OUR_LOGGERS: Final = ("app", "__main__")
"""All others are libraries, whose chatter may quote URLs, headers or payloads."""

MAX_TEXT_CHARACTERS: Final = 1_000
MAX_TRACEBACK_CHARACTERS: Final = 16_000
MAX_READ_CHARACTERS: Final = 256_000
"""Of a longer text only the length is told: redacting it would take too long."""
MAX_ITEMS: Final = 100
MAX_DEPTH: Final = 4

_ESCAPED_CATEGORIES: Final = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Control, formatting (the directions of writing too), surrogate and unassigned characters, line ends."""

log = structlog.get_logger(__name__)


def configure_logs(level: str) -> None:
    """Send every logger of the process to standard output as JSON lines, ours from `level` on."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = _JsonLines(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _safe_line],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level]))
    for name in OUR_LOGGERS:
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(capture=True)
    sys.excepthook, sys.unraisablehook = _log_uncaught, _log_unraisable
    threading.excepthook = _log_uncaught_in_thread
    # uvicorn says it of every refusal before the upgrade, which we log ourselves.
    logging.getLogger("uvicorn.error").addFilter(
        lambda record: record.msg != "ASGI callable returned without completing handshake."
    )
    # It writes one line per request with the whole query string.
    logging.getLogger("uvicorn.access").disabled = True
    # It quotes what Entra answers. What went wrong it raises, too, and we log that.
    logging.getLogger("azure").setLevel(logging.CRITICAL + 1)


class _JsonLines(logging.StreamHandler):  # type: ignore[type-arg]
    """Standard output. A record that cannot be formatted is counted by a line of its own, and not quoted."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (the library's name)
        """Called by logging, whose own prints the record's arguments as they are."""
        line = {"level": "error", "event": "log.unusable_record", "logger": record.name}
        self.stream.write(orjson.dumps(line).decode() + self.terminator)


def _log_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
        return
    log.critical("process.failed", exc_info=(kind, error, traceback))


def _log_uncaught_in_thread(failed: threading.ExceptHookArgs) -> None:
    if failed.exc_value is not None:
        log.critical("thread.failed", exc_info=(failed.exc_type, failed.exc_value, failed.exc_traceback))


def _log_unraisable(ignored: "sys.UnraisableHookArgs") -> None:
    if ignored.exc_value is not None:
        log.error("process.ignored", exc_info=(ignored.exc_type, ignored.exc_value, ignored.exc_traceback))


def _safe_line(logger: object, method: str, event: structlog.typing.EventDict) -> str:
    """The last step of every line: when, how grave and what come first, and every value is safe to show."""
    del logger, method
    leading = {name: event.pop(name) for name in ("timestamp", "level", "event") if name in event}
    return orjson.dumps(_safe({**leading, **event})).decode()


def _safe(value: object, name: str = "", depth: int = 0) -> object:
    """This value in JSON's types, without secrets, control characters and excess."""
    if value is None or isinstance(value, bool | int | float):
        return value if not isinstance(value, int) or abs(value) < 2**53 else str(value)
    if name == "timestamp" and depth == 1:
        return value
    if depth < MAX_DEPTH and isinstance(value, Mapping):
        items = list(value.items())[:MAX_ITEMS]
        return {_safe_text(str(key)): _safe(item, str(key), depth + 1) for key, item in items}
    if depth < MAX_DEPTH and isinstance(value, list | tuple | set | frozenset):
        return [_safe(item, name, depth + 1) for item in list(value)[:MAX_ITEMS]]
    is_traceback = name in ("exception", "stack") and depth == 1
    return _safe_text(value if isinstance(value, str) else repr(value), is_traceback=is_traceback)


def _safe_text(text: str, *, is_traceback: bool = False) -> str:
    if len(text) > MAX_READ_CHARACTERS:
        return f"({len(text)} characters)"
    limit = MAX_TRACEBACK_CHARACTERS if is_traceback else MAX_TEXT_CHARACTERS
    # Redacted as a whole, lest a cut through a secret hides it from the net.
    text = REDACTOR.redact(text)
    if len(text) > limit:
        # The end of a traceback says what happened.
        text = f"…{text[-limit:]}" if is_traceback else f"{text[:limit]}… ({len(text)} characters)"
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(character, is_traceback=is_traceback) for character in text)


def _escaped(character: str, *, is_traceback: bool) -> str:
    if is_traceback and character == "\n":
        return character
    if unicodedata.category(character) in _ESCAPED_CATEGORIES:
        return character.encode("unicode_escape", "surrogatepass").decode()
    return character
