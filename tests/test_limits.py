"""The limits of a call in virtual time."""

from app.limits import CallLimits
from app.messages import ErrorCode, SessionEnding
from app.turns import End, Send


def test_the_longest_call_is_announced_a_minute_before_and_once() -> None:
    limits = CallLimits(max_duration_s=1740, idle_timeout_s=3600, started_at=0)
    assert limits.tick(1679, 1679) == []
    assert limits.tick(1680, 1680) == [Send(SessionEnding("max_duration", 60))]
    assert limits.tick(1700, 1700) == []
    assert limits.tick(1740, 1740) == [End(ErrorCode.SESSION_EXPIRED)]


def test_silence_is_announced_ends_the_call_and_speech_starts_it_anew() -> None:
    limits = CallLimits(max_duration_s=1740, idle_timeout_s=120, started_at=0)
    assert limits.tick(0, 59) == []
    assert limits.tick(0, 60) == [Send(SessionEnding("idle", 60))]
    assert limits.tick(0, 61) == []
    assert limits.tick(70, 119) == []
    assert limits.tick(70, 130) == [Send(SessionEnding("idle", 60))]
    assert limits.tick(70, 190) == [End(ErrorCode.IDLE_TIMEOUT)]


def test_a_short_limit_is_announced_at_its_half() -> None:
    limits = CallLimits(max_duration_s=10, idle_timeout_s=3600, started_at=0)
    assert limits.tick(4, 4) == []
    assert limits.tick(5, 5) == [Send(SessionEnding("max_duration", 5))]
