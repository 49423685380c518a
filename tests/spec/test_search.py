from __future__ import annotations

import hashlib
from fractions import Fraction
from itertools import chain
from math import isqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potnode.spec.draw import TensorDraw
from potnode.spec.manifest import MASTER_LIMIT
from potnode.spec.search import (
    CHECK,
    batch_indices,
    best,
    clip_master,
    coefficients,
    gradient,
    is_better,
    rounded_shift,
    update,
)

works = st.binary(min_size=32, max_size=32)
losses = st.lists(st.integers(0, 2**40 - 1), min_size=1, max_size=80)


def _words(work: bytes, blocks: int, tag: bytes = b"potnode/1/batch") -> list[int]:
    digests = (hashlib.sha256(tag + work + c.to_bytes(4, "big")).digest() for c in range(blocks))
    return list(
        chain.from_iterable(
            (int.from_bytes(d[i : i + 4], "big") for i in range(0, 32, 4)) for d in digests
        )
    )


@given(works, st.integers(1, 2**32 - 1), st.integers(1, 200))
def test_a_batch_is_words_of_a_stream_with_the_uneven_rest_refused(
    work: bytes, count: int, size: int
) -> None:
    bound = count * (2**32 // count)
    assert bound % count == 0  # every index has the same number of words
    assert 2**32 - count < bound <= 2**32  # and fewer than `count` words are refused
    indices = batch_indices(work, count, size)
    accepted = [w % count for w in _words(work, size) if w < bound]
    assert indices == accepted[:size]
    assert len(indices) == size
    assert all(0 <= i < count for i in indices)


@given(works, st.integers(1, 2**32 - 1), st.integers(1, 50))
def test_the_check_batch_is_drawn_likewise_from_a_stream_of_its_own(
    work: bytes, count: int, size: int
) -> None:
    bound = count * (2**32 // count)
    accepted = [w % count for w in _words(work, size, b"potnode/1/check") if w < bound]
    assert batch_indices(work, count, size, CHECK) == accepted[:size]


@given(works, st.integers(1, 100), st.integers(1, 100))
def test_a_smaller_batch_is_the_start_of_a_larger(work: bytes, one: int, two: int) -> None:
    small, large = sorted((one, two))
    assert batch_indices(work, 1500, large)[:small] == batch_indices(work, 1500, small)


def test_the_first_word_of_the_uneven_rest_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    bound = 10 * (2**32 // 10)
    words = [bound, bound - 1, 0, 2**32 - 1, 13, bound + 1, 7, 8]
    block = b"".join(word.to_bytes(4, "big") for word in words)
    monkeypatch.setattr("potnode.spec.search.sha256", lambda _: block)
    assert batch_indices(bytes(32), 10, 10) == [9, 0, 3, 7, 8] * 2


def test_samples_are_drawn_evenly() -> None:
    counts = [0] * 10
    for index in batch_indices(bytes(32), 10, 65_536):
        counts[index] += 1
    # Chi-squared with 9 degrees of freedom; 33.7 is passed once in 10,000 streams, this is one.
    assert sum((n - 6553.6) ** 2 / 6553.6 for n in counts) < 33.7


@given(losses)
def test_coefficients_are_rounded_z_scores(values: list[int]) -> None:
    population, total = len(values), sum(values)
    found = coefficients(values)
    deviations = [total - population * value for value in values]
    scale = isqrt(sum(d * d for d in deviations) // population) + 1
    for c, d in zip(found, deviations, strict=True):
        assert -127 <= c <= 127
        assert c * d >= 0  # better than the mean is positive
        assert abs(c) == min(127, (64 * abs(d) + scale - scale % 2) // (2 * scale))


@given(losses)
def test_a_better_loss_never_weighs_less(values: list[int]) -> None:
    ranked = sorted(zip(values, coefficients(values), strict=True))
    weights = [c for _, c in ranked]
    assert weights == sorted(weights, reverse=True)
    if 127 not in map(abs, weights):
        assert abs(sum(weights)) <= len(weights)  # half a unit of rounding each, and the +1 of R


@given(losses, st.integers(0, 2**39))
def test_what_all_losses_share_has_no_weight(values: list[int], shared: int) -> None:
    assert coefficients([value + shared for value in values]) == coefficients(values)


@given(losses, st.randoms(use_true_random=False))
def test_the_order_of_candidates_does_not_matter(values: list[int], random) -> None:  # type: ignore[no-untyped-def]
    order = list(range(len(values)))
    random.shuffle(order)
    found = coefficients(values)
    assert coefficients([values[i] for i in order]) == [found[i] for i in order]


@given(st.integers(0, 2**40 - 1), st.integers(1, 64))
def test_equal_losses_move_nothing(loss: int, population: int) -> None:
    assert coefficients([loss] * population) == [0] * population


def test_two_candidates_weigh_the_same_and_an_outlier_is_capped() -> None:
    assert coefficients([1000, 2000]) == [32, -32]
    assert coefficients([0] * 63 + [10**6])[-1] == -127


def test_sums_of_the_largest_losses_are_exact() -> None:
    half = 8192
    values = [0] * half + [2**40 - 1] * half
    total = sum(values)
    deviations = [total - 2 * half * value for value in values]
    assert max(map(abs, deviations)) < 2**54
    assert 2**64 < sum(d * d for d in deviations) < 2**122
    assert coefficients(values) == [32] * half + [-32] * half


@given(st.data())
def test_the_gradient_is_a_sum_of_outer_products(data: st.DataObject) -> None:
    out, inputs, population = (data.draw(st.integers(1, 5)) for _ in range(3))
    sign = st.sampled_from([1, -1])
    draws = [
        TensorDraw(
            data.draw(st.lists(sign, min_size=out, max_size=out)),
            data.draw(st.lists(sign, min_size=inputs, max_size=inputs)),
        )
        for _ in range(population)
    ]
    weights = data.draw(st.lists(st.integers(-127, 127), min_size=population, max_size=population))
    flat = [0] * (out * inputs)
    bias = [0] * out
    for d, c in zip(draws, weights, strict=True):
        for i, a in enumerate(d.rows):
            bias[i] += c * a
            for j, b in enumerate(d.columns):
                flat[i * inputs + j] += c * a * b
    assert gradient((out, inputs), draws, weights) == flat
    assert gradient((out,), draws, weights) == bias
    assert max(map(abs, flat)) <= 127 * population


@given(st.integers(-(2**60), 2**60), st.integers(1, 16))
def test_rounding_is_to_the_nearest_and_ties_rise(value: int, bits: int) -> None:
    shifted = rounded_shift(value, bits)
    error = Fraction(value, 2**bits) - shifted
    assert -Fraction(1, 2) <= error < Fraction(1, 2)


# The largest momentum a slope can build up; rounding adds the last term. The largest slope is that
# of 16,384 candidates.
SLOPE = 127 * 16_384
MOMENTUM_LIMIT = {"momentum": 128 * SLOPE + 4, "sign_momentum": 64 * SLOPE + 16}


@given(
    st.sampled_from(sorted(MOMENTUM_LIMIT)),
    st.integers(-MASTER_LIMIT, MASTER_LIMIT),
    st.floats(-1, 1),
    st.integers(-SLOPE, SLOPE),
    st.integers(0, 2**15 - 1),
)
def test_updates_stay_in_their_ranges(
    rule: str, master: int, part: float, slope: int, eta: int
) -> None:
    limit = MOMENTUM_LIMIT[rule]
    assert limit < 2**28
    assert 9 * limit < 2**63
    momentum = int(part * limit)
    new_master, new_momentum = update(rule, master, momentum, slope, eta)
    assert abs(new_momentum) <= limit
    assert abs(new_master) <= MASTER_LIMIT
    if rule == "sign_momentum":
        assert abs(new_master - master) in {0, eta} or abs(new_master) == MASTER_LIMIT


@pytest.mark.parametrize("rule", sorted(MOMENTUM_LIMIT))
@pytest.mark.parametrize("slope", [SLOPE, -SLOPE])
def test_momentum_of_a_slope_that_never_turns_has_a_limit(rule: str, slope: int) -> None:
    master = momentum = 0
    for _ in range(800):
        master, momentum = update(rule, master, momentum, slope, 1)
    limit = MOMENTUM_LIMIT[rule]
    assert limit - 32 <= abs(momentum) <= limit
    assert abs(momentum * (2**15 - 1)) < 2**63


def test_both_rules_by_hand() -> None:
    # m = 100 - rs(100, 3) + 16 * 5 = 100 - 13 + 80; M = 7 + rs(167 * 50, 12) = 7 + 2
    assert update("momentum", 7, 100, 5, 50) == (9, 167)
    # direction of 9 * 100 - 16 * 60 < 0; m = 100 - rs(100, 5) - 2 * 60 = 100 - 3 - 120
    assert update("sign_momentum", 7, 100, -60, 50) == (-43, -23)
    assert update("sign_momentum", 7, 0, 0, 50) == (7, 0)
    assert update("sign_momentum", 32500, 0, 9, 50) == (32512, 18)


@given(losses)
def test_the_best_is_the_first_of_the_lowest(values: list[int]) -> None:
    assert best(values) == values.index(min(values))


def test_ties_go_to_the_lowest_index() -> None:
    assert best([5, 3, 3, 9, 3]) == 1


def test_better_is_by_more_than_the_margin() -> None:
    assert is_better(99, 100, 0)
    assert not is_better(100, 100, 0)
    assert is_better(89, 100, 10)
    assert not is_better(90, 100, 10)


@given(st.integers(-(2**20), 2**20))
def test_masters_are_clipped(master: int) -> None:
    assert clip_master(master) == sorted([-32512, master, 32512])[1]
