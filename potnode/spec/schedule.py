"""What changes from step to step by plan: population, batch size, perturbation, step size.

Each goes in a straight line from its value at the first step to that at the step limit (section 5).
"""

from __future__ import annotations

from dataclasses import dataclass

from potnode.spec.manifest import Evolution, Manifest
from potnode.spec.params import JobParams


@dataclass(frozen=True, slots=True)
class StepTerms:
    """What a step is run with.

    step: from 0. population: candidates, P. batch_size: samples, B. shift: e; a candidate moves a
    weight by 2^e steps. eta: step size, 0..2^15-1; 0 where the strategy has none.
    """

    step: int
    population: int
    batch_size: int
    shift: int
    eta: int


def on_line(first: int, last: int, step: int, step_limit: int) -> int:
    """first + (last - first) * step / step_limit, rounded towards `first`; both not negative."""
    moved = (abs(last - first) * step) // step_limit
    return first + moved if last >= first else first - moved


def step_terms(manifest: Manifest, params: JobParams, step: int) -> StepTerms:
    """The terms of a step, 0 <= step < params.step_limit."""
    strategy, limit = manifest.strategy, params.step_limit
    return StepTerms(
        step=step,
        population=population_at(params, step),
        batch_size=on_line(strategy.batch_start, params.batch_size, step, limit),
        shift=on_line(*manifest.perturbation, step, limit),
        eta=on_line(strategy.eta0, strategy.eta1, step, limit)
        if isinstance(strategy, Evolution)
        else 0,
    )


def population_at(params: JobParams, step: int) -> int:
    """P(s): candidates of a step, rising with it by whole shares."""
    return shares_at(params, step) * params.candidates_per_share


def shares_at(params: JobParams, step: int) -> int:
    """P(s) / C: shares of a step, which are the entries of its record; at least 1."""
    candidates = on_line(params.population_start, params.population, step, params.step_limit)
    return candidates // params.candidates_per_share


def shares_before(params: JobParams, steps: int) -> int:
    """Shares of the first `steps` steps together, 0..step_limit: the proofs of that many records.

    Since both populations are whole shares, a and b of them, step s has a + floor((b - a) s / L):
    the sum of the floors is counted as Euclid's algorithm counts the points of a grid below a line,
    without going through the steps, of which there may be 2^32.
    """
    first = params.population_start // params.candidates_per_share
    slope = params.population // params.candidates_per_share - first
    total, limit, count, rest = steps * first, params.step_limit, steps, 0
    while count:
        total += count * (count - 1) // 2 * (slope // limit) + count * (rest // limit)
        slope, rest = slope % limit, rest % limit
        count, rest = divmod(slope * count + rest, limit)
        slope, limit = limit, slope
    return total
