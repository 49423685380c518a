"""The search: which samples a step uses, and what its losses do to the weights (section 5).

Strategy `evolution`: one-sided candidates on a common batch, z-score coefficients, then one of two
update rules on integer masters. Losses of P candidates in, new masters and momenta out.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt

from potnode.spec.draw import TensorDraw
from potnode.spec.hashing import be32, sha256
from potnode.spec.manifest import Manifest

MASTER_LIMIT = 127 * 256
MAX_COEFFICIENT = 127


def batch_indices(work: bytes, train_count: int, batch_size: int) -> list[int]:
    """Training samples of the step with commitment `work`: uniform, with replacement.

    Rejection sampling on 32-bit words of a SHA-256 stream, so no index is likelier than another.
    """
    bound = train_count * ((1 << 32) // train_count)
    indices: list[int] = []
    block = 0
    while len(indices) < batch_size:
        digest = sha256(b"potnode/1/batch" + work + be32(block))
        for at in range(0, 32, 4):
            word = int.from_bytes(digest[at : at + 4], "big")
            if word < bound:
                indices.append(word % train_count)
        block += 1
    return indices[:batch_size]


def coefficients(losses: Sequence[int]) -> list[int]:
    """Coefficient -127..127 of every candidate: 32 z-scores, positive for a loss below the mean.

    Exact on integers of any size: for 1024 losses of 40 bits |d| is below 2^50 and the sum of
    squares below 2^110, so 64-bit integers do not hold it.
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


def step_size(manifest: Manifest, step: int, step_limit: int) -> int:
    """eta of a step: from eta0 down towards eta1, linear in the step, floor division."""
    return manifest.eta0 - ((manifest.eta0 - manifest.eta1) * step) // step_limit


def rounded_shift(value: int, bits: int) -> int:
    """rs(v, k): v / 2^k rounded to the nearest integer, ties upwards; `>>` floors."""
    return (value + (1 << (bits - 1))) >> bits


def update(rule: str, master: int, momentum: int, slope: int, eta: int) -> tuple[int, int]:
    """One weight's new (M, m) from its gradient entry G.

    Ranges: |M| <= 32512; |m| < 2^24 for P <= 1024 under both rules; m * eta needs 64 bits.
    """
    if rule == "momentum":
        momentum += -rounded_shift(momentum, 3) + (slope << 4)
        master += rounded_shift(momentum * eta, 12)
    else:
        direction = 9 * momentum + (slope << 4)
        momentum += -rounded_shift(momentum, 5) + (slope << 1)
        master += eta * ((direction > 0) - (direction < 0))
    return max(-MASTER_LIMIT, min(MASTER_LIMIT, master)), momentum
