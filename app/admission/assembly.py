"""The parts of admission for these settings, and the tasks that they need beside the calls."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from app import open_files
from app.admission.doorkeeper import Doorkeeper
from app.admission.operators import Operators
from app.admission.signing_keys import FetchedKeys
from app.admission.sqlite_store import SqliteStore
from app.admission.ticket_office import TicketOffice
from app.config import Settings
from app.lifecycle import Lifecycle

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Admission:
    """Who lets callers in, and who gives them tickets."""

    doorkeeper: Doorkeeper
    ticket_office: TicketOffice


@asynccontextmanager
async def open_admission(
    settings: Settings, lifecycle: Lifecycle, upstream_retry_after_s: Callable[[], float | None]
) -> AsyncIterator[Admission]:
    """Open the store; when the calls are over, give back what they held. Raises StoreError.

    `upstream_retry_after_s` says when Voice Live is worth another attempt; None: now.
    """
    store = SqliteStore(settings.admission_store_file)
    max_calls = open_files.calls_that_fit(open_files.limit(), settings.max_calls)
    if max_calls < settings.max_calls:
        log.warning("admission.few_files", max_calls=max_calls, remedy="Raise the limit of open files.")
    doorkeeper = Doorkeeper(settings, store, lifecycle, upstream_retry_after_s, max_calls)
    url = settings.ticket_jwks_url
    public_keys = FetchedKeys(url) if url and settings.client_auth == "ticket" else None
    operators = Operators(
        key_hashes=settings.ticket_api_key_hashes,
        shared_key=settings.ticket_jwt_key.get_secret_value() if settings.ticket_jwt_key else None,
        public_keys=public_keys,
        audience=settings.ticket_jwt_audience,
        issuer=settings.ticket_jwt_issuer,
    )
    try:
        async with asyncio.TaskGroup() as tasks:
            beside = [tasks.create_task(doorkeeper.keep_leases())]
            if public_keys is not None:
                beside.append(tasks.create_task(public_keys.keep_fresh()))
            yield Admission(doorkeeper, TicketOffice(operators, store, lifecycle, settings.ticket_ttl_s))
            for task in beside:
                task.cancel()
    finally:
        await doorkeeper.close()
        await store.close()
