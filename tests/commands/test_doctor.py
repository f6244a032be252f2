"""`voice-live doctor`: each step that can fail, and that no secret is printed."""

import asyncio
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from app.commands.doctor import Finding, examine
from app.config import Settings
from tests.processes import EmulatorProcess, emulator_process
from tests.scripted_voice_live import ScriptedSession, ScriptedVoiceLive, scripted_voice_live

STEPS = ["settings", "name", "network", "credential", "handshake", "session"]


async def findings(settings: Settings) -> list[Finding]:
    found: list[Finding] = []
    healthy = await examine(settings, found.append)
    assert healthy == (found[-1].remedy is None)
    assert [finding.step for finding in found] == STEPS[: len(found)]
    assert all(finding.remedy is None for finding in found[:-1])
    return found


async def configured(session: ScriptedSession) -> None:
    await session.configure()
    await session.until_closed()


async def test_a_healthy_endpoint_passes_every_step_and_is_left() -> None:
    async with scripted_voice_live(configured) as service:
        found = await findings(service.settings())
        assert [finding.step for finding in found] == STEPS
        assert "en-US-AvaNeural" in found[-1].found
    assert service.sessions == 0


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (400, "AZURE_VOICELIVE_MODEL"),
        (401, "AZURE_VOICELIVE_API_KEY"),
        (403, "role Cognitive Services User"),
        (404, "AZURE_VOICELIVE_ENDPOINT"),
        (429, "quota"),
        (503, "try again later"),
    ],
)
async def test_a_refused_handshake_says_what_to_check(status: int, remedy: str) -> None:
    async with scripted_voice_live(refuse_with=lambda _: web.Response(status=status)) as service:
        found = (await findings(service.settings()))[-1]
    assert found.step == "handshake"
    assert f"HTTP {status}" in found.found
    assert remedy in (found.remedy or "")


async def test_a_name_without_an_address() -> None:
    found = (
        await findings(
            ScriptedVoiceLive().settings(
                azure_voicelive_endpoint="https://nobody.invalid", upstream_allowed_hosts="nobody.invalid"
            )
        )
    )[-1]
    assert (found.step, found.found) == ("name", "nobody.invalid has no address.")
    assert "AZURE_VOICELIVE_ENDPOINT" in (found.remedy or "")


async def test_a_port_where_nobody_listens() -> None:
    with socket.socket() as bound:  # bound and not listening: every connection is refused
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        settings = ScriptedVoiceLive(port=port).settings()
        found = (await findings(settings))[-1]
    assert (found.step, found.found) == ("network", f"127.0.0.1, port {port}, does not answer.")


async def test_a_port_without_tls() -> None:
    async with scripted_voice_live() as service:
        settings = service.settings(azure_voicelive_endpoint=f"https://127.0.0.1:{service.port}")
        found = (await findings(settings))[-1]
    assert found.step == "network"
    assert "does not speak TLS" in found.found


async def test_a_certificate_that_is_not_trusted(emulator: EmulatorProcess) -> None:
    settings = ScriptedVoiceLive().settings(azure_voicelive_endpoint=emulator.tls_address)
    found = (await findings(settings))[-1]
    assert found.step == "network"
    assert "certificate" in found.found
    assert "SSL_CERT_FILE" in (found.remedy or "")


async def test_a_session_that_is_refused() -> None:
    async def refuses(session: ScriptedSession) -> None:
        await session.receive()
        await session.send({"type": "error", "error": {"code": "invalid_voice", "message": "canary"}})
        await session.until_closed()

    async with scripted_voice_live(refuses) as service:
        found = (await findings(service.settings()))[-1]
    assert found.step == "session"
    assert "invalid_voice" in found.found
    assert "AZURE_VOICELIVE_VOICE_NAME" in (found.remedy or "")
    assert "canary" not in str(found)


async def test_a_voice_that_was_not_applied() -> None:
    async def applies_another(session: ScriptedSession) -> None:
        await session.receive()
        voice = {"type": "azure-standard", "name": "another"}
        await session.send({"type": "session.updated", "session": {"id": "s", "voice": voice}})
        await session.until_closed()

    async with scripted_voice_live(applies_another) as service:
        found = (await findings(service.settings()))[-1]
    assert (found.step, found.found) == ("session", "Voice Live did not apply our voice.name.")


