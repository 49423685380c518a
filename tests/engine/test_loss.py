"""The unrolled tables, and through them the kernel's loss on logits of our choice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potnode.engine.loss import (
    FARTHEST,
    FLOAT_ORIGIN,
    FLOAT_SHIFT,
    LOGARITHMS,
    PARTS,
    POWERS,
    SIXTEENTHS,
)
from potnode.spec.loss import EXP2, cross_entropy


def test_powers_are_all_there() -> None:
    assert len(POWERS) == FARTHEST + 1
    assert POWERS[-1] == 0
    assert all(EXP2[d & 255] >> (d >> 8) == 0 for d in range(FARTHEST, FARTHEST + 4096))


@pytest.mark.parametrize("classes", [2, 10, 256])
@settings(max_examples=100)
@given(st.data())
def test_the_lookup_is_the_specifications_loss(classes: int, data: st.DataObject) -> None:
    spread = data.draw(st.sampled_from([1, 300, 5000, 1 << 23]))
    logits = data.draw(
        st.lists(st.integers(1 - spread, spread - 1), min_size=classes, max_size=classes)
    )
    target = data.draw(st.integers(0, classes - 1))
    top = max(logits)
    total = np.array([sum(int(POWERS[min(top - z, FARTHEST)]) for z in logits)], np.float32)
    index = (int(total.view(np.int32)[0]) >> FLOAT_SHIFT) - FLOAT_ORIGIN
    assert int(LOGARITHMS[index]) + top - logits[target] == cross_entropy(logits, target)


def test_256_equal_logits_are_the_last_logarithm() -> None:
    assert cross_entropy([5] * 256, 9) == int(LOGARITHMS[-1]) == 8 << 8


def test_a_power_is_a_rounded_product_of_two() -> None:
    products = SIXTEENTHS[:, None] * PARTS  # float32, as vector code multiplies
    assert products.dtype == np.float32
    assert np.rint(products).astype(int).reshape(-1).tolist() == list(EXP2)
