"""The literal map fast: weights of many nonces at once, by machine code.

The rule is `potnode.spec.literal`; this gives the same, as arrays. Not for threads: the
interpreter's lock is not held while hashing, so callers may use several.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from potnode.literal.errors import BadSearch
from potnode.machinecode.hashing import MessageHash
from potnode.machinecode.hashing_source import DIGEST_SIZE, MAX_SIZE

WEIGHTS: Final = 8
"""Weights of a digest."""

MAX_SEED: Final = MAX_SIZE - 12
"""Bytes of a seed with which nonce and number still make one block: 43."""

_STEP = np.float32(1 / (1 << 23))
# Rows of the result so many bytes apart, or a multiple of them, would share a few cache lines.
_CROWDED = 2048

Weights = npt.NDArray[np.float32]


def digests_of(weights: int) -> int:
    """How many digests a layer takes."""
    return -(-weights // WEIGHTS)


def scale(fan_in: int) -> float:
    """What numerators are multiplied by: float32(1 / sqrt(fan_in)) / 2^23, which is exact."""
    return float(np.float32(1 / math.sqrt(fan_in)) * _STEP)


class Expansion:
    """The candidates of one seed. Safe to use from several threads."""

    def __init__(self, seed: str) -> None:
        """Compile if no seed of this length was expanded before; it takes under a second.

        Raises:
            BadSearch: the seed has not 1 to 43 bytes. MachineCodeError: there is no code for this
            machine.
        """
        self._seed = seed_bytes(seed)
        self._rows = MessageHash(len(self._seed) + 8, 4, weights=True)
        self._bytes = MessageHash(len(self._seed) + 8, 4)
        self._stream = MessageHash(len(self._seed) + 12, weights=True)

    def weights(self, first: int, count: int, size: int, fan_in: int) -> Weights:
        """Weights of candidates first..first+count-1: float32 [count, at least size].

        What is beyond `size` is padding. Each is float32(numerator * scale): the numerator, over
        2^23, times float32(1 / sqrt(fan_in)), rounded once.
        """
        digests = digests_of(size)
        if digests * DIGEST_SIZE % _CROWDED == 0:
            digests += 1
        found = np.empty((count, WEIGHTS * digests), np.float32)
        self._rows.hash(
            self._heads(first, count), _numbers(digests), found.ctypes.data, scale=scale(fan_in)
        )
        return found

    def small_weights(self, first: int, count: int, size: int) -> npt.NDArray[np.int8]:
        """The exact variant for the same candidates: int8 [count, size], -127..127."""
        digests = -(-size // DIGEST_SIZE)
        found = np.empty((count, DIGEST_SIZE * digests), np.int8)
        self._bytes.hash(self._heads(first, count), _numbers(digests), found.ctypes.data)
        return np.maximum(found[:, :size], np.int8(-127))

    def stream(self, nonce: int, first: int, count: int, fan_in: int) -> Weights:
        """Weights 8 * first up to 8 * (first + count) of one candidate: float32 [8 * count].

        For layers so large that they are needed in parts.
        """
        prefix = self._seed + nonce.to_bytes(8, "big")
        heads = _numbered(prefix, np.arange(first, first + count), ">u4")
        found = np.empty(WEIGHTS * count, np.float32)
        self._stream.hash(heads, b"", found.ctypes.data, scale=scale(fan_in))
        return found

    def _heads(self, first: int, count: int) -> bytearray:
        nonces = np.arange(count, dtype=np.uint64) + np.uint64(first)
        return _numbered(self._seed, nonces, ">u8")


def seed_bytes(seed: str) -> bytes:
    """A seed as it is hashed; BadSearch if it is empty, too long or no text."""
    try:
        encoded = seed.encode("utf-8")
    except UnicodeEncodeError:
        raise BadSearch("seed", "is no text: it has half of a surrogate pair") from None
    if not 1 <= len(encoded) <= MAX_SEED:
        raise BadSearch("seed", f"has {len(encoded)} bytes of UTF-8, not 1 to {MAX_SEED}")
    return encoded


def _numbers(count: int) -> bytes:
    return np.arange(count, dtype=">u4").tobytes()


def _numbered(prefix: bytes, numbers: npt.NDArray[np.integer], form: str) -> bytearray:
    """The prefix and a number, one after another for all numbers."""
    row = np.dtype([("prefix", f"V{len(prefix)}"), ("number", form)])
    rows = bytearray((prefix + bytes(row["number"].itemsize)) * len(numbers))
    np.frombuffer(rows, row)["number"] = numbers
    return rows
