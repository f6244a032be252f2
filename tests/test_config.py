"""Settings: what they require in each mode, and how every problem is told."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.config import (
    ClassicAgent,
    FoundryAgent,
    Model,
    Settings,
    SettingsError,
    load_settings,
    settings_from,
)

ORIGINAL = {
    "azure_voicelive_endpoint": "https://bank.services.ai.azure.com",
    "azure_voicelive_project_name": "sales",
    "azure_voicelive_agent_id": "asst_1",
    "azure_voicelive_api_key": "key-canary",
    "azure_tenant_id": "tenant",
    "azure_client_id": "client",
    "azure_client_secret": "secret-canary",
    "azure_voicelive_voice_name": "en-US-BankNeural",
    "azure_voicelive_voice_endpoint_id": "8f6e",
}
"""The variables of the original description, and no others."""

AGENT = {name: value for name, value in ORIGINAL.items() if not name.endswith(("agent_id", "api_key"))} | {
    "azure_voicelive_agent_name": "telesales"
}
MODEL = {
    "azure_voicelive_endpoint": "https://bank.services.ai.azure.com",
    "azure_voicelive_model": "gpt-4.1",
    "azure_voicelive_api_key": "key-canary",
    "azure_voicelive_voice_type": "azure-standard",
    "azure_voicelive_voice_name": "en-US-AvaNeural",
}


def problems_of(values: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        settings_from(values)
    return [problem.variable for problem in caught.value.problems]


class TestAgentMode:
    def test_the_original_variables_mean_a_classic_agent(self) -> None:
        settings = settings_from(ORIGINAL)
        assert settings.agent_mode == ClassicAgent("asst_1", "sales")
        assert settings.api_version == "2025-10-01"

    def test_an_agent_name_means_a_foundry_agent(self) -> None:
        settings = settings_from(AGENT)
        assert settings.agent_mode == FoundryAgent("telesales", "sales", None)
        assert settings.api_version == "2026-07-15"

    def test_a_model_needs_neither_agent_nor_project(self, tmp_path: Path) -> None:
        file = tmp_path / "instructions.txt"
        file.write_text("Sell politely.")
        settings = settings_from(MODEL | {"azure_voicelive_instructions_file": str(file)})
        assert settings.agent_mode == Model("gpt-4.1", "Sell politely.")

    def test_a_model_takes_a_service_principal_instead_of_a_key(self) -> None:
        values = {name: value for name, value in MODEL.items() if not name.endswith("api_key")}
        principal = {
            name: value
            for name, value in ORIGINAL.items()
            if name.startswith(("azure_tenant", "azure_client"))
        }
        assert settings_from(values | principal).service_principal is not None

    @pytest.mark.parametrize("values", [ORIGINAL, AGENT, MODEL], ids=["classic", "agent", "model"])
    def test_each_missing_variable_is_named(self, values: dict[str, str]) -> None:
        optional = {"azure_voicelive_voice_type"}
        mode = {"azure_voicelive_agent_id", "azure_voicelive_agent_name", "azure_voicelive_model"}
        for name in values.keys() - optional - mode:
            assert name.upper() in problems_of({key: value for key, value in values.items() if key != name})

    def test_nothing_set_names_the_classic_list_and_the_other_modes(self) -> None:
        with pytest.raises(SettingsError) as caught:
            settings_from({})
        assert {problem.variable for problem in caught.value.problems} == {name.upper() for name in ORIGINAL}
        assert "AZURE_VOICELIVE_AGENT_NAME" in str(caught.value)
        assert "AZURE_VOICELIVE_MODEL" in str(caught.value)

    @pytest.mark.parametrize(
        ("values", "variable"),
        [
            (ORIGINAL | {"azure_voicelive_model": "gpt-4.1"}, "AZURE_VOICELIVE_MODEL"),
            (ORIGINAL | {"azure_voicelive_agent_name": "a"}, "AZURE_VOICELIVE_AGENT_NAME"),
            (ORIGINAL | {"azure_voicelive_agent_version": "2"}, "AZURE_VOICELIVE_AGENT_VERSION"),
            (AGENT | {"azure_voicelive_instructions_file": __file__}, "AZURE_VOICELIVE_INSTRUCTIONS_FILE"),
            (MODEL | {"azure_voicelive_voice_type": "azure-realtime-native"}, "AZURE_VOICELIVE_VOICE_TYPE"),
        ],
    )
    def test_contradictions_are_refused(self, values: dict[str, str], variable: str) -> None:
        assert problems_of(values) == [variable]

    def test_an_unused_key_is_only_a_warning(self) -> None:
        settings = settings_from(AGENT | {"azure_voicelive_api_key": "k"})
        assert any("AZURE_VOICELIVE_API_KEY" in warning for warning in settings.warnings())


class TestValues:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("azure_voicelive_endpoint", "http://bank.example"),
            ("azure_voicelive_endpoint", "ftp://bank.example"),
            ("azure_voicelive_endpoint", "bank.example"),
            ("azure_voicelive_endpoint", "https://user:pass@bank.example"),
            ("azure_voicelive_endpoint", "https://bank.example?api-key=x"),
            ("azure_voicelive_endpoint", "https://bank.example:port"),
            ("azure_authority_host", "http://login.example"),
            ("azure_voicelive_api_version", "latest"),
            ("azure_voicelive_instructions_file", "/nowhere/at/all.txt"),
            ("vad_threshold", "1.5"),
            ("vad_type", "clairvoyant"),
            ("app_port", "70000"),
            ("app_port", "http"),
            ("max_calls", "0"),
            ("connect_timeout_s", "nan"),
            ("log_level", "LOUD"),
            ("enable_proactive_greeting", "perhaps"),
        ],
    )
    def test_a_bad_value_is_refused_by_name_and_never_repeated(self, name: str, value: str) -> None:
        with pytest.raises(SettingsError) as caught:
            settings_from(MODEL | {name: value})
        assert [problem.variable for problem in caught.value.problems] == [name.upper()]
        if len(value) > 6:
            assert value not in str(caught.value)

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
    def test_plain_http_is_for_loopback(self, host: str) -> None:
        settings = settings_from(MODEL | {"azure_voicelive_endpoint": f"http://{host}:8765/"})
        assert settings.endpoint == f"http://{host}:8765"

    def test_malformed_and_missing_are_told_together(self) -> None:
        values = {name: value for name, value in MODEL.items() if name != "azure_voicelive_voice_name"}
        assert sorted(problems_of(values | {"app_port": "x", "vad_threshold": "9"})) == [
            "APP_PORT",
            "AZURE_VOICELIVE_VOICE_NAME",
            "VAD_THRESHOLD",
        ]

    def test_whisper_transcribes_for_native_realtime_models(self) -> None:
        assert settings_from(MODEL).transcription_model == "azure-speech"
        native = settings_from(MODEL | {"azure_voicelive_model": "gpt-realtime"})
        assert native.transcription_model == "whisper-1"

    def test_secrets_appear_nowhere(self) -> None:
        settings = settings_from(ORIGINAL)
        assert "canary" not in f"{settings!r} {settings} {settings.describe()}"

    def test_env_file_is_read_and_the_environment_wins(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in Settings.model_fields:
            monkeypatch.delenv(name.upper(), raising=False)
        file = tmp_path / ".env"
        file.write_text(
            "".join(f"{name.upper()}={value}\n" for name, value in MODEL.items()) + "APP_PORT=1234\n"
        )
        monkeypatch.setenv("MAX_CALLS", "7")
        monkeypatch.setenv("APP_HOST", "")
        settings = load_settings(file)
        assert (settings.app_port, settings.max_calls, settings.app_host) == (1234, 7, "0.0.0.0")


def test_env_example_documents_every_variable_and_its_default() -> None:
    text = (Path(__file__).parent.parent / ".env.example").read_text()
    documented = {
        line.lstrip("# ").split("=")[0]
        for line in text.splitlines()
        if "=" in line.split(" ")[0] or "=" in line
    }
    assert {name.upper() for name in Settings.model_fields} <= documented
    for name, field in Settings.model_fields.items():
        if field.default not in (None, ()) and name != "enable_proactive_greeting":
            assert f"{name.upper()}={field.default}" in text


def test_the_server_names_every_missing_variable_and_exits_with_status_2(tmp_path: Path) -> None:
    project = str(Path(__file__).parent.parent)
    ended = subprocess.run(
        [sys.executable, "-m", "app.main"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": project},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert all(name.upper() in ended.stderr for name in ORIGINAL)
