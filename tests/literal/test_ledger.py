from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potnode.data.digits import digits
from potnode.literal.expansion import Expansion
from potnode.literal.ledger import Kept, Ledger, Record, expected_records
from potnode.literal.nets import build
from potnode.literal.scoring import Scorer, starting_weights

losses_ = st.lists(st.sampled_from([0.5, 1.0, 1.5, 2.0, 2.5]), max_size=30)


@given(st.lists(losses_, max_size=5), st.integers(1, 6))
def test_parts_add_up_to_what_one_pass_finds(parts: list[list[float]], keep: int) -> None:
    ledger, first = Ledger(keep), 100
    for part in parts:
        ledger.add(first, np.array(part, np.float64))
        first += len(part)
    whole = [loss for part in parts for loss in part]
    ranked = sorted(range(len(whole)), key=lambda i: (whole[i], i))[:keep]
    assert ledger.kept == [Kept(100 + i, whole[i]) for i in ranked]
    records = [i for i, loss in enumerate(whole) if loss < min(whole[:i], default=math.inf)]
    assert ledger.records == [Record(100 + i, whole[i], i + 1) for i in records]
    assert ledger.evaluated == len(whole)


def test_expected_records_are_the_harmonic_numbers() -> None:
    total = 0.0
    for n in range(1, 2000):
        total += 1 / n
        assert expected_records(n) == pytest.approx(total, abs=0.09 / n**2)
    assert expected_records(0) == 0.0
    assert expected_records(1_000_000) == pytest.approx(math.log(1e6) + 0.5772, abs=1e-4)


def test_a_real_search_sets_as_many_records_as_a_lottery() -> None:
    """The published curve: within three deviations of ln N, and so it is for every seed here."""
    data, net = digits(), build("conv", 64, 10)
    scorer = Scorer(net, starting_weights(net), 0, data.inputs[:128], data.targets[:128])
    counts = []
    for seed in ("conv1_layer", "conv2_layer", "another one"):
        ledger = Ledger(1)
        ledger.add(0, scorer.losses(Expansion(seed).weights(0, 4000, 72, 9)))
        counts.append(len(ledger.records))
    expected = expected_records(4000)
    assert all(abs(count - expected) < 3 * math.sqrt(expected) for count in counts)
