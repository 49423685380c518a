"""Draws: the candidate perturbation a share's hash stands for (docs/protocol.md section 2).

A rank-1 sign matrix per matrix and a sign vector per vector, from SHA-256 streams keyed by K_j.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from potnode.spec.hashing import be16, be32, sha256
from potnode.spec.manifest import Manifest

SIDE_ROWS, SIDE_COLUMNS, SIDE_VECTOR = 0, 1, 2


def candidate_key(hash_: bytes, index: int) -> bytes:
    """K_j: the key of candidate `index` of the share with digest H."""
    return sha256(b"potnode/1/draw" + hash_ + be16(index))


def candidate_keys(hashes: Iterable[bytes], candidates: int) -> list[bytes]:
    """Keys of all candidates of a step: share by share, `candidates` (C) of each."""
    return [candidate_key(hash_, j) for hash_ in hashes for j in range(candidates)]


def signs(key: bytes, tensor: int, side: int, count: int) -> list[int]:
    """The first `count` signs of a stream: bits most significant first, 1 -> +1, 0 -> -1."""
    drawn: list[int] = []
    block = 0
    while len(drawn) < count:
        digest = sha256(key + be16(tensor) + bytes([side]) + be32(block))
        for byte in digest:
            drawn.extend(1 if byte >> (7 - i) & 1 else -1 for i in range(8))
        block += 1
    return drawn[:count]


@dataclass(frozen=True, slots=True)
class TensorDraw:
    """One tensor's part of a perturbation, entries +-1.

    rows: the signs a, one a row or, of a vector, one an entry. columns: the signs b of a matrix,
    one a column, empty for a vector. The perturbation is a bT << e in units of one weight step,
    a << e for a vector.
    """

    rows: list[int]
    columns: list[int]


def draw(manifest: Manifest, key: bytes) -> dict[int, TensorDraw]:
    """The perturbation of key K_j, for the tensors in `train` only."""
    drawn = {}
    for tensor in manifest.train:
        shape = manifest.tensors[tensor]
        if len(shape) == 1:
            drawn[tensor] = TensorDraw(signs(key, tensor, SIDE_VECTOR, shape[0]), [])
        else:
            rows = signs(key, tensor, SIDE_ROWS, shape[0])
            drawn[tensor] = TensorDraw(rows, signs(key, tensor, SIDE_COLUMNS, shape[1]))
    return drawn
