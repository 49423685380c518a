"""Draws of many candidates at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potnode.engine.draw import DrawLayout, batch_indices
from potnode.engine.errors import EngineError
from potnode.engine.workers import Workers
from potnode.spec import draw, search
from tests.engine.cases import keys, network


@pytest.mark.parametrize(("count", "threads"), [(3, 0), (1, 1), (130, 2)])
@pytest.mark.parametrize("train", [(0, 1, 2, 3), (2,), (1, 3), (0, 3)])
def test_signs_are_the_specifications(train: tuple[int, ...], count: int, threads: int) -> None:
    manifest = network(520, 257, 4, train=train)  # streams of one, two and three digests
    layout = DrawLayout(manifest)
    candidates = keys(count)
    signs = layout.expand(candidates, Workers(threads) if threads else None)
    assert signs.shape == (count, 520 + 264 + 264 + 264 + 8 + 8)
    slices = [s for place in layout.places for s in (place.rows, place.columns)]
    assert all((s.start or 0) % 8 == 0 for s in slices)
    between = np.ones(layout.width, np.bool_)
    for used in slices:
        between[used] = False
    assert not signs[:, between].any()
    for row, key in zip(signs, candidates, strict=True):
        expected = draw.draw(manifest, key)
        for t, place in enumerate(layout.places):
            drawn = row[place.rows].tolist(), row[place.columns].tolist()
            if t in train:
                assert drawn == (expected[t].rows, expected[t].columns)
            else:
                assert not any(drawn[0] + drawn[1])


def test_no_keys_and_bad_keys() -> None:
    layout = DrawLayout(network(3, 2))
    assert layout.expand([]).shape == (0, layout.width)
    with pytest.raises(EngineError, match="key 1 has 33 bytes"):
        layout.expand([bytes(32), bytes(33)])


@settings(max_examples=60)
@given(
    st.binary(min_size=32, max_size=32),
    st.one_of(st.integers(1, 70_000), st.integers((1 << 31) - 2, (1 << 32) - 1)),
    st.integers(1, 300),
    st.sampled_from([search.BATCH, search.CHECK]),
)
def test_batches_are_the_specifications(
    work: bytes, train_count: int, size: int, purpose: bytes
) -> None:
    found = batch_indices(work, train_count, size, purpose)
    assert found.dtype == np.int64
    assert found.tolist() == search.batch_indices(work, train_count, size, purpose)
