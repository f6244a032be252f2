"""Tests of the app against the emulator: no cloud, no key, no network."""

import asyncio

import pytest
from voice_app import ask

from voicelive_emulator.pytest_plugin import VoiceLiveEmulator


@pytest.fixture
def voice_live(voice_live_emulator: VoiceLiveEmulator, monkeypatch: pytest.MonkeyPatch) -> VoiceLiveEmulator:
    """The emulator in place of Azure."""
    for name, value in voice_live_emulator.environment.items():
        monkeypatch.setenv(name, value)
    return voice_live_emulator


def test_prints_what_the_agent_says(voice_live: VoiceLiveEmulator) -> None:
    voice_live.will_answer("It is raining in London.")
    words, speech = asyncio.run(ask("What is the weather like?"))
    assert words == "It is raining in London."
    assert len(speech) > 48_000  # more than a second


def test_talks_with_the_telesales_agent(voice_live: VoiceLiveEmulator) -> None:
    words, _ = asyncio.run(ask("How much is it?"))
    assert "39 dollars" in words
