"""The last few of many."""

from hypothesis import given
from hypothesis import strategies as st

from app.latest import Latest


@given(st.integers(1, 5), st.lists(st.integers()))
def test_the_newest_are_kept_in_order(limit: int, items: list[int]) -> None:
    latest: Latest[int] = Latest(limit)
    for item in items:
        latest.append(item)
    assert list(latest) == items[-limit:]
