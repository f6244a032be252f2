"""The gateway serves https and wss itself."""

import asyncio
import ssl
from pathlib import Path

import pytest
import trustme

from app.config import Settings, SettingsError
from tests.gateway import running_gateway
from tests.scripted_voice_live import ScriptedSession, ScriptedVoiceLive, scripted_voice_live
from tests.test_service import audio_delta, response_created, response_done, says
from tests.virtual_call import speech
from tests.websocket.raw_client import raw_client

pytestmark = pytest.mark.usefixtures("both_ways")


def certificate(folder: Path, name: str = "own") -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 and its key."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    chain, key = folder / f"{name}.pem", folder / f"{name}.key"
    issued.private_key_pem.write_to_path(key)
    for blob in (*issued.cert_chain_pems, authority.cert_pem):
        blob.write_to_path(chain, append=True)
    return chain, key


def settings(service: ScriptedVoiceLive, chain: Path, key: Path) -> Settings:
    return service.settings(app_tls_cert_file=str(chain), app_tls_key_file=str(key))


async def test_a_call_and_the_page_over_tls(tmp_path: Path) -> None:
    heard: list[str] = []

    async def talks(session: ScriptedSession) -> None:
        await session.configure()
        await session.receive()
        heard.append(await session.receive_audio())
        await session.send(response_created("resp_1"), audio_delta("resp_1", speech("resp_1", 900)))
        await session.send(response_done("resp_1"))
        await says(session, "resp_2", "Good day.", ms=100)
        await session.until_closed()

    async with scripted_voice_live(talks) as service:
        async with running_gateway(settings(service, *certificate(tmp_path))) as gateway:
            async with gateway.http.get(gateway.address) as page:
                assert page.status == 200
            async with gateway.caller(protocols=["voice-live.v1"]) as caller:
                await caller.until("session_started")
                await caller.socket.send_bytes(bytes(960))
                await caller.until("agent_transcript", response_id="resp_2")
                await caller.send(type="end")
                assert await caller.until_closed() == 1000
    assert caller.audio == speech("resp_1", 900) + speech("resp_2", 100)
    assert heard


async def test_who_does_not_shake_hands_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.server.HANDSHAKE_TIMEOUT_S", 0.5)
    async with running_gateway(settings(ScriptedVoiceLive(), *certificate(tmp_path))) as gateway:
        port = int(gateway.address.rsplit(":", 1)[1])
        async with raw_client(port) as client:
            await client.until_gone()


async def test_old_tls_is_not_spoken(tmp_path: Path) -> None:
    chain, key = certificate(tmp_path)
    old = ssl.create_default_context(cafile=chain)
    old.minimum_version = ssl.TLSVersion.TLSv1_2
    old.set_ciphers("AES128-SHA")
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    async with running_gateway(settings(ScriptedVoiceLive(), chain, key)) as gateway:
        port = int(gateway.address.rsplit(":", 1)[1])
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", port, ssl=old)


class TestSettings:
    def test_one_without_the_other(self, tmp_path: Path) -> None:
        chain, key = certificate(tmp_path)
        for values, missing in (
            ({"app_tls_cert_file": str(chain)}, "APP_TLS_KEY_FILE"),
            ({"app_tls_key_file": str(key)}, "APP_TLS_CERT_FILE"),
        ):
            assert missing in problems(**values)

    def test_what_does_not_match_or_is_not_there(self, tmp_path: Path) -> None:
        chain, key = certificate(tmp_path)
        _, other = certificate(tmp_path, "other")
        assert "APP_TLS_KEY_FILE" in problems(app_tls_cert_file=str(chain), app_tls_key_file=str(other))
        assert "APP_TLS_KEY_FILE" in problems(app_tls_cert_file=str(key), app_tls_key_file=str(key))
        gone = str(tmp_path / "gone.pem")
        assert "APP_TLS_CERT_FILE" in problems(app_tls_cert_file=gone, app_tls_key_file=str(key))


def problems(**values: str) -> str:
    with pytest.raises(SettingsError) as refused:
        ScriptedVoiceLive().settings(**values)
    return str(refused.value)
