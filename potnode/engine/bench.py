"""What the engine manages on this machine, for `potnode bench engine`.

Synthetic data: an evaluation costs the same whatever the numbers are. Every evaluation counted is a
whole one: draw expanded from a fresh key, exact loss over a fresh batch.

The arithmetic limit is what the CPU's dot products of bytes alone would allow: the multiply-adds
that an evaluation can't do without (`multiply_adds`), at the rate measured in the same run on all
threads with everything in the first cache.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import sha256
from math import prod
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from potnode.engine.draw import DrawLayout
from potnode.engine.engine import Engine
from potnode.engine.kernels.peak import products
from potnode.engine.kernels.vectors import LANES, QUAD
from potnode.engine.memory import aligned
from potnode.engine.workers import Workers
from potnode.spec.dataset import DatasetHeader
from potnode.spec.layers import (
    Add,
    AvgPool,
    Conv2d,
    Depthwise,
    Embedding,
    Gru,
    Layer,
    Linear,
    Norm,
)
from potnode.spec.layers import Shape as LayerShape
from potnode.spec.manifest import Classes, Evolution, Manifest, NextByte, Seeded, Task
from potnode.spec.schedule import StepTerms

T = TypeVar("T")

_SAMPLES = 2000
_CLOSES = 5  # steps closed
_LOADING = 64  # candidates of the step that loads the code
_PEAK_GROUPS = 64
_PEAK_CALLS = 20_000  # of four rows each


@dataclass(frozen=True, slots=True)
class Shape:
    """A case: a model, population, batch size.

    input: shape of an input, () for bytes. window: positions of a sample of a byte model.
    """

    name: str
    input: LayerShape
    layers: tuple[Layer, ...]
    population: int
    batch: int
    window: int = 1

    def __str__(self) -> str:
        """Its name."""
        return self.name

    @property
    def manifest(self) -> Manifest:
        """A manifest that trains all of it."""
        task: Task = Classes() if self.input else NextByte(self.window, 0)
        count = len(_made(self, task, 0).tensors)
        return _made(self, task, count)


def _made(shape: Shape, task: Task, count: int) -> Manifest:
    return Manifest(
        dataset="synthetic",
        task=task,
        input=shape.input,
        layers=shape.layers,
        train=tuple(range(count)),
        initial=Seeded(bytes(32), (4096,) * count, (0,) * count),
        perturbation=(0, 0),
        strategy=Evolution("momentum", 80, 10, 1),
    )


def linear(*sizes: int, population: int, batch: int) -> Shape:
    """A case of linear layers with these sizes, inputs first, at least two."""
    layers = (*(Linear(size, 8, "relu") for size in sizes[1:-1]), Linear(sizes[-1], 4, "none"))
    return Shape("-".join(map(str, sizes)), sizes[:1], layers, population, batch)


_ONE, _SAME = (1, 1), (3, 3)
SHAPES = (
    linear(784, 64, 10, population=256, batch=256),
    linear(784, 128, 128, 10, population=256, batch=256),
    linear(64, 32, 10, population=64, batch=512),
    Shape(
        "conv 28x28-8-16-10",
        (1, 28, 28),
        (
            Conv2d(8, (5, 5), (2, 2), (2, 2), 8, "relu"),
            Conv2d(16, _SAME, (2, 2), _ONE, 8, "relu"),
            Linear(10, 5, "none"),
        ),
        128,
        256,
    ),
    Shape(
        "mobile 28x28-16-32-10",
        (1, 28, 28),
        (
            Conv2d(16, _SAME, (2, 2), _ONE, 8, "relu"),
            Depthwise(_SAME, _ONE, _ONE, 7, "relu"),
            Conv2d(16, _ONE, _ONE, (0, 0), 8, "clip"),
            Add(0),
            Depthwise(_SAME, (2, 2), _ONE, 7, "relu"),
            Conv2d(32, _ONE, _ONE, (0, 0), 8, "relu"),
            AvgPool(_SAME, (2, 2)),
            Linear(10, 5, "none"),
        ),
        128,
        256,
    ),
    Shape(
        "gru 64 over 64 bytes",
        (),
        (Embedding(64), Norm(), Gru(64, 8), Add(0), Norm(), Linear(256, 5, "none")),
        64,
        64,
        window=64,
    ),
)


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of one shape.

    evaluations_per_s: candidates. draws_per_s: draws of candidates expanded. step_close_ms: losses
    to the new state and its root. peak_memory_mib: most memory in use above what was before the
    engine was made. multiply_adds: of one evaluation at least. limit_share: of the arithmetic
    limit; None on a device other than the CPU.
    """

    shape: str
    population: int
    batch: int
    device: str
    threads: int
    evaluations_per_s: float
    draws_per_s: float
    step_close_ms: float
    peak_memory_mib: float
    multiply_adds: int
    limit_share: float | None

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            key: round(value, 3) if isinstance(value, float) else value
            for key, value in asdict(self).items()
        }


