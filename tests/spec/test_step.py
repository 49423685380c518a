from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from potnode.spec.dataset import Sample
from potnode.spec.draw import candidate_key, draw
from potnode.spec.evaluate import candidate_loss
from potnode.spec.layers import Linear
from potnode.spec.manifest import Evolution, Greedy, Manifest, Weights
from potnode.spec.network import forward_weights
from potnode.spec.schedule import StepTerms, step_terms
from potnode.spec.search import CHECK, batch_indices, best, coefficients, update
from potnode.spec.state import State, initial_state, state_root
from potnode.spec.step import advance
from potnode.spec.vectors.ledger import Ledger
from potnode.spec.vectors.models import example_manifests
from tests.spec.cases import model

FROZEN = example_manifests()["frozen"]
WORK = hashlib.sha256(b"work").digest()
TERMS = StepTerms(step=0, population=5, batch_size=3, shift=1, eta=80)


def _keys(count: int) -> list[bytes]:
    return [candidate_key(hashlib.sha256(bytes([i])).digest(), 0) for i in range(count)]


def _unread(index: int) -> Sample:
    raise AssertionError(f"strategy evolution reads no sample, and {index} was read")


def _step(
    manifest: Manifest, state: State, keys: Sequence[bytes], losses: Sequence[int], terms: StepTerms
) -> State:
    after, factors = advance(
        manifest, state, keys, losses, terms, WORK, train_count=9, sample=_unread
    )
    assert factors == coefficients(losses)
    return after


