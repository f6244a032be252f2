"""Hosts and origins at the gateway itself: who reaches it, and what pages of other origins may read."""

import pytest

from tests.admission.test_origins import LOOK_ALIKES, SHOP
from tests.gateway import RunningGateway, running_gateway
from tests.scripted_voice_live import ScriptedSession, ScriptedVoiceLive, scripted_voice_live
from tests.test_main import quiet, upgrade


async def refused(gateway: RunningGateway, *headers: tuple[str, str]) -> tuple[int, str]:
    """Status and code of a handshake with these headers besides those of every handshake."""
    sent = [*upgrade().items(), *headers]
    async with gateway.http.get(f"{gateway.address}/ws/voice", headers=sent) as answer:
        assert answer.status != 101, "it was accepted"
        return answer.status, (await answer.json())["error"]["code"]


class TestOrigins:
    async def test_look_alikes_are_refused_without_contact_to_voice_live(self) -> None:
        async with scripted_voice_live(quiet) as service:
            async with running_gateway(service.settings(allowed_origins=SHOP)) as gateway:
                own = gateway.address
                others = [own.replace("http", "https"), own + "1", own.replace("127.0.0.1", "localhost")]
                for origin in [*LOOK_ALIKES, *others]:
                    if origin.strip("\x00 ") == origin and origin:  # HTTP has no others
                        assert await refused(gateway, ("Origin", origin)) == (403, "forbidden"), origin
            assert not service.handshakes

    async def test_two_origins_are_no_origin(self) -> None:
        async with scripted_voice_live(quiet) as service:
            async with running_gateway(service.settings(allowed_origins=SHOP)) as gateway:
                for second in (SHOP, gateway.address):
                    both = [("Origin", SHOP), ("Origin", second)]
                    assert await refused(gateway, *both) == (403, "forbidden")
            assert not service.handshakes

    @pytest.mark.parametrize("origin", [SHOP, None, "own"])
    async def test_listed_pages_our_own_and_clients_that_are_no_browsers_may_call(
        self, origin: str | None
    ) -> None:
        async with scripted_voice_live(quiet) as service:
            async with running_gateway(service.settings(allowed_origins=f"{SHOP}, http://a.test")) as gateway:
                async with gateway.caller(origin=gateway.address if origin == "own" else origin) as caller:
                    await caller.until("session_started")

    async def test_behind_a_trusted_proxy_our_own_origin_is_https(self) -> None:
        headers = {"X-Forwarded-Proto": "https"}
        async with scripted_voice_live(quiet) as service:
            async with running_gateway(service.settings(trusted_proxies="127.0.0.1")) as gateway:
                own = gateway.address.replace("http", "https")
                async with gateway.caller(origin=own, headers=headers) as caller:
                    await caller.until("session_started")
            async with running_gateway(service.settings()) as gateway:
                own = gateway.address.replace("http", "https")
                claimed = await refused(gateway, ("Origin", own), ("X-Forwarded-Proto", "https"))
                assert claimed == (403, "forbidden")

    async def test_only_pages_that_may_call_can_read_the_client_s_modules(self) -> None:
        async with running_gateway(ScriptedVoiceLive().settings(allowed_origins=SHOP)) as gateway:
            for path in ("/ready", "/static/client/voice-live-call.js"):
                for origin in [SHOP, "https://evil.example.net", "null"]:
                    async with gateway.http.get(gateway.address + path, headers={"Origin": origin}) as answer:
                        allowed = answer.headers.get("Access-Control-Allow-Origin")
                        assert allowed == (SHOP if origin == SHOP else None)
                        assert "Access-Control-Allow-Credentials" not in answer.headers


class TestHosts:
    async def test_requests_for_another_host_get_nothing_but_the_probes(self) -> None:
        async with scripted_voice_live(quiet) as service:
            settings = service.settings(trusted_hosts="voice.example.com, LOCALHOST")
            async with running_gateway(settings) as gateway:
                for host in ("evil.net", "voice.example.com.evil.net", "voice.example.com@evil.net"):
                    for path in ("/", "/docs", "/static/main.js", "/nowhere"):
                        async with gateway.http.get(gateway.address + path, headers={"Host": host}) as answer:
                            assert answer.status == 400, (host, path)
                            assert (await answer.json())["error"]["code"] == "bad_request"
                    assert await refused(gateway, ("Host", host)) == (400, "bad_request")
                    for path in ("/health", "/ready"):
                        async with gateway.http.get(gateway.address + path, headers={"Host": host}) as answer:
                            assert answer.status == 200
                async with gateway.caller(headers={"Host": "Voice.Example.Com:8000"}) as caller:
                    await caller.until("session_started")
            assert len(service.handshakes) == 1


async def test_a_resumed_call_is_no_way_around_the_origin() -> None:
    async def until_gone(session: ScriptedSession) -> None:
        await session.configure()
        await session.until_closed()

    async with scripted_voice_live(until_gone) as service:
        async with running_gateway(service.settings(resume_window_s=20)) as gateway:
            async with gateway.caller(origin=gateway.address) as caller:
                token = (await caller.until("session_started"))["resume_token"]
                thief = ("Sec-WebSocket-Protocol", f"voice-live.v1, resume.{token}")
                evil = ("Origin", "https://evil.example.net")
                assert await refused(gateway, evil, thief) == (403, "forbidden")
                offered = ["voice-live.v1", f"resume.{token}"]
                async with gateway.caller(origin=gateway.address, protocols=offered) as back:
                    assert (await back.until("session_started"))["resumed"] is True
                    await back.send(type="end")
                    await back.until_closed()