def measure(
    shape: Shape, device: str = "cpu", seconds: float = 3.0, threads: int | None = None
) -> Figures:
    """Measure one shape for at least `seconds`, compilation excluded.

    Raises:
        EngineError: the device can't be used. InvalidJob: no such model is allowed.
    """
    _load(device)
    before = _reset_peak()
    manifest = shape.manifest
    engine = Engine(manifest, _samples(manifest), device, threads)
    state = engine.initial()
    terms = StepTerms(0, shape.population, shape.batch, 0, 80)
    workers = Workers(threads)

    def keys(number: int) -> list[bytes]:
        return [sha256(f"{number} {i}".encode()).digest() for i in range(shape.population)]

    def step(number: int) -> tuple[list[bytes], npt.NDArray[np.int64]]:
        return keys(number), engine.batch(sha256(b"%d" % number).digest(), shape.batch)

    drawn, batch = step(-1)
    losses = engine.losses(state, drawn, batch, terms)  # warms up
    rate = shape.population * _rate(
        step, lambda given: engine.losses(state, *given, terms), seconds
    )
    closes = []
    for _ in range(_CLOSES):
        started = time.perf_counter()
        after, _ = engine.advance(state, drawn, losses, bytes(32), terms)
        engine.root(after)
        closes.append(time.perf_counter() - started)
    peak = _peak() - before
    layout = DrawLayout(manifest)
    draws = shape.population * _rate(keys, lambda given: layout.expand(given, workers), seconds / 4)
    needed = multiply_adds(manifest) * shape.batch
    return Figures(
        shape=shape.name,
        population=shape.population,
        batch=shape.batch,
        device=device,
        threads=workers.threads,
        evaluations_per_s=rate,
        draws_per_s=draws,
        step_close_ms=1e3 * median(closes),
        peak_memory_mib=max(0, peak) / 1024,
        multiply_adds=needed,
        limit_share=rate * needed / peak_rate(workers) if device == "cpu" else None,
    )


def multiply_adds(manifest: Manifest) -> int:
    """Multiply-adds that a candidate needs for one sample.

    A first linear layer's product with the weights is shared by all candidates: one row b.x is left
    of it. Elsewhere that row comes on top.
    """
    total = 0
    shapes = (manifest.input, *manifest.shapes)
    for i, layer in enumerate(manifest.layers):
        shape, after = shapes[i], shapes[i + 1]
        match layer:
            case Linear() if i == 0:
                total += prod(shape)
            case Linear():
                total += prod(shape) * (layer.out + 1)
            case Conv2d():
                total += shape[0] * prod(layer.kernel) * (layer.out + 1) * prod(after[1:])
            case Depthwise():
                total += prod(layer.kernel) * prod(after)
            case Gru():
                total += 2 * (prod(shape) + layer.out) * (layer.out + 1)
            case _:
                pass
    return total * (manifest.task.window if isinstance(manifest.task, NextByte) else 1)


def peak_rate(workers: Workers) -> float:
    """Multiply-adds a second of `dot4` on all threads at once, the best of some runs."""

    def part(first: int, last: int) -> None:
        for _ in range(first, last):
            x = aligned(_PEAK_GROUPS * QUAD, np.uint8)
            x[:] = 1
            products(
                x,
                (QUAD * np.arange(_PEAK_GROUPS)).astype(np.int32),
                np.ones(16 * _PEAK_GROUPS, np.int8),
                np.zeros(4, np.int32),
                aligned(4 * LANES, np.int32),
                _PEAK_CALLS,
            )

    best = 0.0
    for _ in range(5):
        started = time.perf_counter()
        workers.share(part, workers.threads, 1)
        elapsed = time.perf_counter() - started
        best = max(best, workers.threads * _PEAK_CALLS * 16.0 * LANES * _PEAK_GROUPS / elapsed)
    return best


def _load(device: str) -> None:
    """Have the code in memory before memory is measured."""
    manifest = linear(6, 4, 3, population=1, batch=1).manifest
    engine = Engine(manifest, _samples(manifest), device)
    state, drawn = engine.initial(), [bytes(32)] * _LOADING
    terms = StepTerms(0, _LOADING, 1, 0, 80)
    losses = engine.losses(state, drawn, engine.batch(bytes(32), 1), terms)
    engine.root(engine.advance(state, drawn, losses, bytes(32), terms)[0])


def _rate(prepare: Callable[[int], T], call: Callable[[T], object], seconds: float) -> float:
    """Calls a second, over at least `seconds` of them; preparing does not count."""
    done, elapsed = 0, 0.0
    while elapsed < seconds or not done:
        given = prepare(done)
        started = time.perf_counter()
        call(given)
        elapsed += time.perf_counter() - started
        done += 1
    return done / elapsed


def _reset_peak() -> int:
    """Start counting the process's peak memory anew where Linux can; KiB in use."""
    try:
        Path("/proc/self/clear_refs").write_text("5", "ascii")
    except OSError:
        return _peak()
    return _status("VmRSS")


def _peak() -> int:
    """Most memory the process had, KiB."""
    try:
        return _status("VmHWM")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))


@dataclass(frozen=True, slots=True)
class _Synthetic:
    header: DatasetHeader
    inputs: npt.NDArray[np.int8]
    targets: npt.NDArray[np.int32]


def _samples(manifest: Manifest) -> _Synthetic:
    rng = np.random.default_rng(0)
    size, outputs = manifest.input_size, manifest.outputs
    inputs = rng.integers(-127, 128, (_SAMPLES, size)).astype(np.int8)
    if isinstance(manifest.task, NextByte):
        targets = np.zeros((_SAMPLES, 0), np.int32)
        return _Synthetic(DatasetHeader("bytes", _SAMPLES, 0, size, outputs), inputs, targets)
    targets = rng.integers(0, outputs, _SAMPLES).astype(np.int32)
    return _Synthetic(DatasetHeader("classes", _SAMPLES, 0, size, outputs), inputs, targets)
