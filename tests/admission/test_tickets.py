"""Tickets at the gateway: how one gets one, and what it opens."""

import asyncio
import re
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest

from app.admission import doorkeeper
from app.admission.tickets import new_ticket
from tests.admission.bank import API_KEY, SETTINGS, SHOP, ask, bearing, offering, ticket
from tests.admission.test_strangers import refused
from tests.gateway import RawCaller, RunningGateway, running_gateway
from tests.scripted_voice_live import ScriptedVoiceLive, scripted_voice_live
from tests.test_main import quiet, upgrade

BODY = {"subject": "alice", "origin": SHOP, "campaign": "spring"}
FROM_SHOP = ("Origin", SHOP)


class TestAsking:
    async def test_an_operator_gets_a_ticket(self) -> None:
        async with running_gateway(ScriptedVoiceLive().settings(**SETTINGS, ticket_ttl_s=20)) as gateway:
            status, answer = await ask(gateway, BODY)
            assert (status, set(answer)) == (200, {"ticket", "expires_in_s"})
            assert re.fullmatch(r"[\w-]{43}", answer["ticket"])
            assert answer["expires_in_s"] == 20
            assert (await ask(gateway, BODY))[1]["ticket"] != answer["ticket"]
            assert (await ask(gateway, {"subject": "app"}, None, **{"X-API-Key": API_KEY}))[0] == 200

    @pytest.mark.parametrize("credential", [None, "", "wrong", API_KEY.upper(), "x" * 8_000])
    async def test_nobody_else_does(self, credential: str | None) -> None:
        async with running_gateway(ScriptedVoiceLive().settings(**SETTINGS)) as gateway:
            status, answer = await ask(gateway, BODY, credential)
            assert (status, answer["error"]["code"]) == (401, "unauthorized")

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            ([], None),
            ("alice", None),
            ({}, "subject"),
            ({"subject": ""}, "subject"),
            ({"subject": 7}, "subject"),
            ({"subject": "a" * 257}, "subject"),
            ({"subject": "a", "origin": "shop.example.com"}, "origin"),
            ({"subject": "a", "origin": "https://shop.example.com/path"}, "origin"),
            ({"subject": "a", "campaign": ["x"]}, "campaign"),
            ({"subject": "a", "note": "x" * 5_000}, None),
        ],
    )
    async def test_a_bad_body_is_told(self, body: object, param: str | None) -> None:
        async with running_gateway(ScriptedVoiceLive().settings(**SETTINGS)) as gateway:
            status, answer = await ask(gateway, body)
            assert (status, answer["error"]["code"]) == (400, "bad_request")
            assert answer["error"].get("param") == param

    async def test_pages_that_may_call_may_ask_too(self) -> None:
        async with running_gateway(ScriptedVoiceLive().settings(**SETTINGS)) as gateway:
            url = f"{gateway.address}/api/tickets"
            asked = {
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization",
            }
            for origin, status in [(SHOP, 200), ("https://evil.example.net", 400)]:
                async with gateway.http.options(url, headers={"Origin": origin, **asked}) as answer:
                    assert answer.status == status

    async def test_an_open_gateway_has_no_tickets(self) -> None:
        async with running_gateway(ScriptedVoiceLive().settings()) as gateway:
            assert (await ask(gateway, BODY))[0] == 404


