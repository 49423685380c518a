"""The search: which samples a step uses, and what its losses do to the weights (section 5).

Strategy `evolution`: one-sided candidates on a common batch, z-score coefficients, then one of two
update rules on integer masters. Strategy `greedy`: the best candidate, if it is good enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt

from potnode.spec.draw import TensorDraw
from potnode.spec.hashing import be32, sha256
from potnode.spec.manifest import MASTER_LIMIT

MAX_COEFFICIENT = 127
BATCH, CHECK = b"potnode/1/batch", b"potnode/1/check"


def batch_indices(
    work: bytes, train_count: int, batch_size: int, purpose: bytes = BATCH
) -> list[int]:
    """Training samples of the step with commitment `work`: uniform, with replacement.

    Rejection sampling on 32-bit words of a SHA-256 stream, so no index is likelier than another.

    Args:
        purpose: BATCH, or CHECK for the second batch of strategy `greedy`.
    """
    bound = train_count * ((1 << 32) // train_count)
    indices: list[int] = []
    block = 0
    while len(indices) < batch_size:
        digest = sha256(purpose + work + be32(block))
        for at in range(0, 32, 4):
            word = int.from_bytes(digest[at : at + 4], "big")
            if word < bound:
                indices.append(word % train_count)
        block += 1
    return indices[:batch_size]


def coefficients(losses: Sequence[int]) -> list[int]:
    """Coefficient -127..127 of every candidate: 32 z-scores, positive for a loss below the mean.

    Exact on integers of any size: for 16,384 losses of 40 bits |d| is below 2^54 and the sum of
    squares below 2^122, so 64-bit integers do not hold it.
    """
    population, total = len(losses), sum(losses)
    deviations = [total - population * loss for loss in losses]
    scale = isqrt(sum(d * d for d in deviations) // population) + 1
    result = []
    for d in deviations:
        size = min(MAX_COEFFICIENT, (32 * abs(d) + scale // 2) // scale)
        result.append(size if d >= 0 else -size)
    return result


def gradient(
    shape: tuple[int, ...], draws: Sequence[TensorDraw], weights: Sequence[int]
) -> list[int]:
    """G of one tensor, flat: sum of c a bT over candidates (c a for a bias); |G| <= 127 * P."""
    if len(shape) == 1:
        return [
            sum(c * d.rows[i] for c, d in zip(weights, draws, strict=True)) for i in range(shape[0])
        ]
    return [
        sum(c * d.rows[i] * d.columns[j] for c, d in zip(weights, draws, strict=True))
        for i in range(shape[0])
        for j in range(shape[1])
    ]


def rounded_shift(value: int, bits: int) -> int:
    """rs(v, k): v / 2^k rounded to the nearest integer, ties upwards; `>>` floors."""
    return (value + (1 << (bits - 1))) >> bits


def update(rule: str, master: int, momentum: int, slope: int, eta: int) -> tuple[int, int]:
    """One weight's new (M, m) from its gradient entry G.

    Ranges: |M| <= 32512; |m| < 2^28 for P <= 16,384 under both rules; m * eta and 9 * m need more
    than 32 bits.
    """
    if rule == "momentum":
        momentum += -rounded_shift(momentum, 3) + (slope << 4)
        master += rounded_shift(momentum * eta, 12)
    else:
        direction = 9 * momentum + (slope << 4)
        momentum += -rounded_shift(momentum, 5) + (slope << 1)
        master += eta * ((direction > 0) - (direction < 0))
    return clip_master(master), momentum


def clip_master(master: int) -> int:
    """A master within -32512..32512."""
    return max(-MASTER_LIMIT, min(MASTER_LIMIT, master))


def best(losses: Sequence[int]) -> int:
    """Index of the lowest loss, the first of equals."""
    return min(range(len(losses)), key=losses.__getitem__)


def is_better(candidate: int, base: int, margin: int) -> bool:
    """Whether a loss is below that of the unperturbed weights by more than `margin`."""
    return candidate + margin < base
