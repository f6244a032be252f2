"""Logs on stderr, one line per event: JSON, or text for people.

No key, token, text of a call or audio appears in them.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from voicelive_emulator.failures import described


def configure_logs(level: str, *, readable: bool = False) -> None:
    """Log from this level on, what libraries say included. Raises ValueError for a level that is none."""
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"There is no log level {level!r}.")
    render = _for_people() if readable else structlog.processors.JSONRenderer()
    time_format = "%H:%M:%S" if readable else "iso"
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt=time_format, utc=not readable),
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.stdlib.add_log_level,
                structlog.processors.TimeStamper(fmt=time_format, utc=not readable),
                _describe_exception,
                render,
            ]
        )
    )
    logging.basicConfig(handlers=[handler], level=max(number, logging.INFO), force=True)


def _for_people() -> structlog.dev.ConsoleRenderer:
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=20)


def _describe_exception(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Name an exception without its message, which may hold what was said."""
    exc_info = event.pop("exc_info", None)
    if isinstance(exc_info, tuple) and isinstance(exc_info[1], Exception):
        event.update(described(exc_info[1]))
    return event
