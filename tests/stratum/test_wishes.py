from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.difficulty import target_from_bits
from stratum.wishes import (
    LARGEST_DIFFICULTY,
    SMALLEST_DIFFICULTY,
    Wishes,
    difficulty_of,
    suggestion,
)


@pytest.mark.parametrize(
    ("value", "difficulty"),
    [
        (1024, 1024),
        (0.00015, 0.00015),
        ("512", 512),
        (" 1024.0 ", 1024.0),
        ("1e3", 1000.0),
        ("5.", 5.0),
        (10**400, LARGEST_DIFFICULTY),
        (1e300, LARGEST_DIFFICULTY),
        ("9" * 80, LARGEST_DIFFICULTY),
        (1e-300, SMALLEST_DIFFICULTY),
        ("1e-999", None),
        ("1e999", None),
        ("9" * 81, None),
        (0, None),
        (-3, None),
        ("-3", None),
        (True, None),
        ("nan", None),
        ("inf", None),
        (math.nan, None),
        (math.inf, None),
        ("1_000", None),
        ("\u0661", None),
        ("0x10", None),
        ("", None),
        (None, None),
        ([1], None),
        ({}, None),
    ],
)
def test_difficulties_as_miners_write_them(value: object, difficulty: float | None) -> None:
    read = difficulty_of(value)
    assert read == difficulty
    assert type(read) is type(difficulty)


@given(st.integers() | st.floats() | st.text(max_size=90) | st.none())
def test_a_difficulty_read_is_within_what_targets_reach(value: object) -> None:
    read = difficulty_of(value)
    assert read is None or SMALLEST_DIFFICULTY <= read <= LARGEST_DIFFICULTY


@pytest.mark.parametrize(
    ("method", "params", "difficulty"),
    [
        ("mining.suggest_difficulty", [64], 64),
        ("mining.suggest_difficulty", ["64"], 64),
        ("mining.suggest_difficulty(64)", [], 64),
        ('mining.suggest_difficulty( "64.5" )', [], 64.5),
        ("mining.suggest_difficulty(64)", [128], 128),
        ("mining.suggest_difficulty", [], None),
        ("mining.suggest_difficulty(", [], None),
        ("mining.suggest_difficulty)64(", [], None),
    ],
)
def test_suggested_difficulties(
    method: str, params: list[object], difficulty: float | None
) -> None:
    assert suggestion(method, params) == difficulty


@given(st.integers(0, 223))
def test_a_suggested_target_is_the_difficulty_it_stands_for(bits: int) -> None:
    """Up to bits 223 a target of 2^(bits - 32) divides without remainder."""
    target = f"{target_from_bits(bits):064x}"
    for method, params in (
        ("mining.suggest_target", [target]),
        ("mining.suggest_target", [f"0x{target.upper()}"]),
        (f"mining.suggest_target({target})", []),
    ):
        assert suggestion(method, params) == 2.0 ** (bits - 32)


@pytest.mark.parametrize("written", ["", "0" * 64, "f" * 65, "0x", "+1", " 1", "\u0661", 1, None])
def test_what_is_no_target(written: object) -> None:
    assert suggestion("mining.suggest_target", [written]) is None


def test_an_all_but_impossible_target_is_still_a_wish() -> None:
    assert suggestion("mining.suggest_target", ["1"]) == LARGEST_DIFFICULTY
    assert suggestion("mining.suggest_target", ["f" * 64]) == SMALLEST_DIFFICULTY


def test_the_larger_minimum_is_in_force() -> None:
    assert Wishes().in_force == (None, None, None)
    assert Wishes(minimum_by_password=2).minimum == 2
    assert Wishes(minimum_configured=0.5).minimum == 0.5
    assert Wishes(minimum_by_password=2, minimum_configured=3).in_force == (None, None, 3)
