"""The engine against the specification, bit for bit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potnode.engine import engine as engine_module
from potnode.engine.draw import DrawLayout, Signs
from potnode.engine.engine import Engine, self_test
from potnode.engine.errors import EngineError, InexactDevice
from potnode.engine.network import FusedNetwork, Sums, carrier
from potnode.engine.state import EngineState
from potnode.engine.torch_network import TorchNetwork
from potnode.engine.workers import Workers
from potnode.spec import search
from potnode.spec import state as spec_state
from potnode.spec.errors import InvalidJob
from potnode.spec.manifest import Manifest, chunk_length
from tests.engine.cases import (
    Samples,
    check_losses,
    hashes,
    manifests,
    network,
    samples,
    spec_losses,
    state,
)


def uniform(manifest: Manifest, master: int) -> EngineState:
    """Every master the same, momenta 0."""
    masters = tuple(np.full(int(np.prod(s)), master, np.int32) for s in manifest.tensors)
    return EngineState(masters, tuple(np.zeros_like(m) for m in masters))


@settings(max_examples=60)
@given(manifests(), st.integers(0, 1 << 32), st.integers(1, 5))
def test_any_small_network_is_the_specifications(
    manifest: Manifest, seed: int, population: int
) -> None:
    data = samples(manifest, 4, 3, seed=seed)
    engine = Engine(manifest, data, threads=1)
    before = state(manifest, seed)
    check_losses(engine, data, before, population)
    shares = hashes(population)
    losses = engine.losses(before, shares, np.array([0, 3, 3, 1]))
    after, factors = engine.advance(before, shares, losses, 3, 10)
    expected = spec_state.step(manifest, before.to_spec(), shares, losses, number=3, step_limit=10)
    assert after.to_spec() == expected
    assert factors == search.coefficients(losses)
    assert engine.root(after) == spec_state.state_root(expected)


@settings(max_examples=40)
@given(manifests(), st.integers(0, 1 << 32))
def test_torch_gives_the_same_numbers(manifest: Manifest, seed: int) -> None:
    data = samples(manifest, 5, 4, seed=seed)
    engine = Engine(manifest, data, "cpu:0", threads=1)  # a torch device that every machine has
    check_losses(engine, data, state(manifest, seed), 3)


@pytest.mark.parametrize("rule", ["momentum", "sign_momentum"])
@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_a_training_run_has_the_specifications_roots(rule: str, device: str) -> None:
    manifest = network(20, 9, 5, e=1, rule=rule)
    data = samples(manifest, 40, 11)
    engine = Engine(manifest, data, device, threads=2)
    now = engine.initial()
    slow = spec_state.initial_state(manifest)
    for step in range(4):
        work = sha256(bytes([step])).digest()
        batch = engine.batch(work, 16)
        assert batch.tolist() == search.batch_indices(work, 40, 16)
        shares = hashes(20, str(step))
        losses = engine.losses(now, shares, batch)
        assert losses == spec_losses(manifest, data, now, shares, batch)
        now, _ = engine.advance(now, shares, losses, step, 4)
        slow = spec_state.step(manifest, slow, shares, losses, number=step, step_limit=4)
        assert engine.root(now) == spec_state.state_root(slow)
    check_losses(engine, data, now, 1)


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
@pytest.mark.parametrize("e", [0, 2])
@pytest.mark.parametrize("beyond", [0, 1])
@pytest.mark.parametrize("master", [32512, -32512])
def test_largest_sums_are_exact(device: str, e: int, beyond: int, master: int) -> None:
    """The longest dot product float32 holds, and one longer, at the largest values."""
    length = chunk_length(e) + beyond
    manifest = network(length, 3, e=e, shifts=(2,))
    assert carrier(manifest) is (np.float64 if beyond else np.float32)
    data = samples(manifest, 2, 1)
    for value in (127, -127):
        data.inputs[:] = value
        data.inputs[1, ::7] = 126
        check_losses(Engine(manifest, data, device, threads=1), data, uniform(manifest, master), 2)


def test_a_wide_hidden_layer_beyond_float32() -> None:
    length = chunk_length(0) + 1
    manifest = network(2, length, 2, shifts=(1, 4), activation="clip")
    data = samples(manifest, 2, 1)
    check_losses(Engine(manifest, data, threads=1), data, uniform(manifest, 32512), 1)


@pytest.mark.parametrize("activation", ["relu", "clip"])
@pytest.mark.parametrize("master", [32512, -32512, -128, -129, 127])
def test_saturated_and_negative_activations(activation: str, master: int) -> None:
    manifest = network(6, 5, 4, 3, shifts=(0, 3, 0), activation=activation)
    data = samples(manifest, 8, 8)
    check_losses(Engine(manifest, data, threads=1), data, uniform(manifest, master), 2)


def test_tied_logits_hit_only_in_the_lowest_class() -> None:
    manifest = network(3, 4, shifts=(4,), train=(1,))
    data = samples(manifest, 1, 64)
    for device in ("cpu", "cpu:0"):
        engine = Engine(manifest, data, device, threads=1)
        found = engine.validate(uniform(manifest, 0))  # all logits 0
        held_out = data.targets[data.header.train_count :]
        assert 0 < int((held_out == 0).sum()) < len(held_out)
        assert found.hits == int((held_out == 0).sum())


def test_equal_losses_move_only_by_momentum() -> None:
    manifest = network(4, 3, 2)
    engine = Engine(manifest, samples(manifest, 3, 1), threads=1)
    before = state(manifest, 1)
    after, factors = engine.advance(before, hashes(5), [700] * 5, 0, 9)
    assert factors == [0] * 5
    expected = spec_state.step(
        manifest, before.to_spec(), hashes(5), [700] * 5, number=0, step_limit=9
    )
    assert after.to_spec() == expected


def test_losses_too_large_for_int64_squares() -> None:
    manifest = network(4, 2)
    engine = Engine(manifest, samples(manifest, 3, 1), threads=1)
    losses = [0, (1 << 40) - 1, 1 << 39, 17]
    before = state(manifest, 2)
    after, _ = engine.advance(before, hashes(4), losses, 0, 9)
    expected = spec_state.step(
        manifest, before.to_spec(), hashes(4), losses, number=0, step_limit=9
    )
    assert after.to_spec() == expected


@pytest.mark.parametrize("population", [1, 1024])
def test_smallest_and_largest_population(population: int) -> None:
    manifest = network(3, 2, 2)
    data = samples(manifest, 3, 1)
    engine = Engine(manifest, data, threads=2)
    before, shares, batch = state(manifest, 3), hashes(population), np.array([2, 0])
    losses = engine.losses(before, shares, batch)
    assert losses == spec_losses(manifest, data, before, shares, batch)
    after, _ = engine.advance(before, shares, losses, 0, 1)
    expected = spec_state.step(manifest, before.to_spec(), shares, losses, number=0, step_limit=1)
    assert after.to_spec() == expected


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_a_batch_longer_than_a_tile_is_the_sum_of_its_parts(device: str) -> None:
    manifest = network(5, 4, 3)
    data = samples(manifest, 50, 1)
    engine = Engine(manifest, data, device, threads=2)
    now, shares = engine.initial(), hashes(300)
    batch = engine.batch(bytes(32), 20_000)
    parts = [engine.losses(now, shares, part) for part in np.array_split(batch, 7)]
    assert engine.losses(now, shares, batch) == [sum(p) for p in zip(*parts, strict=True)]


def test_neither_threads_nor_order_nor_memory_layout_matter() -> None:
    manifest = network(30, 8, 4)
    data = samples(manifest, 60, 9)
    fortran = Samples(data.header, np.asfortranarray(data.inputs), np.repeat(data.targets, 2)[::2])
    one, four = Engine(manifest, data, threads=1), Engine(manifest, fortran, threads=4)
    now, shares, batch = one.initial(), hashes(40), one.batch(bytes(32), 100)
    losses = one.losses(now, shares, batch)
    assert four.losses(now, shares, batch[::-1]) == losses
    assert four.losses(now, shares[::-1], batch) == losses[::-1]
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(four.losses, now, shares[i:], batch) for i in range(8)]
        assert [r.result() for r in runs] == [losses[i:] for i in range(8)]
    after, _ = one.advance(now, shares, losses, 1, 9)
    again, _ = four.advance(now, shares[::-1], losses[::-1], 1, 9)
    assert after == again
    assert one.validate(after) == four.validate(again)


def test_nothing_held_out_validates_to_zero() -> None:
    manifest = network(3, 2)
    for device in ("cpu", "cpu:0"):
        engine = Engine(manifest, samples(manifest, 3, 0), device, threads=1)
        assert (engine.validate(engine.initial()).loss, engine.validate(engine.initial()).hits) == (
            0,
            0,
        )


def test_a_wrong_number_is_noticed() -> None:
    manifest = network(8, 4, 3, train=(0, 1, 3))
    layout = DrawLayout(manifest)

    class OffByOne(FusedNetwork):
        def evaluate(self, weights, signs: Signs, inputs, targets) -> Sums:  # type: ignore[no-untyped-def]
            losses, hits = super().evaluate(weights, signs, inputs, targets)
            return losses + 1, hits

    self_test(manifest, layout, FusedNetwork(manifest, layout, Workers(1)))
    self_test(manifest, layout, TorchNetwork(manifest, layout, "cpu"))
    with pytest.raises(InexactDevice, match="specification says"):
        self_test(manifest, layout, OffByOne(manifest, layout, Workers(1)))


def test_an_engine_tests_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    tested = []
    monkeypatch.setattr(engine_module, "self_test", lambda *parts: tested.append(parts))
    manifest = network(3, 2)
    Engine(manifest, samples(manifest, 1, 1), threads=1)
    assert len(tested) == 1


def test_what_does_not_fit_is_refused() -> None:
    manifest = network(3, 2)
    data = samples(manifest, 3, 1)
    with pytest.raises(EngineError, match="4 inputs"):
        Engine(network(4, 2), data)
    with pytest.raises(EngineError, match="threads"):
        Engine(manifest, data, threads=0)
    with pytest.raises(EngineError, match="nonsense"):
        Engine(manifest, data, "nonsense")
    with pytest.raises(InvalidJob):
        Engine(network(3, 2, train=()), data)
    engine = Engine(manifest, data, threads=1)
    now = engine.initial()
    with pytest.raises(EngineError, match="31 bytes"):
        engine.losses(now, [bytes(31)], np.array([0]))
    for index in (-1, 3):
        with pytest.raises(EngineError, match=r"0\.\.2"):
            engine.losses(now, hashes(1), np.array([index]))
    with pytest.raises(EngineError, match="make no step"):
        engine.advance(now, hashes(2), [1], 0, 1)
    with pytest.raises(EngineError, match="make no step"):
        engine.advance(now, [], [], 0, 1)
