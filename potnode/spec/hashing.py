"""Hash functions and fixed-width integers the rules are written with.

SHA-256 comes from the standard library. Keccak-256 (the EVM's hash: original Keccak padding 0x01,
not the 0x06 of FIPS 202 SHA3-256) is not there, so the permutation is written out here.
"""

from __future__ import annotations

from hashlib import sha256 as _sha256

_MASK = (1 << 64) - 1
_RATE = 136  # bytes absorbed per permutation at capacity 512 bits

# Round constants and rotation offsets of Keccak-f[1600] (Keccak reference, section 1.2).
_ROUND_CONSTANTS = (
    0x0000000000000001, 0x0000000000008082, 0x800000000000808A, 0x8000000080008000,
    0x000000000000808B, 0x0000000080000001, 0x8000000080008081, 0x8000000000008009,
    0x000000000000008A, 0x0000000000000088, 0x0000000080008009, 0x000000008000000A,
    0x000000008000808B, 0x800000000000008B, 0x8000000000008089, 0x8000000000008003,
    0x8000000000008002, 0x8000000000000080, 0x000000000000800A, 0x800000008000000A,
    0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008,
)  # fmt: skip
_ROTATIONS = (
     0,  1, 62, 28, 27,
    36, 44,  6, 55, 20,
     3, 10, 43, 25, 39,
    41, 45, 15, 21,  8,
    18,  2, 61, 56, 14,
)  # fmt: skip
# Lane (x, y) moves to (y, 2x + 3y): index x + 5y -> y + 5 * (2x + 3y mod 5).
_PI = tuple((i // 5) + 5 * ((2 * (i % 5) + 3 * (i // 5)) % 5) for i in range(25))


def sha256(data: bytes) -> bytes:
    """SHA-256 digest, 32 bytes."""
    return _sha256(data).digest()


def sha256d(data: bytes) -> bytes:
    """SHA-256 of the SHA-256, as Bitcoin hashes headers and transactions; 32 digest bytes."""
    return _sha256(_sha256(data).digest()).digest()


def keccak256(data: bytes) -> bytes:
    """Keccak-256 digest as the EVM's KECCAK256 opcode computes it, 32 bytes."""
    padded = bytearray(data)
    padded.append(0x01)
    padded.extend(bytes(-len(padded) % _RATE))
    padded[-1] |= 0x80
    lanes = [0] * 25
    for start in range(0, len(padded), _RATE):
        for i in range(_RATE // 8):
            offset = start + 8 * i
            lanes[i] ^= int.from_bytes(padded[offset : offset + 8], "little")
        _permute(lanes)
    return b"".join(lane.to_bytes(8, "little") for lane in lanes[:4])


def _permute(a: list[int]) -> None:
    """Keccak-f[1600] in place on 25 lanes of 64 bits, lane (x, y) at index x + 5y."""
    b = [0] * 25
    for constant in _ROUND_CONSTANTS:
        # theta
        c = [a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20] for x in range(5)]
        d = [
            c[x - 1] ^ (((c[(x + 1) % 5] << 1) | (c[(x + 1) % 5] >> 63)) & _MASK) for x in range(5)
        ]
        # rho and pi
        for i in range(25):
            lane = a[i] ^ d[i % 5]
            shift = _ROTATIONS[i]
            b[_PI[i]] = ((lane << shift) | (lane >> (64 - shift))) & _MASK
        # chi
        for row in range(0, 25, 5):
            b0, b1, b2, b3, b4 = b[row : row + 5]
            a[row] = b0 ^ (~b1 & b2)
            a[row + 1] = b1 ^ (~b2 & b3)
            a[row + 2] = b2 ^ (~b3 & b4)
            a[row + 3] = b3 ^ (~b4 & b0)
            a[row + 4] = b4 ^ (~b0 & b1)
        # iota
        a[0] ^= constant


def be16(value: int) -> bytes:
    """Two bytes, big-endian; OverflowError outside 0..2^16-1."""
    return value.to_bytes(2, "big")


def be32(value: int) -> bytes:
    """Four bytes, big-endian; OverflowError outside 0..2^32-1."""
    return value.to_bytes(4, "big")


def be40(value: int) -> bytes:
    """Five bytes, big-endian; OverflowError outside 0..2^40-1."""
    return value.to_bytes(5, "big")


def be64(value: int) -> bytes:
    """Eight bytes, big-endian; OverflowError outside 0..2^64-1."""
    return value.to_bytes(8, "big")


def signed32_le(value: int) -> bytes:
    """Four bytes, two's complement, little-endian; OverflowError outside -2^31..2^31-1."""
    return value.to_bytes(4, "little", signed=True)
