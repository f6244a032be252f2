"""Structured logs: one JSON object per line and event, with ids and sizes, never speech, text or secrets."""

import logging
import sys

import structlog

# Libraries whose chatter may quote URLs, headers or payloads: nothing below a warning is let through.
QUIET_LOGGERS = ("aiohttp", "asyncio", "azure", "msal", "urllib3", "uvicorn", "websockets")


def _leading_keys(
    logger: object, method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """When, how grave and what come first in every line."""
    del logger, method
    leading = {name: event.pop(name) for name in ("timestamp", "level", "event") if name in event}
    return {**leading, **event}


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
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _leading_keys,
            structlog.processors.JSONRenderer(),
        ],
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    # uvicorn says it of every refusal before the upgrade, which we log ourselves.
    logging.getLogger("uvicorn.error").addFilter(
        lambda record: record.msg != "ASGI callable returned without completing handshake."
    )
    # It writes one line per request with the whole query string.
    logging.getLogger("uvicorn.access").disabled = True
