"""Draws of many candidates at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potnode.engine.draw import DrawLayout, batch_indices
from potnode.engine.errors import EngineError
from potnode.spec import draw, search
from tests.engine.cases import hashes, network


@pytest.mark.parametrize("train", [(0, 1, 2, 3), (2,), (1, 3), (0, 3)])
def test_signs_are_the_specifications(train: tuple[int, ...]) -> None:
    manifest = network(520, 257, 4, train=train)  # streams of one, two and three digests
    layout = DrawLayout(manifest)
    shares = hashes(3)
    signs = layout.expand(shares)
    assert signs.shape == (3, 520 + 257 + 257 + 257 + 4 + 4)
    for row, share in zip(signs, shares, strict=True):
        expected = draw.draw(manifest, draw.candidate_key(share, 0))
        for t, place in enumerate(layout.places):
            drawn = row[place.rows].tolist(), row[place.columns].tolist()
            if t in train:
                assert drawn == (expected[t].rows, expected[t].columns)
            else:
                assert not any(drawn[0] + drawn[1])


def test_no_hashes_and_bad_hashes() -> None:
    layout = DrawLayout(network(3, 2))
    assert layout.expand([]).shape == (0, layout.width)
    with pytest.raises(EngineError, match="hash 1 has 33 bytes"):
        layout.expand([bytes(32), bytes(33)])


@settings(max_examples=60)
@given(
    st.binary(min_size=32, max_size=32),
    st.one_of(st.integers(1, 70_000), st.integers((1 << 31) - 2, (1 << 32) - 1)),
    st.integers(1, 300),
)
def test_batches_are_the_specifications(work: bytes, train_count: int, size: int) -> None:
    found = batch_indices(work, train_count, size)
    assert found.dtype == np.int64
    assert found.tolist() == search.batch_indices(work, train_count, size)
