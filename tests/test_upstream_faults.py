"""Faults of Voice Live and of the sign-in service, each with what the caller is told and what it costs."""

import asyncio
import json
import time
from contextlib import suppress

import pytest
from aiohttp import WSServerHandshakeError, web
from pydantic import SecretStr

from app.config import Settings, settings_from
from app.errors import ErrorCode
from app.voicelive import circuit, handshake, opening
from app.voicelive.credentials import SocketCredentials
from app.voicelive.endpoint import VoiceLiveEndpoint
from app.voicelive.opening import OpeningFailedError
from tests.gateway import RawCaller, RunningGateway, running_gateway
from tests.scripted_voice_live import Refuse, ScriptedSession, ScriptedVoiceLive, scripted_voice_live
from tests.test_config import AGENT
from tests.test_main import upgrade
from tests.test_service import audio_delta, quiet, response_created, response_done, says
from tests.virtual_call import speech

LOOSE = 10
"""Bounds in time are this much looser than the product's, for a machine that does other things too."""


def answers(*statuses: int, retry_after: str | None = None) -> Refuse:
    """Answer handshakes with these, the last one for ever; 101 lets one through to the script."""
    left = list(statuses)

    def answer(_: web.Request) -> web.Response | None:
        status = left.pop(0) if len(left) > 1 else left[0]
        if status == 101:
            return None
        headers = {} if retry_after is None else {"Retry-After": retry_after}
        return web.Response(status=status, text="secret-canary", headers=headers)

    return answer


async def ended_call(gateway: RunningGateway) -> RawCaller:
    async with gateway.caller() as caller:
        await caller.until_closed()
    terminal = [m for m in caller.messages if m["type"] == "session_ended" or m.get("fatal")]
    assert terminal == [caller.messages[-1]]
    assert "canary" not in json.dumps(caller.messages)
    return caller


def outcome(caller: RawCaller) -> tuple[str, int | None]:
    return caller.messages[-1]["code"], caller.socket.close_code


async def refusal(gateway: RunningGateway) -> tuple[int, str, str | None]:
    """The answer to a handshake that is refused: status, code, `Retry-After`."""
    async with gateway.http.get(f"{gateway.address}/ws/voice", headers=upgrade()) as response:
        return response.status, (await response.json())["error"]["code"], response.headers.get("Retry-After")


async def readiness(gateway: RunningGateway) -> int:
    async with gateway.http.get(f"{gateway.address}/ready") as response:
        return response.status


class TestHandshake:
    @pytest.mark.parametrize(
        ("answer", "handshakes", "code", "close_code"),
        [
            (answers(401), 1, "upstream_auth", 4502),
            (answers(403), 1, "upstream_auth", 4502),
            (answers(404), 1, "upstream_config", 4502),
            (answers(400), 1, "upstream_config", 4502),
            (answers(429), 1, "upstream_busy", 1013),
            (answers(429, retry_after="9"), 1, "upstream_busy", 1013),
            (answers(429, retry_after="0.1"), 2, "upstream_busy", 1013),
            (answers(500), 2, "upstream_lost", 1014),
            (answers(503, retry_after="60"), 2, "upstream_lost", 1014),
        ],
    )
    async def test_a_lasting_refusal(
        self, answer: Refuse, handshakes: int, code: str, close_code: int
    ) -> None:
        async with scripted_voice_live(refuse_with=answer) as service:
            async with running_gateway(service.settings()) as gateway:
                assert outcome(await ended_call(gateway)) == (code, close_code)
            assert len(service.handshakes) == handshakes

    @pytest.mark.parametrize("answer", [answers(503, 101), answers(429, 101, retry_after="0.2")])
    async def test_a_passing_one_costs_the_caller_nothing(self, answer: Refuse) -> None:
        async with scripted_voice_live(quiet, refuse_with=answer) as service:
            async with running_gateway(service.settings()) as gateway, gateway.caller() as caller:
                await caller.until("session_started")
                assert caller.of_type("error") == []
            assert len(service.handshakes) == 2

    async def test_three_refusals_of_the_configuration_in_a_row_end_the_readiness(self) -> None:
        answer = answers(404, 404, 404, 101)
        async with scripted_voice_live(quiet, refuse_with=answer) as service:
            async with running_gateway(service.settings()) as gateway:
                for _ in range(3):
                    assert await readiness(gateway) == 200
                    await ended_call(gateway)
                assert await readiness(gateway) == 503
                async with gateway.caller() as caller:
                    await caller.until("session_started")
                assert await readiness(gateway) == 200