def test_every_master_takes_the_update_of_its_slope() -> None:
    before, keys, losses = initial_state(FROZEN), _keys(5), [100, 200, 300, 250, 90]
    after = _step(FROZEN, before, keys, losses, TERMS)
    factors = coefficients(losses)
    for t in FROZEN.train:
        shape = FROZEN.tensors[t]
        for at in range(len(before.masters[t])):
            slope = 0
            for key, c in zip(keys, factors, strict=True):
                drawn = draw(FROZEN, key)[t]
                if len(shape) == 2:
                    slope += c * drawn.rows[at // shape[1]] * drawn.columns[at % shape[1]]
                else:
                    slope += c * drawn.rows[at]
            expected = update("momentum", before.masters[t][at], 0, slope, 80)
            assert (after.masters[t][at], after.momenta[t][at]) == expected


def test_only_trained_tensors_move() -> None:
    before = initial_state(FROZEN)
    after = _step(FROZEN, before, _keys(5), [100, 200, 300, 250, 90], TERMS)
    for t in range(len(FROZEN.tensors)):
        moved = (before.masters[t], before.momenta[t]) != (after.masters[t], after.momenta[t])
        assert moved == (t in FROZEN.train)
    assert state_root(after, FROZEN.weights) != state_root(before, FROZEN.weights)


def test_a_step_of_equal_losses_from_rest_changes_nothing() -> None:
    before = initial_state(FROZEN)
    assert _step(FROZEN, before, _keys(3), [7, 7, 7], TERMS) == before


def test_a_key_belongs_to_its_loss(four: Ledger) -> None:
    before, terms = four.states[0], step_terms(four.manifest, four.params, 0)
    keys = [candidate_key(h, 0) for h in four.hashes[0]]
    losses = [loss for entry in four.records[0].entries for loss in entry.losses]
    after = _step(four.manifest, before, keys, losses, terms)
    assert after == four.states[1]
    # A sum does not depend on the order.
    assert _step(four.manifest, before, keys[::-1], losses[::-1], terms) == after
    assert _step(four.manifest, before, keys[::-1], losses, terms) != after


def test_the_terms_set_the_size_of_a_step() -> None:
    before = initial_state(FROZEN)
    small, large = (
        _step(FROZEN, before, _keys(4), [1, 2, 3, 9], replace(TERMS, eta=eta)) for eta in (10, 80)
    )
    assert small.momenta == large.momenta
    assert small.masters != large.masters


# -- strategy greedy ---------------------------------------------------------------------------

CLASSIFIER = model(
    (Linear(4, 6, "relu"), Linear(2, 4, "none")),
    (3,),
    train=(0, 2, 3),
    perturbation=(6, 0),
    strategy=Greedy(0, 1),
)
SAMPLES = [Sample((v, -v // 2, 20 + i), (int(v > 0),)) for i, v in enumerate(range(-120, 121, 16))]


def _run(
    manifest: Manifest, state: State, keys: list[bytes], terms: StepTerms, work: bytes
) -> tuple[tuple[State, list[int]], list[int], list[list[int]]]:
    """A step; its losses; and base and best losses on its batch, then on the check batch."""
    weights = forward_weights(state.masters, manifest.weights)

    def loss(key: bytes | None, purpose: bytes) -> int:
        indices = batch_indices(work, len(SAMPLES), terms.batch_size, purpose)
        batch = [SAMPLES[i] for i in indices]
        drawn = draw(manifest, key) if key else None
        return candidate_loss(manifest, weights, batch, drawn, terms.shift)

    losses = [loss(key, b"potnode/1/batch") for key in keys]
    chosen = keys[best(losses)]
    seen = [[loss(k, p) for k in (None, chosen)] for p in (b"potnode/1/batch", b"potnode/1/check")]
    after = advance(
        manifest, state, keys, losses, terms, work,
        train_count=len(SAMPLES), sample=SAMPLES.__getitem__,
    )  # fmt: skip
    return after, losses, seen


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(0, 300), st.integers(1, 6), st.integers(3, 6))
def test_a_greedy_step_takes_the_best_if_both_batches_say_so(
    seed: int, margin: int, population: int, shift: int
) -> None:
    manifest = replace(CLASSIFIER, strategy=Greedy(margin, 1))
    work = hashlib.sha256(str(seed).encode()).digest()
    keys = [candidate_key(work, j) for j in range(population)]
    before = replace_momenta(initial_state(manifest), 5)
    terms = StepTerms(3, population, 4, shift, 0)
    (after, factors), losses, seen = _run(manifest, before, keys, terms, work)
    accepted = all(candidate + margin < base for base, candidate in seen)
    chosen = losses.index(min(losses))
    assert factors == [int(accepted and j == chosen) for j in range(population)]
    assert after.momenta == before.momenta
    if not accepted:
        assert after == before
        return
    drawn = draw(manifest, keys[chosen])
    for t, shape in enumerate(manifest.tensors):
        for at, master in enumerate(before.masters[t]):
            sign = 0
            if t in drawn and len(shape) == 2:
                sign = drawn[t].rows[at // shape[1]] * drawn[t].columns[at % shape[1]]
            elif t in drawn:
                sign = drawn[t].rows[at]
            moved = master + sign * 2 ** (8 + shift)
            assert after.masters[t][at] == max(-32512, min(32512, moved))


def replace_momenta(state: State, value: int) -> State:
    """The state with every momentum the same."""
    return State(state.masters, tuple((value,) * len(m) for m in state.momenta))


def _searched(wanted: tuple[bool, bool]) -> tuple[State, list[int], bytes, list[list[int]]]:
    """Some step whose best candidate is better on the batch, and on the check batch, as wanted."""
    before = initial_state(CLASSIFIER)
    for seed in range(500):
        work = hashlib.sha256(b"seed %d" % seed).digest()
        keys = [candidate_key(work, j) for j in range(3)]
        (after, factors), _, seen = _run(CLASSIFIER, before, keys, StepTerms(0, 3, 2, 4, 0), work)
        if tuple(candidate < base for base, candidate in seen) == wanted:
            return after, factors, work, seen
    raise AssertionError(f"no step is {wanted}")


@pytest.mark.parametrize("wanted", [(True, False), (False, True), (False, False)])
def test_one_batch_is_not_enough(wanted: tuple[bool, bool]) -> None:
    after, factors, _, _ = _searched(wanted)
    assert after == initial_state(CLASSIFIER)
    assert factors == [0, 0, 0]


def test_the_margin_is_to_be_passed_on_both_batches() -> None:
    after, factors, work, seen = _searched((True, True))
    assert after != initial_state(CLASSIFIER)
    assert sorted(factors) == [0, 0, 1]
    least = min(base - candidate for base, candidate in seen)
    keys = [candidate_key(work, j) for j in range(3)]
    for margin, accepted in ((least - 1, True), (least, False)):
        manifest = replace(CLASSIFIER, strategy=Greedy(margin, 1))
        (after, factors), _, _ = _run(
            manifest, initial_state(manifest), keys, StepTerms(0, 3, 2, 4, 0), work
        )
        assert sum(factors) == int(accepted)
        assert (after != initial_state(manifest)) == accepted


def test_of_equal_candidates_the_first_is_taken() -> None:
    _, factors, work, _ = _searched((True, True))
    chosen = candidate_key(work, factors.index(1))
    (_, factors), losses, _ = _run(
        CLASSIFIER, initial_state(CLASSIFIER), [chosen] * 3, StepTerms(0, 3, 2, 4, 0), work
    )
    assert len(set(losses)) == 1
    assert factors == [1, 0, 0]


@given(st.binary(min_size=32, max_size=32), st.integers(2, 200))
def test_the_check_batch_is_another(work: bytes, size: int) -> None:
    assume(size > 8)
    assert batch_indices(work, 1000, size) != batch_indices(work, 1000, size, CHECK)


def test_a_full_weight_stays_in_range_when_taken() -> None:
    full = State(
        tuple((32512,) * len(m) for m in initial_state(CLASSIFIER).masters),
        initial_state(CLASSIFIER).momenta,
    )
    keys = _keys(3)
    for seed in range(300):
        work = hashlib.sha256(b"full %d" % seed).digest()
        (after, factors), _, _ = _run(CLASSIFIER, full, keys, StepTerms(0, 3, 2, 6, 0), work)
        if any(factors):
            values = {m for t in (0, 2, 3) for m in after.masters[t]}
            assert values == {32512, 32512 - 2**14}
            return
    raise AssertionError("no candidate was taken")


def test_coarse_weights_step_by_their_masters() -> None:
    manifest = replace(CLASSIFIER, weights=Weights(1, 13), strategy=Evolution("momentum", 80, 1, 1))
    before = initial_state(manifest)
    after = _step(manifest, before, _keys(3), [5, 1, 9], replace(TERMS, eta=2000))
    assert after.masters != before.masters
    forward = forward_weights(after.masters, manifest.weights)
    assert {w for tensor in forward for w in tensor} <= {-32, 0, 32}
