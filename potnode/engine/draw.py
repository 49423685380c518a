"""Draws of many candidates at once: sign rows as int8 arrays, and the samples of a batch.

The rules are those of `potnode.spec.draw` and `potnode.spec.search.batch_indices`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from potnode.engine.errors import EngineError
from potnode.engine.kernels.draws import SIGNS_OF_BYTES, expand_signs
from potnode.engine.workers import Workers
from potnode.machinecode.hashing import MessageHash
from potnode.spec.draw import SIDE_COLUMNS, SIDE_ROWS, SIDE_VECTOR
from potnode.spec.hashing import be16, be32
from potnode.spec.manifest import Manifest
from potnode.spec.search import BATCH

Signs = npt.NDArray[np.int8]

_DIGEST = 32
_SUFFIX = 7  # tensor, side, block
_UNIT = 8  # signs; those of a digest's byte are written at once
_GRAIN = 64  # candidates of one part
_BLOCK_TIME = 50.0  # nanoseconds that 256 signs take, roughly


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """Where one tensor's signs lie in a candidate's row. columns: an empty slice for a vector."""

    rows: slice
    columns: slice


class DrawLayout:
    """The order of all signs of a candidate in one row.

    Tensor by tensor, first the row signs a, then the column signs b (none for a vector), each from
    a multiple of eight on. Tensors that are not trained have their place too; their signs are 0:
    they are not perturbed. So are the signs between two places.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.places: list[TensorPlace] = []
        streams = []  # first byte among a candidate's digests, signs, place in its row
        suffixes: list[bytes] = []
        at = 0
        for t, shape in enumerate(manifest.tensors):
            sides = [SIDE_ROWS, SIDE_COLUMNS] if len(shape) == 2 else [SIDE_VECTOR]
            slices = []
            for side, count in zip(sides, shape, strict=True):
                slices.append(slice(at, at + count))
                if t in manifest.train:
                    streams.append((_DIGEST * len(suffixes), count, at))
                    suffixes += [
                        be16(t) + bytes([side]) + be32(block)
                        for block in range(-(-count // (8 * _DIGEST)))
                    ]
                at += -(-count // _UNIT) * _UNIT
            self.places.append(TensorPlace(slices[0], slices[1] if len(shape) == 2 else slice(0)))
        self.width = at
        self._streams = np.array(streams, np.int64)
        self._suffixes = b"".join(suffixes)
        self._hash = MessageHash(_DIGEST, _SUFFIX)

    def expand(self, keys: Sequence[bytes], workers: Workers | None = None) -> Signs:
        """[len(keys), width] signs -1, +1, or 0 where a tensor is not trained.

        Args:
            keys: K_j of every candidate, 32 bytes each. workers: to share the work among.

        Raises:
            EngineError: a key has another length.
        """
        for i, key in enumerate(keys):
            if len(key) != _DIGEST:
                raise EngineError(f"key {i} has {len(key)} bytes, a candidate's key has {_DIGEST}")
        signs = np.zeros((len(keys), self.width), np.int8)
        units = signs.reshape(-1).view(np.uint64)
        size = len(self._suffixes) // _SUFFIX * _DIGEST  # bytes a candidate draws

        def part(first: int, last: int) -> None:
            digests = self._hash.digests(b"".join(keys[first:last]), self._suffixes)
            bits = np.frombuffer(digests, np.uint8)
            width = self.width // _UNIT
            expand_signs(
                bits, size, self._streams, SIGNS_OF_BYTES, units[first * width : last * width]
            )

        if workers is None:
            if keys:
                part(0, len(keys))
        else:
            workers.share(part, len(keys), _GRAIN, each=_BLOCK_TIME * size / _DIGEST)
        return signs


def batch_indices(
    work: bytes, train_count: int, batch_size: int, purpose: bytes = BATCH
) -> npt.NDArray[np.int64]:
    """[batch_size] training samples of the step with commitment `work`, 0..train_count-1.

    purpose: BATCH or CHECK of `potnode.spec.search`.
    """
    bound = train_count * ((1 << 32) // train_count)
    found: list[npt.NDArray[np.int64]] = []
    missing, block = batch_size, 0
    while missing > 0:
        count = -(-missing // 8)  # eight words a digest
        digests = b"".join(sha256(purpose + work + be32(block + i)).digest() for i in range(count))
        words = np.frombuffer(digests, ">u4").astype(np.int64)
        found.append(words[words < bound][:missing] % train_count)
        missing -= found[-1].size
        block += count
    return np.concatenate(found)
