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
from potnode.spec.draw import SIDE_COLUMNS, SIDE_ROWS, SIDE_VECTOR
from potnode.spec.hashing import be16, be32
from potnode.spec.manifest import Manifest

Signs = npt.NDArray[np.int8]

_DIGEST_BITS = 256
_CANDIDATE = b"potnode/1/draw"
_FIRST = be16(0)  # one candidate a share: j = 0


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """Where one tensor's signs lie in a candidate's row. columns: an empty slice for a bias."""

    rows: slice
    columns: slice


class DrawLayout:
    """The order of all signs of a candidate in one row.

    Tensor by tensor, first the row signs a, then the column signs b (none for a bias). Tensors that
    are not trained have their place too, and their signs are 0: they are not perturbed.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.places: list[TensorPlace] = []
        self._streams: list[tuple[bytes, slice, slice]] = []  # suffix, bits drawn, place in a row
        at = blocks = 0
        for t, shape in enumerate(manifest.tensors):
            sides = [SIDE_ROWS, SIDE_COLUMNS] if len(shape) == 2 else [SIDE_VECTOR]
            slices = []
            for side, count in zip(sides, shape, strict=True):
                place = slice(at, at + count)
                slices.append(place)
                at += count
                if t in manifest.train:
                    used = -(-count // _DIGEST_BITS)
                    drawn = slice(blocks * _DIGEST_BITS, blocks * _DIGEST_BITS + count)
                    self._streams.append((be16(t) + bytes([side]), drawn, place))
                    blocks += used
            self.places.append(TensorPlace(slices[0], slices[1] if len(shape) == 2 else slice(0)))
        self.width = at
        self._suffixes = [
            suffix + be32(block)
            for suffix, drawn, _ in self._streams
            for block in range(-(-(drawn.stop - drawn.start) // _DIGEST_BITS))
        ]

    def expand(self, hashes: Sequence[bytes]) -> Signs:
        """[len(hashes), width] signs -1, +1, or 0 where a tensor is not trained.

        Args:
            hashes: H of every share, 32 digest bytes each.

        Raises:
            EngineError: a hash has another length.
        """
        for i, digest in enumerate(hashes):
            if len(digest) != 32:
                raise EngineError(f"hash {i} has {len(digest)} bytes, a share's hash has 32")
        keys = [sha256(_CANDIDATE + digest + _FIRST).digest() for digest in hashes]
        stream = b"".join([sha256(k + s).digest() for k in keys for s in self._suffixes])
        bits = np.unpackbits(np.frombuffer(stream, np.uint8)).reshape(
            len(hashes), len(self._suffixes) * _DIGEST_BITS
        )
        signs = np.zeros((len(hashes), self.width), np.int8)
        for _, drawn, place in self._streams:
            signs[:, place] = bits[:, drawn]
            signs[:, place] *= 2
            signs[:, place] -= 1
        return signs


def batch_indices(work: bytes, train_count: int, batch_size: int) -> npt.NDArray[np.int64]:
    """[batch_size] training samples of the step with commitment `work`, 0..train_count-1."""
    bound = train_count * ((1 << 32) // train_count)
    found: list[npt.NDArray[np.int64]] = []
    missing, block = batch_size, 0
    while missing > 0:
        count = -(-missing // 8)  # eight words a digest
        digests = b"".join(
            sha256(b"potnode/1/batch" + work + be32(block + i)).digest() for i in range(count)
        )
        words = np.frombuffer(digests, ">u4").astype(np.int64)
        found.append(words[words < bound][:missing] % train_count)
        missing -= found[-1].size
        block += count
    return np.concatenate(found)
