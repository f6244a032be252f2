"""False alarms: is the caller's sound an interruption, or only a sign of listening? Pure.

Used with `INTERRUPTION_POLICY=gateway`, where the gateway and not Voice Live decides. A sound holds the
agent; enough speech, or words that are more than an acknowledgement, make it an interruption; anything else
was a false alarm.
"""

import re
from dataclasses import dataclass
from typing import Final

HOLD_LIMIT_S: Final = 10.0
"""A hold that nothing decides, since audio or transcript stopped coming, ends after this."""

_PHRASES: Final = (
    "ah|aha|alright|all right|cool|exactly|fine|go ahead|go on|good|got it|great|hm|hmm|huh|i see|m|mhm|mm"
    "|mm hm|mm hmm|mmhm|mmm|nice|of course|oh|ok|okay|please go on|really|right|sure|uh|uh huh|uhuh|um"
    "|understood|wow|yeah|yep|yes"
)
ACKNOWLEDGEMENTS: Final = frozenset(_PHRASES.split("|"))


@dataclass(frozen=True, slots=True)
class InterruptionPolicy:
    """`by_gateway` False: every speech start is final. Else speech counts from `min_speech_ms` on.

    Voice Live reports the end of speech `silence_duration_ms` late, so only then is it known that somebody
    spoke for that long.
    """

    by_gateway: bool = False
    min_speech_ms: int = 1000
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 0

    def missing_ms(self, speech_from_ms: int, audio_clock_ms: int) -> int:
        """How much more caller audio it takes to be sure that it is an interruption; 0 or less: none."""
        return self.min_speech_ms + self.silence_duration_ms - (audio_clock_ms - speech_from_ms)


BY_SERVICE: Final = InterruptionPolicy()


@dataclass(frozen=True, slots=True)
class Hold:
    """The agent is held since the caller made a sound.

    `speech_from_ms` is on the session's audio clock. `decide_at` is when enough has been said if the caller
    speaks on, `until` when the hold ends at the latest.
    """

    speech_from_ms: int
    decide_at: float
    until: float


def is_acknowledgement(text: str) -> bool:
    """Whether these words only say that the caller listens: one or more of the list, and nothing else."""
    words = re.sub(r"[^a-z' ]+", " ", text.lower().replace("-", " ")).split()
    position = 0
    while position < len(words):
        for length in (3, 2, 1):
            if " ".join(words[position : position + length]) in ACKNOWLEDGEMENTS:
                position += length
                break
        else:
            return False
    return True