class TestRefusedToken:
    """A Foundry agent's token is refused: another one is minted once."""

    class Tokens:
        def __init__(self) -> None:
            self.number = 1

        async def for_socket(self) -> SocketCredentials:
            return SocketCredentials(bearer=SecretStr(f"token-{self.number}"))

        def forget(self, refused: SocketCredentials) -> None:
            assert refused.bearer is not None
            assert refused.bearer.get_secret_value() == f"token-{self.number}"
            self.number += 1

    def endpoint(self, service: ScriptedVoiceLive) -> VoiceLiveEndpoint:
        settings = settings_from(AGENT | {"azure_voicelive_endpoint": service.address})
        return VoiceLiveEndpoint(settings, self.Tokens())  # type: ignore[arg-type]

    async def test_a_new_one_is_tried_at_once(self) -> None:
        async with scripted_voice_live(quiet, refuse_with=answers(401, 101)) as service:
            session = await self.endpoint(service).open_session()
            await session.connection.close()
        sent = [request.headers["Authorization"] for request in service.handshakes]
        assert sent == ["Bearer token-1", "Bearer token-2"]

    @pytest.mark.parametrize(("status", "handshakes"), [(401, 2), (403, 1)])
    async def test_and_no_third(self, status: int, handshakes: int) -> None:
        async with scripted_voice_live(refuse_with=answers(status)) as service:
            with pytest.raises(OpeningFailedError) as failed:
                await self.endpoint(service).open_session()
        assert failed.value.code is ErrorCode.UPSTREAM_AUTH
        assert len(service.handshakes) == handshakes


