"""Integers for a torch model: int8 weights, shifts by powers of two, logits in 1/256 bit.

An activation of the model is its integer times the layer's scale. Scales of hidden layers come from
what the model gives on training samples; that of logits is fixed, so the last layer's integers are
the model's own logits. The master of a weight keeps 8 bits more than int8 has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from potnode.engine.ports import Samples
from potnode.spec.layers import Layer, Shape
from potnode.spec.manifest import MASTER_LIMIT, MAX_SHIFT, WEIGHT_LIMIT, Task, Values
from potnode.spec.network import BIAS_SHIFT, LARGEST
from potnode.torchmodel.errors import TorchModelError
from potnode.torchmodel.parts import Floats, Part, Weighted, read

CALIBRATION = 512  # training samples that scales are taken from
QUANTILE = 0.9999  # of a layer's values is kept, the rest is clipped
LOGIT_SCALE = log(2) / 256  # a logit's integers are 1/256 bit
_LARGEST_BIAS = WEIGHT_LIMIT << BIAS_SHIFT


@dataclass(frozen=True, slots=True)
class Converted:
    """A model's layers, their names in torch, and the masters of all tensors, flat, one by one."""

    layers: tuple[Layer, ...]
    names: tuple[str, ...]
    masters: tuple[npt.NDArray[np.int32], ...]

    def to_bytes(self) -> bytes:
        """The file of initial weights: le32, tensor by tensor."""
        return b"".join(m.astype("<i4").tobytes() for m in self.masters)


def convert(
    model: nn.Module,
    dataset: Samples,
    shape: Shape,
    task: Task,
    *,
    input_scale: float,
    output_scale: float,
) -> Converted:
    """The integers of a model.

    Args:
        model: put into its evaluation mode. shape: of one input, [n] or [c, h, w].
        input_scale: what a step of the dataset's inputs is for the model. output_scale: what a step
            of the target values is, for the task `values`.

    Raises:
        TorchModelError: a module that no job can have, or numbers that int8 can't hold.
    """
    model.eval()
    parts = read(model, shape)
    inputs = float_inputs(dataset, shape, input_scale, _spread(dataset.header.train_count))
    ranges = _ranges(model, parts, inputs)
    last_scale = output_scale if isinstance(task, Values) else LOGIT_SCALE
    layers: list[Layer] = []
    masters: list[npt.NDArray[np.int32]] = []
    scale = input_scale
    for i, part in enumerate(parts):
        if not isinstance(part, Weighted):
            layers.append(part.layer)
            continue
        limit = ranges[i] if part.limit is None else part.limit
        wanted = last_scale if part.activation == "none" else limit / LARGEST
        shift = _shift(part, scale, wanted)
        step = wanted / (scale * 2**shift)  # what a weight of 1 stands for
        layers.append(replace(part.layer, shift=shift, activation=part.activation))
        bias = (part.bias / (step * scale) + _half(shift)) / (1 << BIAS_SHIFT)
        masters += [_masters(part.weight / step), _masters(bias)]
        scale = wanted
    return Converted(tuple(layers), tuple(part.name for part in parts), tuple(masters))


def float_inputs(
    dataset: Samples, shape: Shape, input_scale: float, rows: npt.NDArray[np.int64]
) -> Tensor:
    """float32 [n, *shape]: samples as the model knows them; a pair is two rows, preferred first."""
    values = dataset.inputs[rows].reshape(-1, *shape).astype(np.float64) * input_scale
    return torch.from_numpy(values.astype(np.float32))


def _spread(count: int) -> npt.NDArray[np.int64]:
    """Indices of up to CALIBRATION training samples, evenly spread."""
    return np.linspace(0, count - 1, min(CALIBRATION, count)).astype(np.int64)


def _ranges(model: nn.Module, parts: Sequence[Part], inputs: Tensor) -> list[float]:
    """Largest magnitude of every weighted part's values that its activation lets through."""
    seen: dict[int, Tensor] = {}
    hooks = []
    for i, part in enumerate(parts):
        if isinstance(part, Weighted):

            def keep(_module: nn.Module, _inputs: object, output: Tensor, at: int = i) -> None:
                # Now, not later: an activation that works in place changes it.
                seen[at] = output.detach().double().clone()

            hooks.append(part.ends_with.register_forward_hook(keep))
    try:
        with torch.no_grad():
            model(inputs)
    except RuntimeError as error:
        raise TorchModelError(f"the model does not take inputs of this shape: {error}") from error
    finally:
        for hook in hooks:
            hook.remove()
    ranges = []
    for i, part in enumerate(parts):
        values = seen.get(i)
        if values is None or not isinstance(part, Weighted):
            ranges.append(0.0)
            continue
        if not bool(torch.isfinite(values).all()):
            raise TorchModelError(f"module {part.name} gives values that are not finite")
        let_through = values.clamp(min=0) if part.activation == "relu" else values.abs()
        largest = np.quantile(let_through.numpy(), QUANTILE)
        ranges.append(float(largest) or 1.0)  # a layer that gives nothing may have any scale
    return ranges


def _shift(part: Weighted, scale: float, wanted: float) -> int:
    """The largest shift with which weights and biases fit: it leaves them the most bits."""
    weight, bias = float(np.abs(part.weight).max()), float(np.abs(part.bias).max())
    if not np.isfinite(weight) or not np.isfinite(bias):
        raise TorchModelError(f"module {part.name} has weights that are not finite")
    for shift in range(MAX_SHIFT, -1, -1):
        step = wanted / (scale * 2**shift)
        if weight <= WEIGHT_LIMIT * step and bias / (step * scale) + _half(shift) <= _LARGEST_BIAS:
            return shift
    raise TorchModelError(
        f"module {part.name}: its weights (up to {weight:.3g}) or biases (up to {bias:.3g}) are "
        "too large beside its outputs to fit int8; train it with weight decay"
    )


def _half(shift: int) -> int:
    """Half of what a shift divides by, which makes its floor the nearest integer."""
    return (1 << shift) >> 1


def _masters(steps: Floats) -> npt.NDArray[np.int32]:
    """Masters of weights given in steps, flat."""
    rounded = np.rint(steps.reshape(-1) * 256)
    return rounded.clip(-MASTER_LIMIT, MASTER_LIMIT).astype(np.int32)
