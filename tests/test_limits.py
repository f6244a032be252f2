"""The limits of a call in virtual time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.config import Settings, SettingsError, load_settings, settings_from
from app.errors import ErrorCode
from app.limits import GOODBYE_S, CallLimits, Quota, SilencePolicy
from app.messages import SessionEnding
from app.turns import End, Send, SendUpstream
from tests.test_config import MODEL

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


class TestQuota:
    def test_the_one_after_the_last_is_too_many(self) -> None:
        quota = Quota(3)
        assert [quota.is_exceeded(now) for now in (0, 1, 2, 3)] == [False, False, False, True]

    def test_it_is_free_again_when_the_oldest_is_a_minute_old(self) -> None:
        quota = Quota(2)
        quota.is_exceeded(10)
        quota.is_exceeded(40)
        assert quota.free_in_s(41) == 29
        assert quota.free_in_s(70) == 0
        assert not quota.is_exceeded(70)

    @given(st.lists(st.floats(0, 10), max_size=200), st.integers(1, 20))
    def test_never_more_than_the_limit_in_a_window(self, pauses: list[float], limit: int) -> None:
        quota, now, passed = Quota(limit, 60.0), 0.0, []
        for pause in pauses:
            now += pause
            if quota.is_exceeded(now):
                assert quota.free_in_s(now) >= 0
                break
            passed.append(now)
        for first in passed:
            assert sum(1 for at in passed if first <= at < first + 60.0) <= limit


LIMITS = [
    "max_calls",
    "connect_timeout_s",
    "response_timeout_s",
    "max_call_duration_s",
    "idle_timeout_s",
    "resume_window_s",
    "drain_timeout_s",
    "playout_lead_ms",
    "caller_audio_max_rate",
    "max_messages_per_minute",
    "workers",
]


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize(
    "typo", ["-1", "nan", "inf", "-inf", "1e999", "off", "none", "false", "unlimited", "0x10"]
)
def test_no_limit_is_switched_off_by_a_typo(name: str, typo: str) -> None:
    with pytest.raises(SettingsError) as refused:
        settings_from(MODEL | {name: typo})
    assert [problem.variable for problem in refused.value.problems] == [name.upper()]


@pytest.mark.parametrize("name", LIMITS)
def test_an_empty_limit_is_the_default(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in MODEL.items():
        monkeypatch.setenv(variable.upper(), value)
    monkeypatch.setenv(name.upper(), "")
    assert getattr(load_settings(None), name) == Settings.model_fields[name].default


@pytest.mark.parametrize("rate", ["0.5", "1", "1000"])
def test_a_rate_at_which_nobody_could_speak_is_refused(rate: str) -> None:
    with pytest.raises(SettingsError):
        settings_from(MODEL | {"caller_audio_max_rate": rate})
