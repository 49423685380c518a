"""The engine against the specification, bit for bit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potnode.engine import engine as engine_module
from potnode.engine.engine import Engine
from potnode.engine.errors import EngineError
from potnode.engine.state import EngineState
from potnode.spec import search
from potnode.spec import state as spec_state
from potnode.spec import step as spec_step
from potnode.spec.errors import InvalidJob
from potnode.spec.layers import Conv2d, Depthwise, Embedding, Gru, Linear, MaxPool, Norm
from potnode.spec.manifest import Greedy, Manifest, NextByte, Pairs, Task, Values, chunk_length
from tests.engine.cases import (
    Samples,
    check_losses,
    keys,
    manifests,
    model,
    network,
    samples,
    spec_losses,
    state,
    terms,
)


def uniform(manifest: Manifest, master: int) -> EngineState:
    """Every master the same, momenta 0."""
    masters = tuple(np.full(prod(s), master, np.int32) for s in manifest.tensors)
    return EngineState(masters, tuple(np.zeros_like(m) for m in masters))


def check_step(engine: Engine, data: Samples, before: EngineState, count: int) -> EngineState:
    """A step by engine and specification; the state after it."""
    manifest, work = engine.manifest, sha256(b"work").digest()
    now = terms(manifest, population=count, batch=6)
    candidates, batch = keys(count), engine.batch(work, 6)
    losses = engine.losses(before, candidates, batch, now)
    assert losses == spec_losses(manifest, data, before, candidates, batch, now.shift)
    after, factors = engine.advance(before, candidates, losses, work, now)
    expected, expected_factors = spec_step.advance(
        manifest, before.to_spec(), candidates, losses, now, work,
        train_count=data.header.train_count, sample=data.sample,
    )  # fmt: skip
    assert after.to_spec() == expected
    assert factors == expected_factors
    assert engine.root(after) == spec_state.state_root(expected, manifest.weights)
    return after


@settings(max_examples=100)
@given(manifests(), st.integers(0, 1 << 32), st.integers(1, 5))
def test_any_small_model_is_the_specifications(
    manifest: Manifest, seed: int, population: int
) -> None:
    data = samples(manifest, 4, 3, seed=seed)
    engine = Engine(manifest, data, threads=1)
    before = state(manifest, seed)
    check_losses(engine, data, before, population)
    check_step(engine, data, before, population)


@pytest.mark.parametrize("rule", ["momentum", "sign_momentum"])
def test_a_training_run_has_the_specifications_roots(rule: str) -> None:
    manifest = network(20, 9, 5, e=1, rule=rule)
    data = samples(manifest, 40, 11)
    engine = Engine(manifest, data, threads=2)
    now = engine.initial()
    assert now.to_spec() == spec_state.initial_state(manifest)
    for _ in range(3):
        now = check_step(engine, data, now, 20)
    check_losses(engine, data, now, 1)


def test_greedy_steps_are_taken_and_refused() -> None:
    layers = (Linear(5, 6, "relu"), Linear(3, 4, "none"))
    taken = set()
    for margin in (0, 100_000):
        manifest = model(layers, (7,), strategy=Greedy(margin, 1), perturbation=(5, 0))
        data = samples(manifest, 12, 1)
        engine = Engine(manifest, data, threads=2)
        for seed in range(5):
            before = state(manifest, seed)
            taken.add((margin, check_step(engine, data, before, 8) != before))
    assert taken >= {(0, True), (100_000, False)}


TALL = (
    Conv2d(9, (3, 3), (1, 1), (1, 1), 7, "relu"),
    Depthwise((3, 2), (2, 1), (2, 1), 6, "clip"),
    MaxPool((2, 2), (1, 2)),
    Conv2d(6, (1, 2), (1, 1), (0, 1), 7, "clip"),
    Norm(),
    Linear(4, 3, "none"),
)


@pytest.mark.parametrize("channels", [1, 3, 4, 5])
@pytest.mark.parametrize("first", [0, 2, 4, 7])
@pytest.mark.parametrize("master", [32512, -32512, None])
def test_convolutions_with_whole_and_part_quads(
    channels: int, first: int, master: int | None
) -> None:
    """Trained from any layer on; weights that fill int8 under a candidate, and that don't."""
    manifest = model(TALL, (channels, 5, 6), perturbation=(2, 0), train=tuple(range(first, 9)))
    data = samples(manifest, 3, 2)
    engine = Engine(manifest, data, threads=1)
    where = state(manifest, 1) if master is None else uniform(manifest, master)
    check_losses(engine, data, where, 3)
    gentle = EngineState(tuple((m // 300).astype(np.int32) for m in where.masters), where.momenta)
    check_losses(engine, data, gentle, 3)


@pytest.mark.parametrize("train", [tuple(range(9)), (0,), (3, 6), (7, 8)])
def test_bytes_over_many_positions(train: tuple[int, ...]) -> None:
    layers = (Embedding(5), Gru(6, 5), Linear(256, 2, "none"))
    manifest = model(layers, (), task=NextByte(9, 4), train=train, perturbation=(1, 1))
    data = samples(manifest, 70, 3)  # two tiles
    check_losses(Engine(manifest, data, threads=1), data, state(manifest, 5), 2)


@pytest.mark.parametrize("task", [Values(100), Pairs()])
def test_more_samples_than_a_tile_has(task: Task) -> None:
    outputs = 3 if isinstance(task, Values) else 1
    layers = (Linear(5, 5, "relu"), Linear(outputs, 2, "none"))
    for train in ((0, 1, 2, 3), (2, 3)):
        manifest = model(layers, (6,), task=task, train=train)
        data = samples(manifest, 150, 70)
        check_losses(Engine(manifest, data, threads=2), data, state(manifest, 3), 9)


@pytest.mark.parametrize("e", [0, 2])
@pytest.mark.parametrize("beyond", [0, 1])
@pytest.mark.parametrize("master", [32512, -32512])
def test_largest_sums_are_exact(e: int, beyond: int, master: int) -> None:
    """The longest dot product below 2^24, and one longer, at the largest values."""
    length = chunk_length(e) + beyond
    manifest = network(length, 3, e=e, shifts=(2,))
    data = samples(manifest, 2, 1)
    for value in (127, -127):
        data.inputs[:] = value
        data.inputs[1, ::7] = 126
        check_losses(Engine(manifest, data, threads=1), data, uniform(manifest, master), 2)


def test_sums_near_2_to_the_31() -> None:
    """The longest product that a manifest may have: sums of unsigned bytes wrap on the way."""
    length = 131_000
    manifest = network(length, 2, shifts=(8,))
    data = samples(manifest, 1, 1)
    for value, master in ((127, 32512), (127, -32512), (-127, 32512)):
        data.inputs[:] = value
        check_losses(Engine(manifest, data, threads=1), data, uniform(manifest, master), 1)


@pytest.mark.parametrize("activation", ["relu", "clip"])
@pytest.mark.parametrize("master", [32512, -32512, -128, -129, 127])
def test_saturated_and_negative_activations(activation: str, master: int) -> None:
    manifest = network(6, 5, 4, 3, shifts=(0, 3, 0), activation=activation)
    data = samples(manifest, 8, 8)
    check_losses(Engine(manifest, data, threads=1), data, uniform(manifest, master), 2)


def test_tied_logits_hit_only_in_the_lowest_class() -> None:
    manifest = network(3, 4, shifts=(4,), train=(1,))
    data = samples(manifest, 1, 64)
    engine = Engine(manifest, data, threads=1)
    found = engine.validate(uniform(manifest, 0))  # all logits 0
    held_out = data.targets[data.header.train_count :]
    assert 0 < int((held_out == 0).sum()) < len(held_out)
    assert found.hits == int((held_out == 0).sum())


@pytest.mark.parametrize("losses", [[700] * 4, [0, (1 << 40) - 1, 1 << 39, 17]])
def test_equal_losses_and_losses_too_large_for_int64_squares(losses: list[int]) -> None:
    manifest = network(4, 3, 2)
    engine = Engine(manifest, samples(manifest, 3, 1), threads=1)
    before, now = state(manifest, 1), terms(manifest)
    after, factors = engine.advance(before, keys(4), losses, bytes(32), now)
    assert factors == search.coefficients(losses)
    expected, _ = spec_step.advance(
        manifest, before.to_spec(), keys(4), losses, now, bytes(32),
        train_count=3, sample=samples(manifest, 3, 1).sample,
    )  # fmt: skip
    assert after.to_spec() == expected


@pytest.mark.parametrize("population", [1, 1024])
def test_smallest_and_largest_population(population: int) -> None:
    manifest = network(3, 2, 2)
    data = samples(manifest, 3, 1)
    check_step(Engine(manifest, data, threads=2), data, state(manifest, 3), population)


def test_losses_belong_to_keys_whatever_the_threads() -> None:
    manifest = network(30, 12, 4)
    data = samples(manifest, 100, 7)
    one, four = (Engine(manifest, data, threads=n) for n in (1, 4))
    now, candidates, batch = state(manifest, 9), keys(150), np.arange(100)
    with_terms = terms(manifest)
    losses = one.losses(now, candidates, batch, with_terms)
    with ThreadPoolExecutor(8) as pool:
        runs = [pool.submit(four.losses, now, candidates[i:], batch, with_terms) for i in range(8)]
        assert [r.result() for r in runs] == [losses[i:] for i in range(8)]
    after, _ = one.advance(now, candidates, losses, bytes(32), with_terms)
    again, _ = four.advance(now, candidates[::-1], losses[::-1], bytes(32), with_terms)
    assert after == again
    assert one.validate(after) == four.validate(again)


def test_nothing_held_out_validates_to_zero() -> None:
    manifest = network(3, 2)
    engine = Engine(manifest, samples(manifest, 3, 0), threads=1)
    found = engine.validate(engine.initial())
    assert (found.loss, found.hits) == (0, 0)


def test_feedback_is_drawn_from_and_evaluated() -> None:
    layers = (Linear(3, 4, "relu"), Linear(1, 2, "none"))
    for train in ((0, 1, 2, 3), (2, 3)):
        manifest = model(layers, (4,), task=Pairs(), train=train)
        data = samples(manifest, 5, 3)
        more = samples(manifest, 6, 1, seed=8).inputs
        together = np.concatenate([data.inputs[:5], more])
        merged = Samples(
            type(data.header)("pairs", 12, 0, 4, 1), together, np.zeros((12, 0), np.int32)
        )
        engine, whole = (Engine(manifest, d, threads=1) for d in (data, merged))
        engine.add_feedback(more[:3])
        engine.losses(state(manifest, 1), keys(1), np.array([0, 9]), terms(manifest))
        engine.add_feedback(more[3:])
        assert engine.feedback == 7
        drawn, expected = engine.batch(bytes(32), 40, 7), whole.batch(bytes(32), 40)
        assert (np.where(drawn < 5, drawn, drawn - 3) == expected).all()
        assert (drawn >= 8).any()
        where, now = state(manifest, 2), terms(manifest, population=9, batch=40)
        losses = engine.losses(where, keys(9), drawn, now)
        assert losses == whole.losses(where, keys(9), expected, now)
        assert (engine.batch(bytes(32), 40) < 5).all()


def test_feedback_that_does_not_fit_is_refused() -> None:
    manifest = model((Linear(1, 2, "none"),), (4,), task=Pairs())
    with pytest.raises(EngineError, match="a pair is 8 values"):
        Engine(manifest, samples(manifest, 5, 3)).add_feedback(np.zeros((2, 4), np.int8))
    other = network(3, 2)
    with pytest.raises(EngineError, match="preferences"):
        Engine(other, samples(other, 5, 3)).add_feedback(np.zeros((2, 6), np.int8))


def test_greedy_checks_with_feedback_too() -> None:
    layers = (Linear(3, 4, "relu"), Linear(1, 2, "none"))
    manifest = model(layers, (4,), task=Pairs(), strategy=Greedy(0, 1), perturbation=(3, 3))
    data = samples(manifest, 5, 0)
    more = samples(manifest, 6, 0, seed=8).inputs
    merged = Samples(
        type(data.header)("pairs", 11, 0, 4, 1),
        np.concatenate([data.inputs, more]),
        np.zeros((11, 0), np.int32),
    )
    engine, whole = (Engine(manifest, d, threads=1) for d in (data, merged))
    engine.add_feedback(more)
    now, outcomes = terms(manifest, population=8, batch=16), set()
    for seed in range(6):
        before, work = state(manifest, seed), bytes([seed]) * 32
        losses = whole.losses(before, keys(8), whole.batch(work, 16), now)
        after = engine.advance(before, keys(8), losses, work, now, 6)
        assert after == whole.advance(before, keys(8), losses, work, now)
        outcomes.add(any(after[1]))
    assert outcomes == {True, False}


def test_an_engine_tests_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    tested = []
    monkeypatch.setattr(engine_module, "self_test", lambda *parts: tested.append(parts))
    manifest = network(3, 2)
    Engine(manifest, samples(manifest, 1, 1), threads=1)
    assert len(tested) == 1


def test_what_does_not_fit_is_refused() -> None:
    manifest = network(3, 2)
    data = samples(manifest, 3, 1)
    with pytest.raises(EngineError, match="takes 4 inputs"):
        Engine(network(4, 2), data)
    with pytest.raises(EngineError, match="inputs of values"):
        Engine(model((Linear(2, 4, "none"),), (3,), task=Values(1)), data)
    with pytest.raises(EngineError, match="threads"):
        Engine(manifest, data, threads=0)
    with pytest.raises(EngineError, match="nonsense"):
        Engine(manifest, data, "nonsense")
    with pytest.raises(InvalidJob):
        Engine(network(3, 2, train=()), data)
    engine = Engine(manifest, data, threads=1)
    now, with_terms = engine.initial(), terms(manifest)
    with pytest.raises(EngineError, match="31 bytes"):
        engine.losses(now, [bytes(31)], np.array([0]), with_terms)
    for index in (-1, 3, 4):
        with pytest.raises(EngineError, match=r"0\.\.2"):
            engine.losses(now, keys(1), np.array([index]), with_terms)
    with pytest.raises(EngineError, match="make no step"):
        engine.advance(now, keys(2), [1], bytes(32), with_terms)
    with pytest.raises(EngineError, match="make no step"):
        engine.advance(now, [], [], bytes(32), with_terms)
