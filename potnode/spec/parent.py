"""The parent chain as a header names it: its target, and the parent that is none.

Responsible for the compact form of targets (`nbits`) and for the previous hash of work that belongs
to no block (docs/protocol.md section 2). Neither has a say in what a share is: that is
`potnode.spec.work`.
"""

from __future__ import annotations

from potnode.spec.hashing import sha256d

_SIGN = 0x00800000
_MANTISSA = 0x007FFFFF


def standalone_parent(job_id: bytes) -> bytes:
    """Previous hash, 32 bytes as in the header, of a job's work that belongs to no block."""
    return sha256d(b"potnode/standalone" + job_id)


def compact_target(nbits: int) -> int:
    """The target that compact `nbits` (0..2^32 - 1, as a number) stands for, 0..2^256 - 1.

    0 where no hash meets it: Bitcoin Core reads such forms (`arith_uint256::SetCompact`) as zero,
    negative or overflowing, and `CheckProofOfWork` (pow.cpp) takes no block by them. A chain's own
    limit of easiness is not applied: which chain it is stands nowhere in a header.
    """
    if not 0 <= nbits < 1 << 32:
        raise ValueError(f"nbits must be a number of 32 bits, not {nbits}")
    size, mantissa = nbits >> 24, nbits & _MANTISSA
    target = mantissa << 8 * (size - 3) if size > 3 else mantissa >> 8 * (3 - size)
    negative = target != 0 and bool(nbits & _SIGN)
    overflows = target >= 1 << 256
    return 0 if negative or overflows else target


def is_block(hash_: bytes, nbits_le: bytes) -> bool:
    """Whether a header hash meets the target that the header's own `nbits` state.

    Args:
        hash_: 32 digest bytes, read as a little-endian integer. nbits_le: 4 bytes as in the header.
    """
    target = compact_target(int.from_bytes(nbits_le, "little"))
    return target > 0 and int.from_bytes(hash_, "little") <= target
