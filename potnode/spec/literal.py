"""The literal map: a string and a nonce as the weights of a layer (docs/protocol.md section 8).

Weights are numerators here, exact integers; dividing them by 2^23 is exact in float32, and scaling
them by the layer's fan-in is not, which is why nothing made of them is ever recorded.
"""

from __future__ import annotations

from potnode.spec.hashing import be32, be64, sha256

DENOMINATOR = 1 << 23


def digests(seed: str, nonce: int, count: int) -> bytes:
    """The first `count` digests of a candidate, 32 bytes each; OverflowError outside u64, u32."""
    prefix = seed.encode("utf-8") + be64(nonce)
    return b"".join(sha256(prefix + be32(i)) for i in range(count))


def numerators(seed: str, nonce: int, count: int) -> list[int]:
    """The first `count` weights times 2^23: -2^23..2^23-1, eight a digest."""
    stream = digests(seed, nonce, -(-count // 8))
    words = (int.from_bytes(stream[4 * k : 4 * k + 4], "big") for k in range(count))
    return [(word >> 8) - DENOMINATOR for word in words]


def small_weights(seed: str, nonce: int, count: int) -> list[int]:
    """The exact variant: the first `count` weights as int8, -127..127, one a byte."""
    stream = digests(seed, nonce, -(-count // 32))
    return [max(-127, byte - 256 if byte > 127 else byte) for byte in stream[:count]]
