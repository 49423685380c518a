"""Update rules and gradients on arrays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potnode.engine import update
from potnode.engine.draw import DrawLayout
from potnode.engine.workers import Workers
from potnode.spec import draw, search
from potnode.spec.manifest import RULES
from tests.engine.cases import hashes, network

_MOMENTUM = (1 << 25) - 1
_SLOPE = 127 * 1024


@settings(max_examples=200)
@given(
    st.sampled_from(RULES),
    st.lists(
        st.tuples(
            st.integers(-32512, 32512) | st.sampled_from([-32512, 32512]),
            st.integers(-_MOMENTUM, _MOMENTUM) | st.sampled_from([-_MOMENTUM, _MOMENTUM]),
            st.integers(-_SLOPE, _SLOPE) | st.sampled_from([-_SLOPE, 0, _SLOPE]),
        ),
        min_size=1,
    ),
    st.integers(0, (1 << 15) - 1) | st.just((1 << 15) - 1),
)
def test_update_rules(rule: str, weights: list[tuple[int, int, int]], eta: int) -> None:
    columns = np.array(weights, np.int64).T
    masters, momenta = update.update(rule, columns[0], columns[1], columns[2], eta)
    expected = [search.update(rule, *weight, eta) for weight in weights]
    assert list(zip(masters.tolist(), momenta.tolist(), strict=True)) == expected


@pytest.mark.parametrize("bits", [3, 5, 8, 12])
def test_ties_round_upwards(bits: int) -> None:
    values = np.arange(-3 << bits, 3 << bits)
    shifted = update.rounded_shift(values, bits).tolist()
    assert shifted == [search.rounded_shift(v, bits) for v in values.tolist()]


@pytest.mark.parametrize("population", [1, 3, 1024])
def test_gradients_at_the_largest_coefficients(population: int) -> None:
    manifest = network(67, 5, 3)
    layout, workers = DrawLayout(manifest), Workers(2)
    shares = hashes(population)
    signs = layout.expand(shares)
    factors = [127 if row[0] > 0 else -127 for row in signs]  # G[0] of tensor 0's row is 127 P
    draws = [draw.draw(manifest, draw.candidate_key(h, 0)) for h in shares]
    for t, shape in enumerate(manifest.tensors):
        expected = search.gradient(shape, [d[t] for d in draws], factors)
        assert update.gradient(workers, layout, t, signs, factors).tolist() == expected
