"""The limits of a call in virtual time."""

from app.limits import GOODBYE_S, CallLimits, SilencePolicy
from app.messages import ErrorCode, SessionEnding
from app.turns import End, Send, SendUpstream

PATIENT = SilencePolicy(idle_timeout_s=3600)
REPROMPT = [{"type": "reprompt"}]
GOODBYE = [{"type": "goodbye"}]


def test_the_longest_call_is_announced_a_minute_before_and_once() -> None:
    limits = CallLimits(1740, PATIENT, started_at=0)
    assert limits.tick(1679, 0, 1679) == []
    assert limits.tick(1680, 0, 1680) == [Send(SessionEnding("max_duration", 60))]
    assert limits.tick(1700, 0, 1700) == []
    assert limits.tick(1740, 0, 1740) == [End(ErrorCode.SESSION_EXPIRED)]


def test_a_short_limit_is_announced_at_its_half() -> None:
    limits = CallLimits(10, PATIENT, started_at=0)
    assert limits.tick(4, 0, 4) == []
    assert limits.tick(5, 0, 5) == [Send(SessionEnding("max_duration", 5))]


def test_silence_is_announced_ends_the_call_and_speech_starts_it_anew() -> None:
    limits = CallLimits(1740, SilencePolicy(idle_timeout_s=120), started_at=0)
    assert limits.tick(0, 0, 59) == []
    assert limits.tick(0, 0, 60) == [Send(SessionEnding("idle", 60))]
    assert limits.tick(0, 0, 61) == []
    assert limits.tick(70, 70, 119) == []
    assert limits.tick(70, 70, 130) == [Send(SessionEnding("idle", 60))]
    assert limits.tick(70, 70, 190) == [End(ErrorCode.IDLE_TIMEOUT)]


class TestReprompt:
    def limits(self) -> CallLimits:
        return CallLimits(1740, SilencePolicy(300, 20, reprompt=REPROMPT), started_at=0)

    def test_a_silent_caller_is_asked_once(self) -> None:
        limits = self.limits()
        assert limits.tick(10, 10, 29) == []
        assert limits.tick(10, 10, 30) == [SendUpstream(REPROMPT[0])]
        assert limits.tick(10, 10, 31) == []
        assert limits.tick(33, 10, 60) == []

    def test_one_who_answered_is_asked_again_when_silent_again(self) -> None:
        limits = self.limits()
        limits.tick(10, 10, 30)
        assert limits.tick(40, 40, 60) == [SendUpstream(REPROMPT[0])]


class TestGoodbye:
    def saying(self) -> CallLimits:
        limits = CallLimits(1740, SilencePolicy(20, goodbye=GOODBYE), started_at=0)
        limits.tick(0, 0, 10)
        assert limits.tick(0, 0, 20) == [SendUpstream(GOODBYE[0])]
        return limits

    def test_the_call_ends_when_it_has_been_said(self) -> None:
        limits = self.saying()
        assert limits.tick(0, 0, 20.5) == []
        assert limits.tick(22, 0, 22) == []
        assert limits.tick(23, 0, 23.5) == [End(ErrorCode.IDLE_TIMEOUT)]

    def test_or_when_it_cannot_be_said(self) -> None:
        limits = self.saying()
        assert limits.tick(0, 0, 20 + GOODBYE_S - 1) == []
        assert limits.tick(0, 0, 20 + GOODBYE_S) == [End(ErrorCode.IDLE_TIMEOUT)]

    def test_a_caller_who_speaks_after_all_stays(self) -> None:
        limits = self.saying()
        assert limits.tick(24, 24, 24) == []
        assert limits.tick(24, 24, 30) == []
        assert limits.tick(24, 24, 44) == [SendUpstream(GOODBYE[0])]
