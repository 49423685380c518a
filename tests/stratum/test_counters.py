from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.counters import LatencyHistogram


def test_an_empty_histogram() -> None:
    histogram = LatencyHistogram()
    assert len(histogram) == 0
    assert histogram.quantile(0.5) == 0.0


def test_durations_are_counted_where_they_belong() -> None:
    histogram = LatencyHistogram()
    histogram.add(0.0)
    histogram.add(0.000003, 5)
    histogram.add(1e9)
    assert len(histogram) == 7
    assert [(i, n) for i, n in enumerate(histogram.counts) if n] == [(0, 1), (2, 5), (25, 1)]
    assert histogram.bounds()[2] == 4e-6
    assert histogram.sum == pytest.approx(1e9)
    assert histogram.quantile(0.5) == 4e-6
    assert histogram.quantile(1.0) == pytest.approx(33.554432)


@given(st.lists(st.floats(0, 30), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_a_quantile_is_at_most_double(durations: list[float], part: float) -> None:
    histogram = LatencyHistogram()
    for duration in durations:
        histogram.add(duration)
    ordered = sorted(durations)
    index = next(i for i in range(len(ordered)) if i + 1 >= part * len(ordered))
    true = ordered[index]
    bound = histogram.quantile(part)
    assert true <= bound + 1e-6
    assert bound <= max(2 * true, 1e-6) + 2e-6
