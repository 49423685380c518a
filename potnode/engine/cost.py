"""What a job costs whoever trains it, told from its manifest alone: before anything of it is made.

The protocol bounds sums, not work: a manifest of some hundred bytes may stand for a model of
terabytes. Responsible for estimates that rather say too much, and for holding them against limits.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from potnode.engine.arena import quads
from potnode.engine.errors import EngineError
from potnode.engine.kernels.vectors import LANES, QUAD
from potnode.spec.layers import (
    AvgPool,
    Conv2d,
    Depthwise,
    Gru,
    Layer,
    Linear,
    MaxPool,
    Shape,
    fan_in,
    window_counts,
)
from potnode.spec.manifest import Manifest, NextByte, Pairs
from potnode.spec.params import JobParams

# Bytes: of a weight, in two states, a stored one, and in the lists of the self-test; of a place of
# a window, in tables while they are made and in those lists; of a candidate's sign, its copy, and
# its part of the gradient.
_WEIGHT, _PLACE, _SIGN = 96, 128, 3
_UNIT = 16  # signs that a tensor's draw may have beyond those it needs


class TooCostly(EngineError):
    """A job takes more memory or work than this node gives one."""


@dataclass(frozen=True, slots=True)
class Cost:
    """memory: bytes. sample: multiplications of one sample under one candidate. step: of a step."""

    memory: int
    sample: int
    step: int


def cost(manifest: Manifest, params: JobParams, threads: int) -> Cost:
    """An upper estimate for a checked job. threads: that the engine has."""
    task, population = manifest.task, params.population
    inputs = (manifest.input, *manifest.shapes[:-1])
    products = scratch = tables = 0
    below = 0  # values of the widest layer before the first trained one
    for i, layer in enumerate(manifest.layers):
        tensors, after = manifest.tensors_by_layer[i], manifest.shapes[i]
        products += _products(layer, inputs[i], after)
        scratch += quads(after) * QUAD + LANES * (
            prod(after) + 8 * sum(shape[-1] for shape in tensors)
        )
        tables += _table(layer, inputs[i])
        if manifest.first_tensor(i) <= manifest.train[0]:
            below = max(below, prod(inputs[i]))
    if not isinstance(task, NextByte):
        scratch += quads(manifest.input) * QUAD
    halves = 2 if isinstance(task, Pairs) else 1
    positions = task.window if isinstance(task, NextByte) else 1
    drawn = sum(sum(manifest.tensors[t]) + 2 * _UNIT for t in manifest.train)
    trained = sum(prod(manifest.tensors[t]) for t in manifest.train)
    batch = 8 * manifest.input_size if isinstance(task, NextByte) else 3 * halves * below
    sample = halves * positions * products
    return Cost(
        memory=_WEIGHT * manifest.parameters
        + _PLACE * tables
        + threads * scratch
        + population * _SIGN * drawn
        + params.batch_size * batch,
        sample=sample,
        step=population * (params.batch_size * sample + trained) + params.held_out_count * sample,
    )


@dataclass(frozen=True, slots=True)
class Limits:
    """The most of each that a job may cost, with the name of the setting that says so."""

    memory: int
    sample: int
    step: int

    def check(self, found: Cost) -> None:
        """Raise TooCostly at the first limit that is passed."""
        mib = 1 << 20
        for setting, what, costs, allowed in (
            ("memory_mib", "MiB of memory", -(-found.memory // mib), self.memory // mib),
            ("sample_products", "multiplications a sample", found.sample, self.sample),
            ("step_products", "multiplications a step", found.step, self.step),
        ):
            if costs > allowed:
                raise TooCostly(
                    f"the job takes {_shown(costs)} {what}, jobs.{setting} allows "
                    f"{_shown(allowed)}: raise it to take such jobs here"
                )


def _shown(number: int) -> str:
    return f"{number:,}" if number < 10**15 else f"{number:.1e}"


def _products(layer: Layer, shape: Shape, after: Shape) -> int:
    match layer:
        case Linear() | Conv2d() | Depthwise():
            return prod(after) * fan_in(layer, shape)
        case Gru():
            return 2 * prod(after) * fan_in(layer, shape)
        case MaxPool() | AvgPool():
            return prod(after) * prod(layer.kernel)
        case _:
            return prod(after)


def _table(layer: Layer, shape: Shape) -> int:
    """Places that a layer's windows look at, one by one."""
    match layer:
        case Conv2d() | Depthwise() | MaxPool() | AvgPool():
            return prod(window_counts(layer, shape)) * prod(layer.kernel) * (shape[0] + 1)
        case _:
            return prod(shape)
