"""How many candidates a second the engine evaluates, for `potnode bench engine`.

Synthetic data: an evaluation costs the same whatever the numbers are. Every evaluation counted is a
whole one: draw expanded from a fresh hash, exact loss over the batch.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from potnode.engine.engine import Engine
from potnode.spec.dataset import DatasetHeader
from potnode.spec.manifest import Linear, Manifest

_SAMPLES = 2000
_HIDDEN_SHIFT, _LOGIT_SHIFT = 8, 4


@dataclass(frozen=True, slots=True)
class Shape:
    """A case: sizes of the layers (inputs first), population, batch size."""

    sizes: tuple[int, ...]
    population: int
    batch: int

    def __str__(self) -> str:
        """Such as 784-64-10."""
        return "-".join(map(str, self.sizes))


SHAPES = (Shape((784, 64, 10), 256, 256), Shape((64, 32, 10), 64, 512))


@dataclass(frozen=True, slots=True)
class _Synthetic:
    header: DatasetHeader
    inputs: npt.NDArray[np.int8]
    targets: npt.NDArray[np.int32]


def evaluations_per_second(
    sizes: Sequence[int],
    population: int,
    batch: int,
    device: str = "cpu",
    seconds: float = 3.0,
    threads: int | None = None,
) -> float:
    """Evaluations a second over at least `seconds`, draws included, compilation excluded.

    Args:
        sizes: of the layers, inputs first, at least two. population, batch: of a step.

    Raises:
        EngineError: the device can't be used. InvalidJob: no such network is allowed.
    """
    manifest, data = _case(sizes)
    engine = Engine(manifest, data, device, threads)
    state = engine.initial()
    indices = engine.batch(bytes(32), batch)
    done = -population  # the first step warms up
    started = time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds or done <= 0:
        hashes = [sha256(f"{done} {i}".encode()).digest() for i in range(population)]
        engine.losses(state, hashes, indices)
        done += population
        if done == 0:
            started = time.perf_counter()
    return done / elapsed


def _case(sizes: Sequence[int]) -> tuple[Manifest, _Synthetic]:
    last = len(sizes) - 2
    layers = [
        Linear(inputs, out, _HIDDEN_SHIFT, "relu")
        if i < last
        else Linear(inputs, out, _LOGIT_SHIFT, "none")
        for i, (inputs, out) in enumerate(pairwise(sizes))
    ]
    manifest = Manifest(
        dataset="synthetic",
        layers=tuple(layers),
        train=tuple(range(2 * len(layers))),
        seed=bytes(32),
        std=(4096, 0) * len(layers),
        perturbation_shift=0,
        rule="momentum",
        eta0=80,
        eta1=10,
    )
    rng = np.random.default_rng(0)
    data = _Synthetic(
        DatasetHeader(_SAMPLES, 0, sizes[0], sizes[-1]),
        rng.integers(-127, 128, (_SAMPLES, sizes[0])).astype(np.int8),
        rng.integers(0, sizes[-1], _SAMPLES).astype(np.int32),
    )
    return manifest, data
