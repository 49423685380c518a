from __future__ import annotations

import math
from decimal import ROUND_HALF_EVEN, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potnode.spec.loss import EXP2, LOG2, cross_entropy, is_hit, preference, squared_error

near = st.lists(st.integers(-3000, 3000), min_size=2, max_size=256)
far = st.lists(st.integers(-(2**23) + 1, 2**23 - 1), min_size=2, max_size=40)


def test_the_tables_are_their_formulas() -> None:
    with localcontext() as context:
        context.prec = 60
        two, one = Decimal(2), Decimal(1)
        for i in range(256):
            exp2 = 65536 * two ** (Decimal(-i) / 256)
            log2 = 256 * (1 + Decimal(i) / 256).ln() / two.ln()
            assert EXP2[i] == exp2.quantize(one, rounding=ROUND_HALF_EVEN)
            assert LOG2[i] == log2.quantize(one, rounding=ROUND_HALF_EVEN)
            for exact in (exp2, log2):  # no entry hangs on how halves are rounded
                assert i == 0 or abs(abs(exact % 1) - Decimal("0.5")) > Decimal("1e-6")
    assert (len(EXP2), len(LOG2)) == (256, 256)


@given(near | far, st.data())
def test_the_loss_is_cross_entropy_within_a_few_units(
    logits: list[int], data: st.DataObject
) -> None:
    target = data.draw(st.integers(0, len(logits) - 1))
    largest = max(logits)
    total = math.fsum(2.0 ** ((z - largest) / 256) for z in logits)
    exact = 256 * math.log2(total) + largest - logits[target]
    assert -3.5 <= cross_entropy(logits, target) - exact <= 0.7


@given(near | far, st.data())
def test_the_loss_is_never_negative_and_shifts_do_not_change_it(
    logits: list[int], data: st.DataObject
) -> None:
    target = data.draw(st.integers(0, len(logits) - 1))
    loss = cross_entropy(logits, target)
    assert loss >= 0
    assert cross_entropy([z + 12345 for z in logits], target) == loss
    order = data.draw(st.permutations(range(len(logits))))
    shuffled = [logits[i] for i in order]
    assert cross_entropy(shuffled, order.index(target)) == loss


@pytest.mark.parametrize("classes", [2, 4, 16, 256])
def test_equal_logits_cost_the_log_of_their_number(classes: int) -> None:
    assert cross_entropy([7] * classes, 0) == 256 * int(math.log2(classes))


def test_a_distance_of_31_octaves_counts_nothing() -> None:
    assert cross_entropy([31 * 256, 0], 1) == 31 * 256
    assert cross_entropy([2**23 - 1, -(2**23) + 1], 1) == 2**24 - 2
    assert cross_entropy([2**23 - 1, -(2**23) + 1], 0) == 0


@given(st.lists(st.integers(-3, 3), min_size=2, max_size=8))
def test_the_lowest_index_of_the_maximum_is_the_answer(logits: list[int]) -> None:
    hits = [i for i in range(len(logits)) if is_hit(logits, i)]
    assert hits == [min(i for i, z in enumerate(logits) if z == max(logits))]


scores = st.integers(-3000, 3000) | st.integers(-(2**23) + 1, 2**23 - 1)


@given(scores, scores)
def test_a_preference_is_the_logistic_loss_of_the_difference(preferred: int, other: int) -> None:
    difference = (other - preferred) / 256
    exact = 256 * (max(difference, 0) + math.log2(1 + 2.0 ** -abs(difference)))
    assert -3.5 <= preference(preferred, other) - exact <= 0.7
    assert (preference(preferred, other) < preference(other, preferred)) == (preferred > other)


def test_equal_scores_cost_a_bit() -> None:
    assert preference(77, 77) == 256


@given(scores, st.integers(-(2**15), 2**15 - 1))
def test_a_squared_error_is_capped_and_rounded_down(value: int, target: int) -> None:
    error = squared_error(value, target)
    assert error == math.floor(min(32767, abs(value - target)) ** 2 / 256)
    assert 0 <= error <= 32767**2 // 256 < 2**22
    assert squared_error(-value, -target) == error


def test_squared_errors_by_hand() -> None:
    assert [squared_error(*pair) for pair in ((5, 5), (0, 15), (16, 0), (-48, 0))] == [0, 0, 1, 9]