async def test_a_session_that_is_closed_and_one_that_never_begins() -> None:
    async def closes(session: ScriptedSession) -> None:
        await session.receive()
        await session.socket.close(code=4000)

    async with scripted_voice_live(closes) as service:
        found = (await findings(service.settings()))[-1]
        assert "code 4000" in found.found

    async with scripted_voice_live(ScriptedSession.until_closed) as service:  # type: ignore[arg-type]
        found = (await findings(service.settings(connect_timeout_s=0.1)))[-1]
        assert "does not speak Voice Live" in found.found


@pytest.fixture(scope="module")
def strict_emulator() -> Iterator[EmulatorProcess]:
    """One that takes one key and one secret only."""
    with emulator_process("--api-key", "right-key", "--client-secret", "right-secret") as running:
        yield running


def doctor(emulator: EmulatorProcess, folder: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """The command, in a folder with a `.env` for a classic agent."""
    variables = {
        "AZURE_VOICELIVE_ENDPOINT": emulator.tls_address,
        "AZURE_VOICELIVE_PROJECT_NAME": "sales",
        "AZURE_VOICELIVE_AGENT_ID": "asst_1",
        "AZURE_VOICELIVE_API_KEY": "right-key",
        "AZURE_VOICELIVE_VOICE_NAME": "en-US-BankNeural",
        "AZURE_VOICELIVE_VOICE_ENDPOINT_ID": "8f6e0a2c-0000-4000-8000-000000000000",
        "AZURE_TENANT_ID": "tenant",
        "AZURE_CLIENT_ID": "client",
        "AZURE_CLIENT_SECRET": "right-secret",
        "AZURE_AUTHORITY_HOST": emulator.tls_address,
    } | changes
    lines = [f"{name}={value}\n" for name, value in variables.items()]
    (folder / "settings.env").write_text("".join(lines), "utf-8")
    return subprocess.run(
        [Path(sys.executable).with_name("voice-live"), "doctor", "--env-file", "settings.env"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "SSL_CERT_FILE": emulator.certificate_file},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_prints_every_step_and_no_secret(
    strict_emulator: EmulatorProcess, tmp_path: Path
) -> None:
    examined = doctor(strict_emulator, tmp_path)
    assert examined.returncode == 0, examined.stdout
    assert re.findall(r"^ok +(\w+)", examined.stdout, re.MULTILINE) == STEPS
    assert "Entra has minted a token" in examined.stdout
    assert examined.stderr == ""
    assert not re.search(r"right-|eyJ", examined.stdout)


@pytest.mark.parametrize(
    ("wrong", "step", "remedy"),
    [
        ({"AZURE_CLIENT_SECRET": "wrong-secret"}, "credential", "AZURE_CLIENT_SECRET"),
        ({"AZURE_AUTHORITY_HOST": "https://localhost:1"}, "credential", "AZURE_AUTHORITY_HOST"),
        ({"AZURE_VOICELIVE_API_KEY": "wrong-key"}, "handshake", "AZURE_VOICELIVE_API_KEY"),
        ({"AZURE_VOICELIVE_AGENT_ID": "", "VAD_THRESHOLD": "2"}, "settings", "VAD_THRESHOLD"),
    ],
)
def test_the_command_names_what_is_wrong(
    strict_emulator: EmulatorProcess, tmp_path: Path, wrong: dict[str, str], step: str, remedy: str
) -> None:
    examined = doctor(strict_emulator, tmp_path, **wrong)
    assert examined.returncode == 1
    failed = examined.stdout[examined.stdout.index("FAILED") :]
    assert failed.split()[1] == step
    assert remedy in failed
    assert not re.search(r"right-|wrong-|eyJ", examined.stdout + examined.stderr)


@pytest.mark.parametrize("variable", ["AZURE_VOICELIVE_AGENT_ID", "AZURE_VOICELIVE_AGENT_NAME"])
async def test_an_agent_that_is_not_found_is_named_by_its_variable(
    strict_emulator: EmulatorProcess, tmp_path: Path, variable: str
) -> None:
    async with scripted_voice_live(refuse_with=lambda _: web.Response(status=404)) as service:
        changes = {"AZURE_VOICELIVE_ENDPOINT": service.address, "AZURE_VOICELIVE_AGENT_ID": "", variable: "x"}
        examined = await asyncio.to_thread(doctor, strict_emulator, tmp_path, **changes)
    failed = examined.stdout[examined.stdout.index("FAILED") :]
    assert failed.split()[1] == "handshake"
    assert variable in failed


def test_a_missing_env_file_is_named(tmp_path: Path) -> None:
    examined = subprocess.run(
        [Path(sys.executable).with_name("voice-live"), "doctor"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert examined.returncode == 1
    assert ".env does not exist. Copy .env.example to .env" in examined.stdout
