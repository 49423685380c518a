"""Feedback: pairs that people add to a job in training (docs/protocol.md section 4).

Responsible for their leaves, the root a record names them by, and their place among the samples a
batch is drawn from. Only jobs of task "pairs" take any. When a pair begins to count is the
operator's choice; the record then says how many count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from potnode.spec import tree
from potnode.spec.dataset import Sample
from potnode.spec.errors import InvalidDataset
from potnode.spec.hashing import be32, sha256

LEAF_TAG = b"\x02"
NO_FEEDBACK = bytes(32)
"""data_root of a step that uses the dataset alone."""
MAX_PAIRS = 1 << 20
"""Pairs a job takes at most, so that an auditor may try every count."""


def leaf(index: int, pair: bytes) -> bytes:
    """Leaf hash of pair `index`, counted from 0 in the order of arrival.

    Args:
        pair: the preferred input's int8 values, then the other's.
    """
    return sha256(LEAF_TAG + be32(index) + pair)


def data_root(leaves: Sequence[bytes]) -> bytes:
    """data_root of a step that uses the pairs with these leaves, all from the first on."""
    if not leaves:
        return NO_FEEDBACK
    return counted_root(len(leaves), tree.root(leaves))


def counted_root(count: int, root: bytes) -> bytes:
    """data_root of `count` pairs, at least one, whose tree has this root."""
    return sha256(b"potnode/1/feedback" + be32(count) + root)


def read_pair(pair: bytes, input_size: int) -> Sample:
    """A pair as a sample: the preferred input's values, then the other's, and no target.

    Raises:
        InvalidDataset: it is not two inputs, or has a value of -128, which no activation may be.
    """
    if len(pair) != 2 * input_size:
        raise InvalidDataset(f"a pair here has {2 * input_size} values, not {len(pair)}")
    values = tuple(b - 256 if b > 127 else b for b in pair)
    if -128 in values:
        raise InvalidDataset("a pair has a value of -128, the least is -127")
    return Sample(values, ())


def sample_at(
    index: int,
    train_count: int,
    of_dataset: Callable[[int], Sample],
    of_feedback: Callable[[int], Sample],
) -> Sample:
    """The sample an index of a batch stands for.

    A step that uses `count` pairs draws its batch from train_count + count samples: those of the
    dataset, then the pairs in their order.
    """
    return of_dataset(index) if index < train_count else of_feedback(index - train_count)
