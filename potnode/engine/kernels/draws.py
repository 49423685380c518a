"""Signs from the bits of digests."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from potnode.engine.kernels.compiled import compiled


def _signs_of_bytes() -> npt.NDArray[np.uint64]:
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
    signs = (2 * bits.astype(np.int8) - 1).astype(np.int8)
    return np.ascontiguousarray(signs).view(np.uint64).reshape(-1)


SIGNS_OF_BYTES = _signs_of_bytes()  # the eight signs of a byte, int8 each, first bit first


@compiled
def expand_signs(bits, size, streams, table, units):  # type: ignore[no-untyped-def]
    """Signs of many candidates.

    Args:
        bits: uint8 [P * size], each candidate's digests. streams: int64 [n, 3], of each the first
        byte among a candidate's, the number of signs and their place in its row, a multiple of 8.
        table: SIGNS_OF_BYTES. units: uint64 [P * width / 8], the rows; signs that no stream has are
        left alone.
    """
    if size == 0:
        return
    candidates = bits.size // size
    width = units.size // candidates
    for c in range(candidates):
        for i in range(streams.shape[0]):
            first = c * size + streams[i, 0]
            to = c * width + streams[i, 2] // 8
            count = streams[i, 1]
            for k in range(count // 8):
                units[to + k] = table[bits[first + k]]
            rest = count % 8
            if rest > 0:
                k = count // 8
                # Signs lie in memory as the bytes of a little-endian number.
                mask = (np.uint64(1) << np.uint64(8 * rest)) - np.uint64(1)
                units[to + k] = table[bits[first + k]] & mask
