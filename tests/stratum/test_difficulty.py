from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.difficulty import (
    DIFFICULTY_1_TARGET,
    bits_from_difficulty,
    difficulty_from_bits,
    difficulty_from_target,
    hash_difficulty,
    target_from_bits,
    target_from_difficulty,
)
from tests.stratum.support import BITAXE, RECORDED


def test_difficulty_one_is_32_bits() -> None:
    assert target_from_bits(32) == DIFFICULTY_1_TARGET == 0xFFFF << 208


@given(st.integers(0, 255))
def test_target_of_bits_is_the_target_of_their_difficulty(bits: int) -> None:
    assert target_from_difficulty(difficulty_from_bits(bits)) == target_from_bits(bits)
    assert bits_from_difficulty(difficulty_from_bits(bits)) == bits


def test_from_difficulty_one_on_it_is_printed_without_a_point() -> None:
    assert msgspec.json.encode([difficulty_from_bits(32), difficulty_from_bits(42)]) == b"[1,1024]"
    assert difficulty_from_bits(14) == 2.0**-18


@given(st.floats(min_value=1e-9, max_value=1e30) | st.integers(1, 1 << 200))
def test_bits_are_the_power_of_two_below(difficulty: float) -> None:
    bits = bits_from_difficulty(difficulty)
    assert difficulty_from_bits(bits) <= difficulty < difficulty_from_bits(bits + 1)


def test_bits_stay_in_their_byte() -> None:
    assert bits_from_difficulty(1e-300) == 0
    assert bits_from_difficulty(1 << 255) == 255


@pytest.mark.parametrize("bits", [-1, 256])
def test_bits_outside_their_byte_are_refused(bits: int) -> None:
    with pytest.raises(ValueError, match=r"must be 0\.\.255"):
        target_from_bits(bits)
    with pytest.raises(ValueError, match=r"must be 0\.\.255"):
        difficulty_from_bits(bits)


@pytest.mark.parametrize("difficulty", [0, -1, -0.5, math.inf, math.nan])
def test_a_difficulty_is_finite_and_positive(difficulty: float) -> None:
    with pytest.raises(ValueError, match="finite positive"):
        target_from_difficulty(difficulty)
    with pytest.raises(ValueError, match="finite positive"):
        bits_from_difficulty(difficulty)


def test_recorded_difficulties_come_out() -> None:
    for session in RECORDED:
        for share in session["shares"]:
            assert hash_difficulty(bytes.fromhex(share["hash_le"])) == pytest.approx(
                share["difficulty"], rel=1e-12
            )
    bitaxe_le = bytes.fromhex(BITAXE["hash_display"])[::-1]
    assert hash_difficulty(bitaxe_le) == pytest.approx(BITAXE["difficulty"], rel=1e-6)


def test_extreme_hashes_and_targets_have_a_difficulty() -> None:
    assert hash_difficulty(bytes(32)) == float(DIFFICULTY_1_TARGET)
    assert 0 < hash_difficulty(b"\xff" * 32) < 1e-9
    assert difficulty_from_target(DIFFICULTY_1_TARGET // 512) == pytest.approx(512)
    with pytest.raises(ValueError, match="must be positive"):
        difficulty_from_target(0)
