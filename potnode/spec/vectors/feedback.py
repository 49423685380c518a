"""Golden data of feedback: leaves, the root for every count, and batches that reach into it."""

from __future__ import annotations

from typing import Any

from potnode.spec import feedback
from potnode.spec.hashing import sha256
from potnode.spec.search import CHECK, batch_indices
from potnode.spec.vectors.form import hexed, hexes, pattern

_PAIRS, _INPUT_SIZE, _TRAIN_COUNT, _BATCH_SIZE = 7, 3, 5, 24


def feedback_document() -> dict[str, Any]:
    """Seven pairs of three values, added to a dataset of five training samples."""
    work = sha256(b"work")
    raw = pattern(_PAIRS * 2 * _INPUT_SIZE, "pairs").replace(b"\x80", b"\x81")
    pairs = [raw[at : at + 2 * _INPUT_SIZE] for at in range(0, len(raw), 2 * _INPUT_SIZE)]
    leaves = [feedback.leaf(i, pair) for i, pair in enumerate(pairs)]
    counts = range(_PAIRS + 1)
    return {
        "inputSize": _INPUT_SIZE,
        "pairs": hexes(pairs),
        "values": [list(feedback.read_pair(pair, _INPUT_SIZE).inputs) for pair in pairs],
        "leaves": hexes(leaves),
        "dataRoots": hexes(feedback.data_root(leaves[:count]) for count in counts),
        "trainCount": _TRAIN_COUNT,
        "work": hexed(work),
        "batches": [batch_indices(work, _TRAIN_COUNT + n, _BATCH_SIZE) for n in counts],
        "checkBatches": [batch_indices(work, _TRAIN_COUNT + n, _BATCH_SIZE, CHECK) for n in counts],
    }
