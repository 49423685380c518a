"""The fast map against the specification's, and the golden vectors."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potnode.literal.errors import BadSearch
from potnode.literal.expansion import MAX_SEED, Expansion, digests_of
from potnode.spec.literal import DENOMINATOR, numerators, small_weights

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "literal.json").read_text("ascii"))
# One compiled code a length, so there are few lengths: the shortest, one of each kind, the longest.
seeds = st.sampled_from(["s", "Gewicht ü", "conv1_layer", "x" * MAX_SEED])
nonces = st.integers(0, 2**64 - 40)


def expected(seed: str, nonce: int, size: int, fan_in: int) -> list[float]:
    """Each weight as it is defined: an exact quotient, and one product of float32."""
    scale = np.float32(1 / math.sqrt(fan_in))
    exact = [np.float32(n / DENOMINATOR) for n in numerators(seed, nonce, size)]
    return [float(weight * scale) for weight in exact]


@settings(max_examples=30, deadline=None)
@given(seeds, nonces, st.integers(1, 20), st.integers(1, 70), st.integers(1, 1000))
def test_weights_are_those_of_the_specification(
    seed: str, first: int, count: int, size: int, fan_in: int
) -> None:
    found = Expansion(seed).weights(first, count, size, fan_in)
    assert found.dtype == np.float32
    for row in range(count):
        assert found[row, :size].tolist() == expected(seed, first + row, size, fan_in)


@settings(max_examples=20, deadline=None)
@given(seeds, nonces, st.integers(1, 20), st.integers(1, 70))
def test_small_weights_are_those_of_the_specification(
    seed: str, first: int, count: int, size: int
) -> None:
    found = Expansion(seed).small_weights(first, count, size)
    assert found.tolist() == [small_weights(seed, first + row, size) for row in range(count)]


@settings(max_examples=20, deadline=None)
@given(seeds, nonces, st.integers(0, 40), st.integers(1, 40))
def test_a_stream_is_a_part_of_one_candidate(seed: str, nonce: int, first: int, count: int) -> None:
    code = Expansion(seed)
    whole = code.weights(nonce, 1, 8 * (first + count), 5)[0, : 8 * (first + count)]
    assert code.stream(nonce, first, count, 5).tolist() == whole[8 * first :].tolist()


def test_rows_that_would_share_cache_lines_are_padded_and_right() -> None:
    found = Expansion("s").weights(3, 2, 8 * 64, 1)
    assert found.shape == (2, 8 * 65)
    assert found[1, : 8 * 64].tolist() == expected("s", 4, 8 * 64, 1)


@pytest.mark.parametrize("vector", [v for v in VECTORS["candidates"] if v["seed"] != "0x"])
def test_golden_vectors(vector: dict[str, str | int | list[int]]) -> None:
    code = Expansion(bytes.fromhex(str(vector["seed"])[2:]).decode())
    nonce, numbers, small = int(vector["nonce"]), vector["numerators"], vector["smallWeights"]  # type: ignore[arg-type]
    assert isinstance(numbers, list)
    assert isinstance(small, list)
    found = code.weights(nonce, 1, len(numbers), 1)[0, : len(numbers)]
    assert (found.astype(np.float64) * DENOMINATOR).tolist() == numbers
    assert code.small_weights(nonce, 1, len(small))[0].tolist() == small


@pytest.mark.parametrize("seed", ["", "x" * (MAX_SEED + 1), "ü" * 22, "\ud800"])
def test_a_seed_is_text_that_leaves_one_block(seed: str) -> None:
    with pytest.raises(BadSearch, match="seed"):
        Expansion(seed)


def test_eight_weights_a_digest() -> None:
    assert [digests_of(size) for size in (1, 8, 9, 100_000_000)] == [1, 1, 2, 12_500_000]
