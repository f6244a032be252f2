"""The options of the command line reach the settings."""

import asyncio
from typing import Any

import pytest
from typer.testing import CliRunner

from voicelive_emulator import __main__ as command
from voicelive_emulator.settings import Settings


def settings_of(monkeypatch: pytest.MonkeyPatch, *options: str) -> Settings:
    """Return what `python -m voicelive_emulator` would serve with."""
    served: list[Settings] = []

    async def serve(settings: Settings, *_: Any, **__: Any) -> None:
        await asyncio.sleep(0)
        served.append(settings)

    monkeypatch.setattr(command, "_serve", serve)
    monkeypatch.setattr(command, "configure_logs", lambda *_, **__: None)
    result = CliRunner().invoke(command.app, ("--port", "0", *options))
    assert result.exit_code == 0, result.output
    return served[0]


def test_without_options_there_are_no_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(monkeypatch)
    assert (settings.connections_per_minute, settings.tokens_per_minute) == (None, None)
    assert (settings.agent_updates, settings.agent_api_keys) == ("warning", False)
    assert (settings.pace, settings.seed, settings.token_faults) == (0.0, None, ())


def test_every_option(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = ("--connections-per-minute", "30", "--tokens-per-minute", "120000")
    agents = ("--agent-updates", "error", "--agent-api-keys")
    times = ("--pace", "1.5", "--seed", "7")
    faults = ("--token-fault", "slow_token:2", "--token-fault", "short_token:9")
    settings = settings_of(monkeypatch, *limits, *agents, *times, *faults)
    assert (settings.connections_per_minute, settings.tokens_per_minute) == (30, 120_000)
    assert (settings.agent_updates, settings.agent_api_keys) == ("error", True)
    assert (settings.pace, settings.seed) == (1.5, 7)
    assert settings.token_faults == ("slow_token:2", "short_token:9")


@pytest.mark.parametrize(
    "options",
    [
        ("--pace", "-1"),
        ("--agent-updates", "obey"),
        ("--port", "65536"),
        ("--tls-port", "-1"),
        ("--max-sessions", "0"),
        ("--session-lifetime-s", "0"),
    ],
)
def test_nonsense_is_refused(options: tuple[str, ...]) -> None:
    assert CliRunner().invoke(command.app, options).exit_code == 2


def test_a_fault_of_the_token_endpoint_is_checked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "configure_logs", lambda *_, **__: None)
    result = CliRunner().invoke(command.app, ("--token-fault", "stall"))
    assert (result.exit_code, result.output) == (1, "'stall' is a fault of a session.\n")
