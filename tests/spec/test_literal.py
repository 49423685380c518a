from __future__ import annotations

import struct
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potnode.spec.literal import DENOMINATOR, digests, numerators, small_weights

seeds = st.text(max_size=60)
nonces = st.integers(0, 2**64 - 1)


def test_a_digest_is_of_seed_nonce_and_number() -> None:
    expected = sha256(b"conv1_layer" + bytes(7) + b"\x05" + bytes(3) + b"\x01").digest()
    assert digests("conv1_layer", 5, 2)[32:] == expected


@given(seed=seeds, nonce=nonces, count=st.integers(0, 40))
def test_weights_are_the_top_bits_of_words(seed: str, nonce: int, count: int) -> None:
    words = struct.unpack(">40I", digests(seed, nonce, 5))[:count]
    found = numerators(seed, nonce, count)
    assert [n + DENOMINATOR for n in found] == [w // 256 for w in words]
    assert all(struct.unpack("f", struct.pack("f", n / DENOMINATOR))[0] * 2**23 == n for n in found)


@given(seed=seeds, nonce=nonces, count=st.integers(0, 70))
def test_small_weights_are_bytes_without_minus_128(seed: str, nonce: int, count: int) -> None:
    signed = struct.unpack("96b", digests(seed, nonce, 3))[:count]
    assert small_weights(seed, nonce, count) == [w if w != -128 else -127 for w in signed]


@given(seed=seeds, nonce=nonces, count=st.integers(0, 40), more=st.integers(0, 40))
def test_fewer_weights_are_the_first_of_more(seed: str, nonce: int, count: int, more: int) -> None:
    assert numerators(seed, nonce, count + more)[:count] == numerators(seed, nonce, count)
    assert small_weights(seed, nonce, count + more)[:count] == small_weights(seed, nonce, count)


@pytest.mark.parametrize("nonce", [-1, 2**64])
def test_a_nonce_has_eight_bytes(nonce: int) -> None:
    with pytest.raises(OverflowError):
        numerators("s", nonce, 1)
