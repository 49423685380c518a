"""Manifests, samples and states the engine's tests are about, and the specification's answers."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from potnode.engine.engine import Engine
from potnode.engine.state import EngineState, from_spec
from potnode.spec.dataset import DatasetHeader
from potnode.spec.draw import candidate_key, draw
from potnode.spec.loss import cross_entropy, is_hit
from potnode.spec.manifest import RULES, Linear, Manifest
from potnode.spec.network import forward_weights, logits
from potnode.spec.state import State


@dataclass(frozen=True)
class Samples:
    """A dataset made up on the spot."""

    header: DatasetHeader
    inputs: npt.NDArray[np.int8]
    targets: npt.NDArray[np.int32]


def samples(manifest: Manifest, train: int, held_out: int, *, seed: int = 0) -> Samples:
    """Random samples, extremes likely."""
    rng = np.random.default_rng(seed)
    size = manifest.layers[0].inputs
    inputs = rng.choice([-127, -1, 0, 1, 64, 127], (train + held_out, size)).astype(np.int8)
    targets = rng.integers(0, manifest.classes, train + held_out).astype(np.int32)
    return Samples(DatasetHeader(train, held_out, size, manifest.classes), inputs, targets)


def network(
    *sizes: int,
    e: int = 0,
    shifts: tuple[int, ...] | None = None,
    activation: str = "relu",
    train: tuple[int, ...] | None = None,
    rule: str = "momentum",
    eta0: int = 80,
    eta1: int = 10,
) -> Manifest:
    """A manifest of linear layers with these sizes, inputs first."""
    count = len(sizes) - 1
    used = shifts or (*(8,) * (count - 1), 4)
    layers = tuple(
        Linear(sizes[i], sizes[i + 1], used[i], activation if i < count - 1 else "none")
        for i in range(count)
    )
    return Manifest(
        dataset="made-up",
        layers=layers,
        train=tuple(range(2 * count)) if train is None else train,
        seed=bytes(range(32)),
        std=(4096, 0) * count,
        perturbation_shift=e,
        rule=rule,
        eta0=eta0,
        eta1=eta1,
    )


@st.composite
def manifests(draws: st.DrawFn) -> Manifest:
    """Small networks of one to three layers with everything a manifest may vary."""
    count = draws(st.integers(1, 3))
    sizes = [draws(st.integers(1, 9)) for _ in range(count)] + [draws(st.integers(2, 6))]
    tensors = range(2 * count)
    eta0 = draws(st.sampled_from([0, 1, 80, (1 << 15) - 1]))
    return network(
        *sizes,
        e=draws(st.integers(0, 2)),
        shifts=tuple(draws(st.integers(0, 12)) for _ in range(count)),
        activation=draws(st.sampled_from(["relu", "clip"])),
        train=tuple(sorted(draws(st.sets(st.sampled_from(tensors), min_size=1)))),
        rule=draws(st.sampled_from(RULES)),
        eta0=eta0,
        eta1=draws(st.integers(0, eta0)),
    )


def hashes(count: int, salt: str = "") -> list[bytes]:
    """Share hashes, ascending."""
    return sorted(sha256(f"share {salt} {i}".encode()).digest() for i in range(count))


def state(manifest: Manifest, seed: int) -> EngineState:
    """Random masters and momenta over their whole ranges, extremes likely."""
    rng = np.random.default_rng(seed)

    def values(limit: int, size: int) -> tuple[int, ...]:
        some = np.array([-limit, limit, -129, -128, 127, 128, 0, -1, 1])
        anything = rng.integers(-limit, limit + 1, size)
        return tuple(np.where(rng.random(size) < 0.3, rng.choice(some, size), anything).tolist())

    sizes = [int(np.prod(shape)) for shape in manifest.tensors]
    return from_spec(
        State(
            tuple(values(32512, size) for size in sizes),
            tuple(values((1 << 25) - 1, size) for size in sizes),
        )
    )


def spec_losses(
    manifest: Manifest,
    data: Samples,
    where: EngineState,
    shares: list[bytes],
    batch: npt.NDArray[np.int64],
) -> list[int]:
    """The specification's loss sum of every share's candidate."""
    weights = forward_weights(where.to_spec().masters)
    sums = []
    for share in shares:
        drawn = draw(manifest, candidate_key(share, 0))
        sums.append(
            sum(
                cross_entropy(
                    logits(manifest, weights, data.inputs[i].tolist(), drawn),
                    int(data.targets[i]),
                )
                for i in batch
            )
        )
    return sums


def spec_validation(manifest: Manifest, data: Samples, where: EngineState) -> tuple[int, int]:
    """The specification's held-out loss sum and hits."""
    weights = forward_weights(where.to_spec().masters)
    loss = hits = 0
    for i in range(data.header.train_count, data.header.count):
        z = logits(manifest, weights, data.inputs[i].tolist())
        loss += cross_entropy(z, int(data.targets[i]))
        hits += is_hit(z, int(data.targets[i]))
    return loss, hits


def check_losses(engine: Engine, data: Samples, where: EngineState, count: int) -> None:
    """Compare candidates' losses on all training samples and the validation with the spec."""
    shares, batch = hashes(count), np.arange(data.header.train_count)
    expected = spec_losses(engine.manifest, data, where, shares, batch)
    assert engine.losses(where, shares, batch) == expected
    validation = engine.validate(where)
    assert (validation.loss, validation.hits) == spec_validation(engine.manifest, data, where)
