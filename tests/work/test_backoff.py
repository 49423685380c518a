"""Waiting between attempts grows, has a bound, and never is none."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from potnode.work.backoff import Backoff


@given(attempt=st.integers(0, 10**6), draw=st.floats(0, 1))
def test_a_wait_is_half_to_all_of_its_ceiling(attempt: int, draw: float) -> None:
    backoff = Backoff(first=0.5, cap=15.0, draw=lambda: draw)
    ceiling = min(15.0, 0.5 * 2.0 ** min(attempt, 100))
    assert ceiling / 2 <= backoff.wait(attempt) <= ceiling
