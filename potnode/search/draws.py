"""What stands in the place of shares: digests and commitments counted up from a seed."""

from __future__ import annotations

from hashlib import sha256

from potnode.spec.draw import candidate_keys
from potnode.spec.hashing import be32, be64

SEED_SIZE = 32


def seed_bytes(seed: int | bytes) -> bytes:
    """A seed as 32 bytes; an integer 0..2^64-1 is hashed.

    Raises:
        ValueError: there are not 32 bytes, or the integer is out of range.
    """
    if isinstance(seed, bytes):
        if len(seed) != SEED_SIZE:
            raise ValueError(f"a seed is an integer or {SEED_SIZE} bytes, not {len(seed)} bytes")
        return seed
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"a seed is 0..2^64-1, not {seed}")
    return sha256(b"potnode/1/search/seed" + be64(seed)).digest()


def step_keys(seed: bytes, step: int, population: int, candidates_per_share: int) -> list[bytes]:
    """Keys of a step's candidates, in the order in which a job would have them.

    Digest i of a step is sha256("potnode/1/search/share" | seed | be64(step) | be32(i)), and is
    used as a share's hash is; `population` is a multiple of `candidates_per_share`.
    """
    prefix = b"potnode/1/search/share" + seed + be64(step)
    hashes = [sha256(prefix + be32(i)).digest() for i in range(population // candidates_per_share)]
    return candidate_keys(sorted(hashes), candidates_per_share)


def step_work(seed: bytes, step: int) -> bytes:
    """32 bytes in the place of the step's commitment: what its batches are drawn from."""
    return sha256(b"potnode/1/search/work" + seed + be64(step)).digest()
