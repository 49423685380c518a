from __future__ import annotations

import hashlib

import pytest
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from potnode.spec.hashing import (
    be16,
    be32,
    be40,
    be64,
    keccak256,
    sha256,
    sha256d,
    signed32_le,
)


def test_keccak_of_nothing_is_the_known_constant() -> None:
    expected = "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    assert keccak256(b"").hex() == expected


@given(st.binary(max_size=600))
def test_keccak_equals_another_implementation(data: bytes) -> None:
    assert keccak256(data) == keccak(data)


@pytest.mark.parametrize("size", [134, 135, 136, 137, 271, 272, 273])
def test_keccak_at_the_edges_of_its_rate(size: int) -> None:
    data = bytes(i % 251 for i in range(size))
    assert keccak256(data) == keccak(data)


@given(st.binary(max_size=200))
def test_sha256d_is_sha256_twice(data: bytes) -> None:
    assert sha256d(data) == hashlib.sha256(hashlib.sha256(data).digest()).digest()
    assert sha256d(data) == sha256(sha256(data))


def test_integers_have_fixed_widths_and_byte_orders() -> None:
    assert be16(0x0102) == bytes([1, 2])
    assert be32(1) == bytes([0, 0, 0, 1])
    assert be40(1 << 32) == bytes([1, 0, 0, 0, 0])
    assert be64(258) == bytes([0] * 6 + [1, 2])
    assert signed32_le(-2) == bytes([0xFE, 0xFF, 0xFF, 0xFF])


@pytest.mark.parametrize(
    ("encode", "size"), [(be16, 16), (be32, 32), (be40, 40), (be64, 64), (signed32_le, 31)]
)
def test_what_does_not_fit_is_refused(encode, size: int) -> None:  # type: ignore[no-untyped-def]
    encode((1 << size) - 1)
    with pytest.raises(OverflowError):
        encode(1 << size)
