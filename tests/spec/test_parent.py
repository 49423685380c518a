"""The parent chain: compact targets as Bitcoin Core reads them, and the parent that is none."""

from __future__ import annotations

import pytest
from btclib.block.proof_of_work import bits_from_target, is_negative_bits, target_from_bits
from btclib.exceptions import BTClibValueError
from hypothesis import example, given
from hypothesis import strategies as st

from potnode.spec import work
from potnode.spec.hashing import sha256, sha256d
from potnode.spec.parent import compact_target, is_block, standalone_parent

NBITS = st.integers(0, 2**32 - 1) | st.builds(
    # Most numbers overflow: these are around the sizes where something changes.
    lambda size, word: size << 24 | word,
    st.sampled_from([0, 1, 2, 3, 4, 5, 29, 31, 32, 33, 34, 35]),
    st.integers(0, 2**24 - 1) | st.integers(0, 24).map(lambda n: (1 << n) - 1),
)


def _le(nbits: int) -> bytes:
    return nbits.to_bytes(4, "little")


@pytest.mark.parametrize(
    ("nbits", "target"),
    [
        # Bitcoin Core, arith_uint256_tests.cpp, bignum_SetCompact.
        (0x00000000, 0),
        (0x00123456, 0),
        (0x01003456, 0),
        (0x02000056, 0),
        (0x03000000, 0),
        (0x04000000, 0),
        (0x00923456, 0),
        (0x01803456, 0),
        (0x02800056, 0),
        (0x03800000, 0),
        (0x04800000, 0),
        (0x01123456, 0x12),
        (0x02123456, 0x1234),
        (0x03123456, 0x123456),
        (0x04123456, 0x12345600),
        (0x05009234, 0x92340000),
        (0x20123456, 0x123456 << 232),
        # The same cases, there negative or overflowing.
        (0x01FEDCBA, 0),
        (0x04923456, 0),
        (0xFF123456, 0),
        # The largest that fits at each size, and one more.
        (0x207FFFFF, 0x7FFFFF << 232),  # regtest
        (0x2100FFFF, 0xFFFF << 240),
        (0x21010000, 0),
        (0x220000FF, 0xFF << 248),
        (0x22000100, 0),
        (0x23000001, 0),
        # Mainnet: the first block, block 100,000, and signet.
        (0x1D00FFFF, 0xFFFF << 208),
        (0x1B04864C, 0x04864C << 192),
        (0x1E0377AE, 0x0377AE << 216),
    ],
)
def test_known_targets(nbits: int, target: int) -> None:
    assert compact_target(nbits) == target


@given(NBITS)
@example(0x01800000)
@example(0x0180FFFF)
def test_targets_are_those_of_another_implementation(nbits: int) -> None:
    big_endian = nbits.to_bytes(4, "big")
    try:
        magnitude = int.from_bytes(target_from_bits(big_endian), "big")
    except BTClibValueError:
        magnitude = 0
    assert compact_target(nbits) == (0 if is_negative_bits(big_endian) else magnitude)


@given(st.integers(0, 2**256 - 1))
def test_a_compacted_target_is_the_target_to_its_leading_bits(target: int) -> None:
    compact = bits_from_target(target.to_bytes(32, "big"))
    read = compact_target(int.from_bytes(compact, "big"))
    assert read <= target
    assert target - read < max(1 << max(target.bit_length() - 15, 0), 1)


@pytest.mark.parametrize("nbits", [-1, 1 << 32])
def test_compact_targets_are_numbers_of_32_bits(nbits: int) -> None:
    with pytest.raises(ValueError, match="32 bits"):
        compact_target(nbits)


@given(NBITS)
def test_a_block_is_at_most_its_target(nbits: int) -> None:
    target = compact_target(nbits)
    assert is_block(target.to_bytes(32, "little"), _le(nbits)) == (target > 0)
    assert not is_block((target + 1).to_bytes(32, "little"), _le(nbits))


@given(NBITS, st.binary(min_size=32, max_size=32))
def test_no_hash_meets_a_target_of_zero(nbits: int, hash_: bytes) -> None:
    if compact_target(nbits) == 0:
        assert not is_block(hash_, _le(nbits))
        assert not is_block(bytes(32), _le(nbits))


def test_the_genesis_block_meets_its_target_and_hardly_a_harder_one() -> None:
    shown = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
    hash_ = bytes.fromhex(shown)[::-1]
    assert is_block(hash_, _le(0x1D00FFFF))
    assert is_block(hash_, _le(0x1B19D669))
    assert not is_block(hash_, _le(0x1B19D668))
    assert compact_target(0x1D00FFFF) == work.target(32)


def test_the_standalone_parent_is_of_the_job_alone() -> None:
    job, other = sha256(b"job"), sha256(b"other job")
    assert standalone_parent(job) == sha256d(b"potnode/standalone" + job)
    assert len({standalone_parent(job), standalone_parent(other), job}) == 3
