"""Quotas of connections and tokens in any minute."""

import pytest

from voicelive_emulator.quota import Quota


class TestConnections:
    def test_are_unlimited_unless_told(self) -> None:
        quota = Quota(None, None)
        assert [quota.connect(0.0) for _ in range(100)] == [0.0] * 100

    def test_come_back_a_minute_after_they_were_taken(self) -> None:
        quota = Quota(2, None)
        assert (quota.connect(0.0), quota.connect(10.0)) == (0.0, 0.0)
        assert quota.connect(20.0) == pytest.approx(40.0)
        assert quota.connect(59.9) > 0
        assert quota.connect(60.0) == 0.0
        assert quota.connect(60.0) == pytest.approx(10.0)

    def test_none_at_all(self) -> None:
        assert Quota(0, None).connect(0.0) > 0


class TestTokens:
    def test_the_response_that_crosses_the_line_is_the_last_of_the_minute(self) -> None:
        quota = Quota(None, 100)
        quota.spend(60, 0.0)
        assert quota.has_tokens(1.0)
        quota.spend(60, 30.0)
        assert not quota.has_tokens(31.0)
        assert not quota.has_tokens(59.0)
        assert quota.has_tokens(60.0)

    def test_are_unlimited_unless_told(self) -> None:
        quota = Quota(None, None)
        quota.spend(10**9, 0.0)
        assert quota.has_tokens(0.0)
