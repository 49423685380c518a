"""A step: from the losses of its candidates to the state after it (docs/protocol.md section 5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from potnode.spec.dataset import Sample
from potnode.spec.draw import TensorDraw, draw
from potnode.spec.evaluate import candidate_loss
from potnode.spec.manifest import Evolution, Greedy, Manifest
from potnode.spec.network import MASTER_BITS, forward_weights
from potnode.spec.schedule import StepTerms
from potnode.spec.search import (
    BATCH,
    CHECK,
    batch_indices,
    best,
    clip_master,
    coefficients,
    gradient,
    is_better,
    update,
)
from potnode.spec.state import State


def advance(
    manifest: Manifest,
    state: State,
    keys: Sequence[bytes],
    losses: Sequence[int],
    terms: StepTerms,
    work: bytes,
    *,
    train_count: int,
    sample: Callable[[int], Sample],
) -> tuple[State, list[int]]:
    """The state after a step, and every candidate's coefficient -127..127.

    Args:
        keys: K_j of its candidates, shares ascending by H, each share's j in order.
        losses: theirs, u40 each. work: the step's commitment, 32 bytes.
        sample: training sample of an index; read only where a strategy evaluates once more.
    """
    if isinstance(manifest.strategy, Greedy):
        margin = manifest.strategy.margin
        chosen = best(losses)
        drawn = draw(manifest, keys[chosen])
        weights = forward_weights(state.masters, manifest.weights)

        def loss(purpose: bytes, candidate: dict[int, TensorDraw] | None) -> int:
            indices = batch_indices(work, train_count, terms.batch_size, purpose)
            batch = (sample(i) for i in indices)
            return candidate_loss(manifest, weights, batch, candidate, terms.shift)

        accepted = is_better(losses[chosen], loss(BATCH, None), margin) and is_better(
            loss(CHECK, drawn), loss(CHECK, None), margin
        )
        factors = [int(accepted and i == chosen) for i in range(len(keys))]
        return (_taken(manifest, state, drawn, terms) if accepted else state), factors
    factors = coefficients(losses)
    draws = [draw(manifest, key) for key in keys]
    return _evolved(manifest, manifest.strategy, state, draws, factors, terms), factors


def _evolved(
    manifest: Manifest,
    strategy: Evolution,
    state: State,
    draws: Sequence[dict[int, TensorDraw]],
    factors: Sequence[int],
    terms: StepTerms,
) -> State:
    masters, momenta = list(state.masters), list(state.momenta)
    for t in manifest.train:
        slopes = gradient(manifest.tensors[t], [d[t] for d in draws], factors)
        moved = [
            update(strategy.rule, big_m, m, g, terms.eta)
            for big_m, m, g in zip(state.masters[t], state.momenta[t], slopes, strict=True)
        ]
        masters[t] = tuple(m for m, _ in moved)
        momenta[t] = tuple(m for _, m in moved)
    return State(tuple(masters), tuple(momenta))


def _taken(
    manifest: Manifest, state: State, drawn: dict[int, TensorDraw], terms: StepTerms
) -> State:
    """Every trained master moved by the candidate's perturbation; momenta stay."""
    masters = list(state.masters)
    for t in manifest.train:
        signs = gradient(manifest.tensors[t], [drawn[t]], [1])
        masters[t] = tuple(
            clip_master(m + (sign << (MASTER_BITS + terms.shift)))
            for m, sign in zip(state.masters[t], signs, strict=True)
        )
    return State(tuple(masters), state.momenta)
