"""How often a model is right on held-out samples, as floats and as integers, by the task's rule."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from potnode.engine.ports import Samples
from potnode.spec.layers import Shape
from potnode.spec.manifest import Classes, Manifest, Task, Values
from potnode.torchmodel.convert import float_inputs
from potnode.torchmodel.integers import IntegerModel

_BATCH = 1000
Outputs = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float64]]


def float_accuracy(
    model: nn.Module,
    dataset: Samples,
    shape: Shape,
    task: Task,
    *,
    input_scale: float,
    output_scale: float,
) -> float:
    """Share 0..1 of held-out samples a float model is right on; see `convert` for the scales."""

    def outputs(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        z = model(float_inputs(dataset, shape, input_scale, rows))
        return np.asarray(z.numpy(), np.float64) / output_scale

    return _accuracy(outputs, dataset, task)


def integer_accuracy(model: IntegerModel, dataset: Samples, manifest: Manifest) -> float:
    """Share 0..1 of held-out samples that an integer model is right on."""

    def outputs(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        z = model(torch.from_numpy(dataset.inputs[rows].reshape(-1, *manifest.input)))
        return np.asarray(z.numpy(), np.float64)

    return _accuracy(outputs, dataset, manifest.task)


def _accuracy(outputs: Outputs, dataset: Samples, task: Task) -> float:
    header = dataset.header
    hits = 0
    for first in range(header.train_count, header.count, _BATCH):
        rows = np.arange(first, min(first + _BATCH, header.count))
        with torch.no_grad():
            z = outputs(rows)
        targets = dataset.targets[rows]
        match task:
            case Classes():
                right = z.argmax(axis=1) == targets
            case Values(tolerance):
                right = (np.abs(z - targets) <= tolerance).all(axis=1)
            case _:  # pairs: the preferred input in one row, the other in the next
                right = z[0::2, 0] > z[1::2, 0]
        hits += int(right.sum())
    return hits / max(1, header.held_out_count)
