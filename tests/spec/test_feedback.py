from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potnode.spec import feedback, tree
from potnode.spec.dataset import Sample
from potnode.spec.errors import InvalidDataset
from potnode.spec.search import CHECK, batch_indices

GOLDEN = json.loads((Path(__file__).parents[1] / "vectors" / "feedback.json").read_text())


def unhex(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def test_the_golden_file_says_what_the_text_says() -> None:
    pairs = [unhex(pair) for pair in GOLDEN["pairs"]]
    leaves = [
        hashlib.sha256(b"\x02" + i.to_bytes(4, "big") + pair).digest()
        for i, pair in enumerate(pairs)
    ]
    assert leaves == [unhex(leaf) for leaf in GOLDEN["leaves"]]
    for count in range(1, len(pairs) + 1):
        named = b"potnode/1/feedback" + count.to_bytes(4, "big") + tree.root(leaves[:count])
        assert unhex(GOLDEN["dataRoots"][count]) == hashlib.sha256(named).digest()
    assert unhex(GOLDEN["dataRoots"][0]) == bytes(32)


def test_a_batch_is_drawn_from_dataset_and_pairs_together() -> None:
    work, train = unhex(GOLDEN["work"]), GOLDEN["trainCount"]
    of_dataset = [Sample((i,), ()) for i in range(train)]
    pairs = [Sample(tuple(values), ()) for values in GOLDEN["values"]]
    for name, purpose in (("batches", b"potnode/1/batch"), ("checkBatches", CHECK)):
        for count, batch in enumerate(GOLDEN[name]):
            assert batch == batch_indices(work, train + count, len(batch), purpose)
            samples = [
                feedback.sample_at(i, train, of_dataset.__getitem__, pairs.__getitem__)
                for i in batch
            ]
            assert samples == [(of_dataset + pairs)[i] for i in batch]
    assert any(i >= train for i in GOLDEN["batches"][-1])


def test_roots_of_other_counts_orders_and_places_differ() -> None:
    leaves = [feedback.leaf(i, bytes([i])) for i in range(5)]
    moved = [feedback.leaf(0, bytes([1])), feedback.leaf(1, bytes([0])), *leaves[2:]]
    roots = {feedback.data_root(leaves[:n]) for n in range(6)} | {feedback.data_root(moved)}
    assert len(roots) == 7


@given(st.lists(st.integers(-127, 127), min_size=2, max_size=20).filter(lambda v: len(v) % 2 == 0))
def test_a_pair_is_read_as_it_was_written(values: list[int]) -> None:
    pair = bytes(v & 0xFF for v in values)
    assert feedback.read_pair(pair, len(values) // 2) == Sample(tuple(values), ())


@pytest.mark.parametrize(
    ("pair", "problem"), [(bytes(5), "has 6 values, not 5"), (bytes(5) + b"\x80", "value of -128")]
)
def test_what_is_no_pair_is_refused(pair: bytes, problem: str) -> None:
    with pytest.raises(InvalidDataset, match=problem):
        feedback.read_pair(pair, 3)
