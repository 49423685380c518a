"""Manifests, samples and states the engine's tests are about, and the specification's answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import prod

import numpy as np
import numpy.typing as npt

from potnode.engine.engine import Engine
from potnode.engine.state import EngineState, from_spec
from potnode.spec.dataset import DatasetHeader, Sample
from potnode.spec.draw import candidate_key, draw
from potnode.spec.evaluate import candidate_loss, validation
from potnode.spec.layers import Linear
from potnode.spec.manifest import Classes, Evolution, Manifest, NextByte, Pairs, Values
from potnode.spec.network import forward_weights
from potnode.spec.schedule import StepTerms
from potnode.spec.state import State
from tests.spec.cases import manifests, model

# The models themselves are the specification's test cases.
__all__ = [
    "Samples",
    "check_losses",
    "keys",
    "manifests",
    "model",
    "network",
    "samples",
    "spec_losses",
    "spec_validation",
    "state",
    "terms",
]


@dataclass(frozen=True)
class Samples:
    """A dataset made up on the spot."""

    header: DatasetHeader
    inputs: npt.NDArray[np.int8]
    targets: npt.NDArray[np.int32]

    def sample(self, index: int) -> Sample:
        """One sample for the specification."""
        row = self.inputs[index]
        values = row.view(np.uint8) if self.header.kind == "bytes" else row
        return Sample(tuple(values.tolist()), tuple(np.atleast_1d(self.targets[index]).tolist()))


def samples(manifest: Manifest, train: int, held_out: int, *, seed: int = 0) -> Samples:
    """Random samples of the manifest's task, extremes likely."""
    rng = np.random.default_rng(seed)
    count, size, outputs = train + held_out, manifest.input_size, manifest.outputs
    inputs = rng.choice([-127, -1, 0, 1, 64, 127], (count, size)).astype(np.int8)
    targets = np.zeros((count, 0), np.int32)
    match manifest.task:
        case Classes():
            kind = "classes"
            targets = rng.integers(0, outputs, count).astype(np.int32)
        case NextByte():
            kind = "bytes"
            inputs = rng.choice([0, 1, 65, 127, 128, 255], (count, size)).astype(np.uint8)
            inputs = inputs.view(np.int8)
        case Values():
            kind = "values"
            edges = rng.choice([-32768, -1000, 0, 1, 32767], (count, outputs))
            near = rng.integers(-300, 301, (count, outputs))
            targets = np.where(rng.random((count, outputs)) < 0.3, edges, near).astype(np.int32)
        case Pairs():
            kind = "pairs"
            inputs = rng.choice([-127, 0, 1, 64, 127], (count, 2 * size)).astype(np.int8)
    return Samples(DatasetHeader(kind, train, held_out, size, outputs), inputs, targets)


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
    """A classifier of linear layers with these sizes, inputs first."""
    count = len(sizes) - 1
    used = shifts or (*(8,) * (count - 1), 4)
    layers = tuple(
        Linear(sizes[i + 1], used[i], activation if i < count - 1 else "none") for i in range(count)
    )
    return model(
        layers,
        (sizes[0],),
        train=train,
        perturbation=(e, e),
        strategy=Evolution(rule, eta0, eta1, 1),
    )


def keys(count: int, salt: str = "") -> list[bytes]:
    """Keys of candidates of shares, in no order."""
    return [candidate_key(sha256(f"share {salt} {i}".encode()).digest(), 0) for i in range(count)]


def terms(manifest: Manifest, *, step: int = 0, population: int = 4, batch: int = 4) -> StepTerms:
    """A step's terms with the manifest's first perturbation and step size."""
    strategy = manifest.strategy
    eta = strategy.eta0 if isinstance(strategy, Evolution) else 0
    return StepTerms(step, population, batch, manifest.perturbation[0], eta)


def state(manifest: Manifest, seed: int) -> EngineState:
    """Random masters and momenta over their whole ranges, extremes likely."""
    rng = np.random.default_rng(seed)

    def values(limit: int, size: int) -> tuple[int, ...]:
        some = np.array([-limit, limit, -129, -128, 127, 128, 0, -1, 1])
        anything = rng.integers(-limit, limit + 1, size)
        return tuple(np.where(rng.random(size) < 0.3, rng.choice(some, size), anything).tolist())

    sizes = [prod(shape) for shape in manifest.tensors]
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
    candidates: Sequence[bytes],
    batch: npt.NDArray[np.int64],
    shift: int,
) -> list[int]:
    """The specification's loss sum of every candidate, by its key."""
    weights = forward_weights(where.to_spec().masters, manifest.weights)
    drawn = [data.sample(int(i)) for i in batch]
    return [
        candidate_loss(manifest, weights, drawn, draw(manifest, key), shift) for key in candidates
    ]


def spec_validation(manifest: Manifest, data: Samples, where: EngineState) -> tuple[int, int]:
    """The specification's held-out loss sum and hits."""
    weights = forward_weights(where.to_spec().masters, manifest.weights)
    held_out = range(data.header.train_count, data.header.count)
    return validation(manifest, weights, [data.sample(i) for i in held_out])


def check_losses(engine: Engine, data: Samples, where: EngineState, count: int) -> None:
    """Compare candidates' losses on all training samples and the validation with the spec."""
    manifest, candidates = engine.manifest, keys(count)
    batch = np.arange(data.header.train_count)
    now = terms(manifest, population=count, batch=len(batch))
    expected = spec_losses(manifest, data, where, candidates, batch, now.shift)
    assert engine.losses(where, candidates, batch, now) == expected
    held_out = engine.validate(where)
    assert (held_out.loss, held_out.hits) == spec_validation(manifest, data, where)
