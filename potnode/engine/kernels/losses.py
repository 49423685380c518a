"""Losses and hits of a tile of samples, as `potnode.spec.evaluate` has them.

Outputs z are int32 [outputs * LANES].
"""

from __future__ import annotations

import numpy as np

from potnode.engine.kernels.compiled import compiled, inlined
from potnode.engine.kernels.vectors import LANES
from potnode.spec.manifest import MAX_VALUE_ERROR


@inlined
def classes(z, facts, targets, logarithms):  # type: ignore[no-untyped-def]
    """Sums of cross-entropy and of hits of as many samples as there are targets.

    Args:
        facts: int32 [3 * LANES], from the instruction `logits`. targets: int32, at most LANES.
        logarithms: the table of `potnode.engine.loss`.
    """
    loss = hits = np.int64(0)
    for s in range(targets.size):
        own = z[np.uint32(targets[s]) * np.uint32(LANES) + np.uint32(s)]
        loss += np.int64(logarithms[np.uint32(facts[2 * LANES + s])] + facts[s] - own)
        hits += np.int64(facts[LANES + s] == targets[s])
    return loss, hits


@compiled
def values(z, outputs, targets, samples, tolerance):  # type: ignore[no-untyped-def]
    """Sums of squared errors and of samples whose every output is within the tolerance.

    Args:
        targets: int32 [samples * outputs]. samples: 1..LANES.
    """
    loss = hits = np.int64(0)
    for s in range(samples):
        farthest = np.int64(0)
        for i in range(outputs):
            error = abs(np.int64(z[i * LANES + s]) - np.int64(targets[s * outputs + i]))
            farthest = max(farthest, error)
            kept = min(error, np.int64(MAX_VALUE_ERROR))
            loss += (kept * kept) >> 8
        hits += np.int64(farthest <= tolerance)
    return loss, hits


@compiled
def pairs(preferred, other, samples, powers, logarithms):  # type: ignore[no-untyped-def]
    """Sums of the preferences' cross-entropy and of pairs in the right order.

    Args:
        preferred, other: int32, a score for each sample. powers, logarithms: the tables of
        `potnode.engine.loss`, whose sums here are of 65536 and one power.
    """
    loss = hits = np.int64(0)
    for s in range(samples):
        ahead = np.int64(preferred[s]) - np.int64(other[s])
        total = np.int32(65536) + powers[min(abs(ahead), powers.size - 1)]
        loss += np.int64(logarithms[(total - 65536) >> 8]) + max(-ahead, np.int64(0))
        hits += np.int64(ahead > 0)
    return loss, hits