class TestCalling:
    async def test_with_a_ticket_one_call_can_be_made(self) -> None:
        async with scripted_voice_live(quiet) as service:
            async with running_gateway(service.settings(**SETTINGS)) as gateway:
                mine = await ticket(gateway)
                offered = ["voice-live.v1", f"ticket.{mine}"]
                async with gateway.caller(origin=SHOP, protocols=offered) as page:
                    await page.until("session_started")
                    assert page.socket.protocol == "voice-live.v1"
                assert await refused(gateway, FROM_SHOP, offering(mine)) == (401, "unauthorized")
                for origin in (None, SHOP):
                    mine = await ticket(gateway, origin=origin)
                    async with gateway.caller(headers=dict([bearing(mine)])) as app:
                        await app.until("session_started")
                        assert app.socket.protocol is None
                    assert await refused(gateway, bearing(mine)) == (401, "unauthorized")
            assert len(service.handshakes) == 3

    async def test_what_opens_nothing(self) -> None:
        async with scripted_voice_live(quiet) as service:
            async with running_gateway(service.settings(**SETTINGS)) as gateway:
                unauthorized, forbidden = (401, "unauthorized"), (403, "forbidden")
                own = ("Origin", gateway.address)
                one, two = await ticket(gateway), await ticket(gateway)
                assert await refused(gateway) == unauthorized
                assert await refused(gateway, FROM_SHOP) == unauthorized
                assert await refused(gateway, FROM_SHOP, offering(new_ticket())) == unauthorized
                assert await refused(gateway, bearing(API_KEY)) == unauthorized
                assert await refused(gateway, FROM_SHOP, offering(one, two)) == unauthorized
                assert await refused(gateway, FROM_SHOP, offering(one), bearing(two)) == unauthorized
                assert await refused(gateway, offering(one)) == forbidden
                assert (
                    await refused(gateway, ("Origin", "https://evil.example.net"), offering(one)) == forbidden
                )
                # None of these has used it up; a page of ours with another page's ticket does.
                assert await refused(gateway, own, offering(one)) == forbidden
                assert await refused(gateway, FROM_SHOP, offering(one)) == unauthorized
                app_s = await ticket(gateway, origin=None)
                assert await refused(gateway, FROM_SHOP, offering(app_s)) == forbidden
                url = f"{gateway.address}/ws/voice?ticket={two}"
                async with gateway.http.get(url, headers=upgrade() | {"Origin": SHOP}) as answer:
                    assert answer.status == 401
            assert not service.handshakes

    @pytest.mark.parametrize(("after_s", "status"), [(29, 101), (31, 401)])
    async def test_a_ticket_opens_nothing_after_thirty_seconds(
        self, after_s: float, status: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with (
            scripted_voice_live(quiet) as service,
            running_gateway(service.settings(**SETTINGS)) as gateway,
        ):
            mine = await ticket(gateway)
            clock = SimpleNamespace(monotonic=lambda: time.monotonic() + after_s)
            monkeypatch.setattr(doorkeeper, "time", clock)
            sent = [*upgrade().items(), FROM_SHOP, offering(mine)]
            async with gateway.http.get(f"{gateway.address}/ws/voice", headers=sent) as answer:
                assert answer.status == status

    async def test_a_ticket_used_two_hundred_times_at_once_makes_one_call(self) -> None:
        async with scripted_voice_live(quiet) as service:
            async with running_gateway(service.settings(**SETTINGS)) as gateway:
                mine = await ticket(gateway)

                async def statuses() -> int:
                    sent = [*upgrade().items(), FROM_SHOP, offering(mine)]
                    async with gateway.http.get(f"{gateway.address}/ws/voice", headers=sent) as answer:
                        return answer.status

                answers = await asyncio.gather(*(statuses() for _ in range(200)))
                assert sorted(set(answers)) == [101, 401]
                assert answers.count(101) == 1
            assert (
                len(service.handshakes) <= 1
            )  # the one who won left before its session was opened, or after

    async def test_whether_a_ticket_is_needed_can_be_asked(self) -> None:
        for settings, answer in [
            ({}, {"status": "ready"}),
            (SETTINGS, {"status": "ready", "ticket_required": True}),
        ]:
            async with running_gateway(ScriptedVoiceLive().settings(**settings)) as gateway:
                async with gateway.http.get(f"{gateway.address}/ready") as ready:
                    assert await ready.json() == answer


class TestLimits:
    async def test_calls_of_a_subject(self) -> None:
        async with scripted_voice_live(quiet) as service:
            async with running_gateway(service.settings(**SETTINGS, max_calls_per_subject=1)) as gateway:
                async with gateway.caller(headers=dict([bearing(await ticket(gateway))])) as caller:
                    await caller.until("session_started")
                    again = await ticket(gateway)
                    assert await refused(gateway, bearing(again)) == (429, "rate_limited")
                    other = dict([bearing(await ticket(gateway, "bob"))])
                    async with gateway.caller(headers=other) as bob:
                        await bob.until("session_started")
                    await caller.send(type="end")
                    await caller.until_closed()
                async with gateway.caller(headers=dict([bearing(await ticket(gateway))])) as caller:
                    await caller.until("session_started")

    async def test_calls_of_an_address_and_who_may_claim_another(self) -> None:
        async with scripted_voice_live(quiet) as service:
            async with running_gateway(service.settings(max_calls_per_address=1)) as gateway:
                async with gateway.caller() as caller:
                    await caller.until("session_started")
                    spoofed = [("X-Forwarded-For", "198.51.100.1"), ("Forwarded", "for=198.51.100.1")]
                    assert await refused(gateway, *spoofed) == (429, "rate_limited")
            proxied = service.settings(max_calls_per_address=1, trusted_proxies="127.0.0.0/8")
            async with running_gateway(proxied) as gateway:
                async with gateway.caller(headers={"X-Forwarded-For": "198.51.100.1"}) as caller:
                    await caller.until("session_started")
                    spoofed = [("X-Forwarded-For", "203.0.113.9, 198.51.100.1")]
                    assert await refused(gateway, *spoofed) == (429, "rate_limited")
                    async with gateway.caller(headers={"X-Forwarded-For": "203.0.113.9"}) as other:
                        await other.until("session_started")

    async def test_minutes_of_a_subject_end_a_call_in_time(self) -> None:
        async with scripted_voice_live(quiet) as service:
            settings = service.settings(**SETTINGS, daily_minutes_per_subject=1)
            async with running_gateway(settings) as gateway:
                async with gateway.caller(headers=dict([bearing(await ticket(gateway))])) as caller:
                    assert (await caller.until("session_started"))["max_duration_s"] == 60
                    headers = dict([bearing(await ticket(gateway))])
                    url = f"{gateway.address}/ws/voice"
                    async with gateway.http.get(url, headers=upgrade() | headers) as answer:
                        assert answer.status == 429
                        assert 0 < int(answer.headers["Retry-After"]) <= 24 * 3600 + 1

    async def test_a_call_that_is_refused_for_load_holds_no_lease(self) -> None:
        async with scripted_voice_live(quiet) as service:
            settings = service.settings(**SETTINGS, max_calls=1, max_calls_per_subject=1)
            async with running_gateway(settings) as gateway:
                async with gateway.caller(headers=dict([bearing(await ticket(gateway, "bob"))])) as bob:
                    await bob.until("session_started")
                    assert await refused(gateway, bearing(await ticket(gateway))) == (503, "capacity")
                    await bob.send(type="end")
                    await bob.until_closed()
                async with gateway.caller(headers=dict([bearing(await ticket(gateway))])) as caller:
                    await caller.until("session_started")


async def test_without_its_store_the_gateway_lets_nobody_in_and_keeps_live_calls(tmp_path: Path) -> None:
    file = tmp_path / "admission.db"
    async with scripted_voice_live(quiet) as service:
        async with running_gateway(service.settings(**SETTINGS, admission_store_file=file)) as gateway:
            async with patient_caller(gateway, await ticket(gateway)) as caller:
                mine = await ticket(gateway)
                with closing(sqlite3.connect(file, isolation_level=None)) as other:
                    other.execute("BEGIN IMMEDIATE")
                    assert await refused(gateway, bearing(mine)) == (503, "storage_unavailable")
                    assert (await ask(gateway, BODY))[0] == 503
                    await caller.send(type="ping")
                    await caller.until("pong")
            # The ticket that was shown in vain is as good as before.
            async with patient_caller(gateway, mine):
                pass
        assert len(service.handshakes) == 2


@asynccontextmanager
async def patient_caller(gateway: RunningGateway, mine: str) -> AsyncIterator[RawCaller]:
    """A call with this ticket, tried again where a busy machine was too slow to decide in time."""
    async with AsyncExitStack() as call:
        caller = None
        async with asyncio.timeout(60):
            while caller is None:
                try:
                    caller = await call.enter_async_context(gateway.caller(headers=dict([bearing(mine)])))
                except aiohttp.WSServerHandshakeError as error:
                    if error.status != 503:
                        raise
        await caller.until("session_started")
        yield caller