class TestCircuit:
    @pytest.fixture(autouse=True)
    def a_busy_machine_fails_often_enough_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(circuit, "WINDOW_S", 120)
        monkeypatch.setattr(opening, "PAUSE_S", (0.0, 0.01))

    async def test_after_five_failures_calls_are_refused_before_they_are_accepted(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(circuit, "OPEN_S", 5.0)
        async with scripted_voice_live(quiet, refuse_with=answers(503)) as service:
            async with running_gateway(service.settings()) as gateway:
                for _ in range(5):
                    assert outcome(await ended_call(gateway)) == ("upstream_lost", 1014)
                asked = len(service.handshakes)
                refused_at = time.monotonic()
                status, code, retry_after = await refusal(gateway)
                assert time.monotonic() - refused_at < 0.1 * LOOSE
                assert (status, code) == (503, "upstream_busy")
                assert retry_after is not None
                assert 1 <= int(retry_after) <= 5
                assert await readiness(gateway) == 200
                assert len(service.handshakes) == asked

                service.refuse_with = None
                async with asyncio.timeout(5 * LOOSE):
                    while await refusal_or_served(gateway) == 503:
                        pass

    async def test_nobody_at_the_endpoint_opens_it_too(self) -> None:
        async with scripted_voice_live() as service:
            settings = service.settings()
        async with running_gateway(settings) as gateway:
            for _ in range(5):
                assert outcome(await ended_call(gateway)) == ("upstream_lost", 1014)
            assert (await refusal(gateway))[:2] == (503, "upstream_busy")


async def refusal_or_served(gateway: RunningGateway) -> int:
    """503, or 101 for a call that was served."""
    try:
        async with gateway.caller() as caller:
            await caller.until("session_started")
            return 101
    except WSServerHandshakeError as error:
        return error.status


class TestNetwork:
    async def test_a_name_that_does_not_exist(self) -> None:
        settings = ScriptedVoiceLive().settings(
            azure_voicelive_endpoint="https://nobody.invalid", upstream_allowed_hosts="nobody.invalid"
        )
        async with running_gateway(settings) as gateway:
            assert outcome(await ended_call(gateway)) == ("upstream_lost", 1014)

    async def test_a_peer_that_falls_silent_is_found_and_the_caller_told(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The peer keeps the connection and answers nothing, not even a ping."""
        monkeypatch.setattr(handshake, "PING_AFTER_S", 0.5)
        monkeypatch.setattr(handshake, "PONG_WITHIN_S", 0.5)
        silent = asyncio.Event()
        sessions = 0

        async def falls_silent(session: ScriptedSession) -> None:
            nonlocal sessions
            sessions += 1
            if sessions > 1:
                await session.abort()
                return
            await session.configure()
            await says(session, "resp_1", "Hello.", ms=100)
            await silent.wait()

        async with scripted_voice_live(falls_silent) as service:
            async with running_gateway(service.settings()) as gateway:
                started_at = time.monotonic()
                assert outcome(await ended_call(gateway)) == ("upstream_lost", 1014)
                assert time.monotonic() - started_at < 3 * LOOSE
            silent.set()

    async def test_a_stall_of_the_service_is_survived_and_nothing_is_lost(self) -> None:
        async def stalls(session: ScriptedSession) -> None:
            await session.configure()
            await session.receive()
            audio = speech("resp_1", 400)
            await session.send(response_created("resp_1"), audio_delta("resp_1", audio[:9_600]))
            await asyncio.sleep(2.5)
            await session.send(audio_delta("resp_1", audio[9_600:]), response_done("resp_1"))
            await session.until_closed()

        async with scripted_voice_live(stalls) as service, running_gateway(service.settings()) as gateway:
            async with gateway.caller() as caller:
                await caller.until("agent_audio_end")
                await caller.until("status", status="ready")
                assert caller.audio == speech("resp_1", 400)
                assert caller.of_type("error") == []


class TestStrangeEvents:
    async def ends(self, *messages: str | bytes) -> tuple[str, int | None]:
        async def babbles(session: ScriptedSession) -> None:
            await session.configure()
            for message in messages:
                if isinstance(message, bytes):
                    await session.socket.send_bytes(message)
                else:
                    await session.socket.send_str(message)
            await session.until_closed()

        async with scripted_voice_live(babbles) as service, running_gateway(service.settings()) as gateway:
            return outcome(await ended_call(gateway))

    async def test_an_event_of_two_mebibytes(self) -> None:
        assert await self.ends(json.dumps({"type": "x", "pad": "x" * 2**21})) == ("upstream_protocol", 1014)

    async def test_binary_nonsense(self) -> None:
        assert await self.ends(*[b"\xff\xfe\x00"] * 11) == ("upstream_protocol", 1014)

    async def test_malformed_events_count_over_the_whole_call(self) -> None:
        """Six of them in one session and five in the next: one too many."""
        sessions = 0

        async def babbles(session: ScriptedSession) -> None:
            nonlocal sessions
            sessions += 1
            await session.configure()
            for _ in range(6 if sessions == 1 else 5):
                await session.socket.send_str("nonsense")
            if sessions == 1:
                await session.abort()
            await session.until_closed()

        async with scripted_voice_live(babbles) as service, running_gateway(service.settings()) as gateway:
            assert outcome(await ended_call(gateway)) == ("upstream_protocol", 1014)
            assert sessions == 2


class TestBilling:
    """An open session costs money, so it ends with the call, whatever either side does."""

    @pytest.mark.parametrize("leaves", ["hangs up", "vanishes", "closes"])
    @pytest.mark.parametrize("deaf", [False, True], ids=["answers", "deaf"])
    async def test_the_session_ends_within_a_second_of_the_caller_leaving(
        self, leaves: str, deaf: bool
    ) -> None:
        gone = asyncio.Event()

        async def listens(session: ScriptedSession) -> None:
            await session.configure()
            try:
                if not deaf:
                    await session.until_closed()
                await asyncio.Event().wait()  # cancelled when the connection is gone
            finally:
                gone.set()

        async with scripted_voice_live(listens) as service, running_gateway(service.settings()) as gateway:
            async with gateway.caller() as caller:
                await caller.until("session_started")
                left_at = time.monotonic()
                match leaves:
                    case "hangs up":
                        await caller.send(type="end")
                    case "vanishes":
                        caller.break_connection()
                    case _:
                        await caller.socket.close()
                async with asyncio.timeout(1 * LOOSE):
                    await gone.wait()
                assert time.monotonic() - left_at < 1 * LOOSE
                with suppress(ConnectionError):
                    await caller.until_closed()


def agent_settings(service: ScriptedVoiceLive, authority: str) -> Settings:
    return settings_from(
        AGENT
        | {
            "azure_voicelive_endpoint": service.address,
            "azure_authority_host": authority,
            "app_host": "127.0.0.1",
        }
    )


class TestSignInService:
    async def test_nobody_there(self) -> None:
        async with scripted_voice_live() as service:
            async with running_gateway(agent_settings(service, "https://localhost:1")) as gateway:
                called_at = time.monotonic()
                assert outcome(await ended_call(gateway)) == ("auth_unavailable", 4503)
                assert time.monotonic() - called_at < 5.5 * LOOSE
            assert service.handshakes == []
