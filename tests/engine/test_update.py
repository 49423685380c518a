"""Update rules and gradients on arrays."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potnode.engine import update
from potnode.engine.draw import DrawLayout
from potnode.engine.kernels.gradients import update_vector
from potnode.engine.state import EngineState
from potnode.engine.workers import Workers
from potnode.spec import draw, search
from potnode.spec.layers import Depthwise, Linear, Norm
from potnode.spec.manifest import RULES, Evolution
from tests.engine.cases import keys, model

_MOMENTUM = (1 << 25) - 1
_SLOPE = 127 * 16_384


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
    masters, momenta, slopes = np.ascontiguousarray(np.array(weights, np.int32).T)
    update_vector(rule == "momentum", masters, momenta, slopes, eta)
    expected = [search.update(rule, *weight, eta) for weight in weights]
    assert list(zip(masters.tolist(), momenta.tolist(), strict=True)) == expected


LAYERS = (Depthwise((3, 3), (1, 1), (1, 1), 4, "clip"), Norm(), Linear(70, 8, "relu"))


@pytest.mark.parametrize("population", [1, 3, 130])
@pytest.mark.parametrize("outputs", [2, 5])
def test_gradients_at_the_largest_coefficients(population: int, outputs: int) -> None:
    """Momenta after a step from zero are the gradient times 16."""
    strategy = Evolution("momentum", 80, 10, 1)
    manifest = model((*LAYERS, Linear(outputs, 4, "none")), (3, 5, 5), strategy=strategy)
    manifest = replace(manifest, train=(0, 1, 2, 3, 5, 6))
    layout, candidates = DrawLayout(manifest), keys(population)
    signs = layout.expand(candidates)
    factors = [127 if row[0] > 0 else -127 for row in signs]  # G[0] is 127 P
    zeros = tuple(np.zeros(prod(s), np.int32) for s in manifest.tensors)
    before = EngineState(zeros, tuple(z.copy() for z in zeros))
    after = update.evolved(Workers(2), manifest, strategy, layout, before, signs, factors, 5)
    draws = [draw.draw(manifest, key) for key in candidates]
    for t, shape in enumerate(manifest.tensors):
        if t not in manifest.train:
            assert after.momenta[t] is before.momenta[t]
            continue
        expected = search.gradient(shape, [d[t] for d in draws], factors)
        assert after.momenta[t].tolist() == [16 * g for g in expected]
        moved = [search.update("momentum", 0, 0, g, 5)[0] for g in expected]
        assert after.masters[t].tolist() == moved
