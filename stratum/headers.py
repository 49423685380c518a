"""Bytes of Bitcoin that a share is made of: double SHA-256, merkle root, block header.

Byte order: everything is as it stands in the 80-byte header ("internal" order); `_le` marks
numbers and hashes that people usually see the other way round.
"""

from __future__ import annotations

from hashlib import sha256

HEADER_SIZE = 80


def sha256d(data: bytes) -> bytes:
    """Return SHA256(SHA256(data)), 32 bytes as they come out."""
    return sha256(sha256(data).digest()).digest()


def merkle_root(leaf: bytes, branch: tuple[bytes, ...]) -> bytes:
    """Fold the hash of the coinbase (leaf 0, always on the left) with its siblings.

    `leaf` and every member of `branch` are 32 bytes in internal order; so is the result.
    """
    node = leaf
    for sibling in branch:
        node = sha256(sha256(node + sibling).digest()).digest()
    return node


def header80(
    *,
    version_le: bytes,
    prev_hash_le: bytes,
    merkle_root_le: bytes,
    ntime_le: bytes,
    nbits_le: bytes,
    nonce_le: bytes,
) -> bytes:
    """Join the fields of a block header: 4 + 32 + 32 + 4 + 4 + 4 = 80 bytes."""
    return version_le + prev_hash_le + merkle_root_le + ntime_le + nbits_le + nonce_le


def swap_words(data: bytes) -> bytes:
    """Reverse the bytes of each 4-byte word.

    Stratum writes the previous block's hash this way: the internal bytes, every word swapped
    (ckpool stratifier.c, `swap_256`). The swap is its own inverse. Raises ValueError when the
    length is no multiple of 4.
    """
    if len(data) % 4:
        raise ValueError(f"{len(data)} bytes are not whole 4-byte words")
    return b"".join(data[at : at + 4][::-1] for at in range(0, len(data), 4))
