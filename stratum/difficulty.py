"""Targets and difficulties.

Whether a hash is good enough is decided on integers alone; a difficulty is only how miners write
a target down. Nothing here chooses a difficulty.
"""

from __future__ import annotations

from fractions import Fraction

DIFFICULTY_1_TARGET = 0xFFFF << 208
"""The target of difficulty 1: a hash, read as a little-endian integer, is at most this."""

MAX_BITS = 255
"""Largest `bits` a target is defined for (one byte in the protocol, section 2)."""


def target_from_bits(bits: int) -> int:
    """Return the share target of difficulty 2^(bits - 32): `(0xffff << 240) >> bits`.

    `bits` is 0..255; at bits 32 the target is that of difficulty 1. Raises ValueError outside.
    """
    if not 0 <= bits <= MAX_BITS:
        raise ValueError(f"bits is {bits}, must be 0..{MAX_BITS}")
    return (0xFFFF << 240) >> bits


def difficulty_from_bits(bits: int) -> int | float:
    """Return 2^(bits - 32) as it is printed in `mining.set_difficulty`.

    From 32 bits on it is an int, because firmware reads "1024.0" as 0 or 1024 depending on its
    version (Stratehm/stratum-proxy#51); below it is an exact float. Raises ValueError when
    `bits` is not 0..255.
    """
    if not 0 <= bits <= MAX_BITS:
        raise ValueError(f"bits is {bits}, must be 0..{MAX_BITS}")
    return 1 << (bits - 32) if bits >= 32 else 2.0 ** (bits - 32)


def bits_from_difficulty(difficulty: int | float) -> int:
    """Return the largest bits (0..255) with 2^(bits - 32) <= difficulty, 0 where there is none.

    This is how a suggested difficulty becomes an agreed one. `difficulty` is finite and positive;
    raises ValueError otherwise.
    """
    exact = _exact(difficulty)
    numerator, denominator = exact.numerator, exact.denominator
    exponent = numerator.bit_length() - denominator.bit_length()
    if Fraction(2) ** exponent > exact:
        exponent -= 1
    return min(max(exponent + 32, 0), MAX_BITS)


def target_from_difficulty(difficulty: int | float) -> int:
    """Return floor(difficulty-1 target / difficulty), at most 2^256 - 1.

    Exact for integers, and for a float as the binary number it is. Raises ValueError unless
    `difficulty` is finite and positive.
    """
    exact = _exact(difficulty)
    return min(DIFFICULTY_1_TARGET * exact.denominator // exact.numerator, (1 << 256) - 1)


def difficulty_from_target(target: int) -> float:
    """Return the difficulty of a target, for display and suggestions. Raises ValueError below 1."""
    if target < 1:
        raise ValueError(f"target is {target}, must be positive")
    return DIFFICULTY_1_TARGET / target


def hash_difficulty(hash_le: bytes) -> float:
    """Return the difficulty a digest reaches, for display only.

    `hash_le` is SHA256d as it comes out: 32 bytes whose value is read little-endian.
    """
    return DIFFICULTY_1_TARGET / max(int.from_bytes(hash_le, "little"), 1)


def _exact(difficulty: int | float) -> Fraction:
    try:
        exact = Fraction(difficulty)
    except (OverflowError, ValueError):  # infinities and NaN
        exact = Fraction(0)
    if exact <= 0:
        raise ValueError(f"difficulty is {difficulty}, must be a finite positive number")
    return exact
