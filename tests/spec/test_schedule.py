"""Schedules of a job: how the population rises, and what each step is computed with."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import ceil, floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potnode.spec.manifest import Evolution, Greedy
from potnode.spec.params import JobParams, check_params
from potnode.spec.schedule import (
    StepTerms,
    on_line,
    population_at,
    shares_at,
    shares_before,
    step_terms,
)
from potnode.spec.vectors.ledger import PLANS, Ledger, open_job

PARAMS = open_job(PLANS[0]).params


@st.composite
def schedules(draw: st.DrawFn, longest: int = 300) -> JobParams:
    """Params with any population that is allowed."""
    each = draw(st.sampled_from([1, 2, 3, 5, 8, 9, 16, 17, 63, 64]))
    most = 512 if each <= 8 else 256
    last = draw(st.integers(1, most))
    first = draw(st.integers(1, last))
    params = replace(
        PARAMS,
        candidates_per_share=each,
        population=last * each,
        population_start=first * each,
        step_limit=draw(st.integers(1, longest)),
    )
    check_params(params)
    return params


@given(schedules())
def test_a_population_rises_by_whole_shares_as_the_text_has_it(params: JobParams) -> None:
    first, last, each = params.population_start, params.population, params.candidates_per_share
    steps = range(params.step_limit)
    populations = [population_at(params, s) for s in steps]
    assert populations == [
        (first + (last - first) * s // params.step_limit) // each * each for s in steps
    ]
    assert populations[0] == first
    assert populations == sorted(populations)
    assert all(p % each == 0 and first <= p <= last for p in populations)
    assert [each * shares_at(params, s) for s in steps] == populations
    # A line: no step is more than a share away from its place on it.
    for step, population in enumerate(populations):
        exact = first + (last - first) * step / params.step_limit
        assert exact - each < population <= exact


@given(schedules())
def test_shares_of_the_first_steps_are_the_sum_of_theirs(params: JobParams) -> None:
    total = 0
    for step in range(params.step_limit):
        assert shares_before(params, step) == total
        total += shares_at(params, step)
    assert shares_before(params, params.step_limit) == total


@given(schedules(longest=(1 << 32) - 1), st.integers(0, (1 << 32) - 1))
def test_sums_of_the_longest_jobs_grow_by_one_steps_shares(params: JobParams, at: int) -> None:
    step = at % params.step_limit
    grown = shares_before(params, step + 1) - shares_before(params, step)
    assert grown == shares_at(params, step)


@pytest.mark.parametrize(
    ("start", "end", "each", "limit", "shares"),
    [
        (4, 4, 1, 3, [4, 4, 4]),
        (1, 4, 1, 6, [1, 1, 2, 2, 3, 3]),
        (4, 16, 4, 6, [1, 1, 2, 2, 3, 3]),
        (3, 9, 3, 4, [1, 1, 2, 2]),
        (64, 192, 64, 1, [1]),
    ],
)
def test_populations_by_hand(
    start: int, end: int, each: int, limit: int, shares: list[int]
) -> None:
    params = replace(
        PARAMS,
        population_start=start,
        population=end,
        candidates_per_share=each,
        step_limit=limit,
    )
    assert [shares_at(params, s) for s in range(limit)] == shares


size = st.integers(0, 2**16)


@given(size, size, st.integers(1, 2**32 - 1), st.data())
def test_a_line_goes_from_first_towards_last(
    first: int, last: int, limit: int, data: st.DataObject
) -> None:
    step = data.draw(st.integers(0, limit - 1))
    exact = first + Fraction((last - first) * step, limit)
    # What moves is rounded down, so a rising line from below and a falling one from above.
    assert on_line(first, last, step, limit) == (floor(exact) if last >= first else ceil(exact))
    assert on_line(first, last, 0, limit) == first
    assert on_line(first, last, limit, limit) == last


@given(size, size, st.integers(1, 300))
def test_a_line_never_turns(first: int, last: int, limit: int) -> None:
    values = [on_line(first, last, step, limit) for step in range(limit)]
    assert values == sorted(values, reverse=last < first)


def test_lines_by_hand() -> None:
    assert [on_line(2, 0, s, 10) for s in range(10)] == [2] * 5 + [1] * 5
    assert [on_line(1, 4, s, 10) for s in range(10)] == [1, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert on_line(80, 10, 1, 100) == 80  # 80 - 70 * 1 div 100
    assert on_line(80, 10, 2, 100) == 79


def test_the_terms_of_a_step(four: Ledger) -> None:
    manifest = replace(
        four.manifest, perturbation=(6, 2), strategy=Evolution("momentum", 100, 40, 1)
    )
    params = replace(four.params, step_limit=10, batch_size=31)
    terms = [step_terms(manifest, params, s) for s in range(10)]
    assert [t.step for t in terms] == list(range(10))
    assert [t.shift for t in terms] == [6, 6, 6, 5, 5, 4, 4, 4, 3, 3]
    assert [t.eta for t in terms] == [100, 94, 88, 82, 76, 70, 64, 58, 52, 46]
    assert [t.batch_size for t in terms] == [1, 4, 7, 10, 13, 16, 19, 22, 25, 28]
    assert {t.population for t in terms} == {params.population}


def test_the_terms_of_a_golden_job(ledgers: dict[str, Ledger]) -> None:
    several = ledgers["several"]
    assert [step_terms(several.manifest, several.params, s) for s in (0, 5)] == [
        StepTerms(step=0, population=4, batch_size=4, shift=1, eta=80),
        StepTerms(step=5, population=12, batch_size=4, shift=1, eta=22),
    ]


def test_a_greedy_search_has_no_step_size(four: Ledger) -> None:
    manifest = replace(four.manifest, strategy=Greedy(5, 4))
    terms = step_terms(manifest, four.params, 1)
    assert (terms.eta, terms.batch_size, terms.shift) == (0, 4, 2)
