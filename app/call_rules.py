"""What the settings say of every call alike: made once for the process, and kept once."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.config import Settings
from app.interruption import InterruptionPolicy
from app.limits import SilencePolicy
from app.voicelive.session import ClientEvent, greeting, say


@dataclass(frozen=True, slots=True)
class CallRules:
    """How the agent begins, when it lets itself be interrupted, and what it says while nobody speaks."""

    greeting: Sequence[ClientEvent]
    interruption: InterruptionPolicy
    silence: SilencePolicy


def call_rules(settings: Settings) -> CallRules:
    """The rules that these settings make."""
    return CallRules(
        greeting=greeting(settings),
        interruption=InterruptionPolicy(
            by_gateway=settings.interruption_policy == "gateway",
            min_speech_ms=settings.interruption_min_speech_ms,
            prefix_padding_ms=settings.vad_prefix_padding_ms,
            silence_duration_ms=settings.vad_silence_duration_ms,
        ),
        silence=SilencePolicy(
            settings.idle_timeout_s,
            settings.reprompt_after_s,
            reprompt=say(settings, settings.reprompt_text),
            goodbye=say(settings, settings.goodbye_text) if settings.goodbye_text else (),
        ),
    )
