"""Each defence matters: without it, the check that proves it turns red. The list is in `tests/README.md`."""

import asyncio
import dataclasses
from collections.abc import Callable

import pytest
from starlette.datastructures import MutableHeaders

from app import redaction, security_headers, telemetry, upstream_addresses
from app.admission import addresses, origins, sqlite_store
from app.redaction import REDACTOR
from tests import test_supply_chain, test_upstream_addresses
from tests.admission import test_strangers, test_tickets
from tests.reliability import faults
from tests.reliability.scene import Phase

Patch = pytest.MonkeyPatch
SECRET = "key-canary-4711-of-defences"
JWT = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl"
FOR_EVER = 10**6


def played(name: str, phase: Phase, **without: float) -> None:
    """One row of the table of faults, with a constant of the gateway that takes the defence away."""
    (fault,) = (fault for fault in faults.FAULTS if fault.name == name)
    asyncio.run(faults.run(dataclasses.replace(fault, timers=fault.timers | without), phase, 1))


def shown(value: str) -> None:
    line = telemetry._safe({"event": value})
    assert "canary" not in str(line)
    assert JWT not in str(line)
    assert str(line).isprintable()
    assert len(str(line)) < 2000


def without_known_secrets(patch: Patch) -> None:
    REDACTOR.hide(SECRET)
    patch.setattr(REDACTOR, "_known", None)
    shown(f"refused {SECRET}")


def without_shapes(patch: Patch) -> None:
    patch.setattr(redaction, "_SHAPES", ())
    shown(f"refused {JWT}")


def without_escapes(patch: Patch) -> None:
    patch.setattr(telemetry, "_escaped", lambda character, **_: character)
    text = telemetry._safe_text("one\r\ntwo\x1b[31m")
    assert text.isprintable()


def without_a_cap(patch: Patch) -> None:
    patch.setattr(telemetry, "MAX_TEXT_CHARACTERS", FOR_EVER)
    shown("a b " * 5000)


def without_security_headers(patch: Patch) -> None:
    patch.setattr(security_headers, "HEADERS", {})
    headers = MutableHeaders()
    security_headers.add_headers(headers, {"path": "/health", "scheme": "http"})
    assert headers["X-Content-Type-Options"] == "nosniff"


def without_floors(patch: Patch) -> None:
    patch.setattr(test_supply_chain, "floors", list)
    test_supply_chain.test_a_version_with_a_hole_is_noticed()


def without_a_limit_of_bad_messages(patch: Patch) -> None:
    played("nonsense without end", Phase.LISTENING, MAX_BAD_MESSAGES=FOR_EVER)


def without_a_limit_of_malformed_events(patch: Patch) -> None:
    played("much malformed JSON", Phase.LISTENING, MAX_MALFORMED_EVENTS=FOR_EVER)


def without_pings_to_the_caller(patch: Patch) -> None:
    played("caller half-open", Phase.LISTENING, PING_S=FOR_EVER)


def without_pings_to_voice_live(patch: Patch) -> None:
    played("upstream half-open", Phase.LISTENING, PING_AFTER_S=FOR_EVER)


def without_a_limit_of_events(patch: Patch) -> None:
    played("an event of 5 MiB", Phase.LISTENING, MAX_EVENT_BYTES=2**30)


def without_exact_origins(patch: Patch) -> None:
    patch.setattr(origins, "is_allowed_origin", lambda *_: True)
    asyncio.run(test_strangers.TestOrigins().test_look_alikes_are_refused_without_contact_to_voice_live())


def without_single_use(patch: Patch) -> None:
    kept = "SELECT subject, origin, campaign FROM ticket WHERE hash = :hash"
    patch.setattr(sqlite_store, "_TAKE_TICKET", kept)
    asyncio.run(test_tickets.TestCalling().test_with_a_ticket_one_call_can_be_made())


def without_a_limit_of_calls(patch: Patch) -> None:
    patch.setattr(sqlite_store, "_CALLS_OF_SUBJECT", "SELECT 0, 0")
    asyncio.run(test_tickets.TestLimits().test_calls_of_a_subject())


def without_doubt_of_forwarded_addresses(patch: Patch) -> None:
    patch.setattr(addresses, "is_trusted", lambda *_: True)
    asyncio.run(test_tickets.TestLimits().test_calls_of_an_address_and_who_may_claim_another())


def without_a_list_of_hosts_that_get_credentials(patch: Patch) -> None:
    patch.setattr(upstream_addresses, "is_below", lambda *_: True)
    for endpoint in test_upstream_addresses.BAD:
        test_upstream_addresses.test_everything_else_is_refused_at_start(endpoint)


DEFENCES: list[Callable[[Patch], None]] = [
    without_known_secrets,
    without_shapes,
    without_escapes,
    without_a_cap,
    without_security_headers,
    without_floors,
    without_a_limit_of_bad_messages,
    without_a_limit_of_malformed_events,
    without_pings_to_the_caller,
    without_pings_to_voice_live,
    without_a_limit_of_events,
    without_exact_origins,
    without_single_use,
    without_a_limit_of_calls,
    without_doubt_of_forwarded_addresses,
    without_a_list_of_hosts_that_get_credentials,
]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("defence", DEFENCES, ids=lambda defence: defence.__name__)
def test_its_absence_is_noticed(defence: Callable[[Patch], None], monkeypatch: Patch) -> None:
    monkeypatch.setattr(faults, "LATEST_S", 4.0)
    monkeypatch.setattr(faults, "BILLING_STOPS_S", 4.0)
    with pytest.raises((AssertionError, KeyError, TimeoutError, BaseExceptionGroup)):
        defence(monkeypatch)
