"""Buffers that are needed at the same time never overlap, and have bounds."""

from __future__ import annotations

from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potnode.engine.arena import Arena, order, quads
from potnode.engine.draw import DrawLayout
from potnode.engine.errors import EngineError
from potnode.engine.kernels.vectors import QUAD
from potnode.engine.plan import Plan
from potnode.spec.layers import Add, Conv2d, Layer, Linear, MaxPool, Relu, Shape
from tests.spec.cases import model


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), max_size=20))
def test_no_two_share_memory(requests: list[tuple[int, int]]) -> None:
    arena, taken = Arena(), []
    for now, (count, lasting) in enumerate(requests):
        taken.append((arena.take(count, now, now + lasting), count * QUAD, now, now + lasting))
    for i, (at, size, first, last) in enumerate(taken):
        assert 0 <= at <= at + size <= arena.size
        for other_at, other_size, other_first, other_last in taken[:i]:
            if first <= other_last and other_first <= last and size and other_size:
                assert at + size <= other_at or other_at + other_size <= at


def test_memory_is_used_again() -> None:
    arena = Arena()
    assert [arena.take(3, now, now + 1) for now in range(6)] == [0, 3 * QUAD] * 3
    assert arena.size == 6 * QUAD


@given(st.lists(st.integers(1, 6), min_size=3, max_size=3) | st.tuples(st.integers(1, 20)))
def test_every_feature_has_one_place(sides: list[int] | tuple[int]) -> None:
    shape = tuple(sides)
    features = order(shape)
    assert features.size == 4 * quads(shape)
    assert sorted(features[features >= 0].tolist()) == list(range(prod(shape)))
    by_place = features.reshape(prod(shape[1:]), -1)
    for place, channels in enumerate(by_place.tolist()):
        assert channels[: shape[0]] == [c * prod(shape[1:]) + place for c in range(shape[0])]
        assert set(channels[shape[0] :]) <= {-1}


POOL = MaxPool((64, 64), (64, 64))


@pytest.mark.parametrize(
    ("layers", "shape", "message"),
    [
        ((Conv2d(2, (3, 3), (1, 1), (1, 1), 8, "relu"),), (1, 2048, 2048), "37748736 places"),
        ((), (1, 4096, 1100), "bytes for the values of a layer"),
        ((Relu(), Relu(), Relu(), Add(0), Add(1)), (1, 2048, 1024), "bytes for values of layers"),
    ],
)
def test_models_that_no_memory_holds_are_refused(
    layers: tuple[Layer, ...], shape: Shape, message: str
) -> None:
    manifest = model((*layers, POOL, Linear(2, 12, "none")), shape)
    with pytest.raises(EngineError, match=message):
        Plan(manifest, DrawLayout(manifest), 0, len(manifest.layers), features=False)
