"""The nets a literal search can fill: their layers, sizes, and names.

Layers have no biases: every weight comes from a hash. Inputs are a dataset's divided by 127.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from potnode.literal import kernels
from potnode.literal.errors import BadSearch

NETS: Final = ("conv", "mlp")
_FILTERS, _HIDDEN = 8, 32


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer. inputs, outputs: numbers of values. fan_in: inputs of one result. side, channels:
    of the image a convolution reads, 0 otherwise. filters: of a convolution, else the outputs."""

    name: str
    inputs: int
    outputs: int
    fan_in: int
    filters: int
    rectified: bool
    side: int = 0
    channels: int = 0

    @property
    def weights(self) -> int:
        """How many weights it has."""
        return self.fan_in * self.filters


@dataclass(frozen=True)
class Net:
    """Layers in their order. All weights lie one layer after another in one array."""

    name: str
    classes: int
    layers: tuple[Layer, ...]

    @cached_property
    def offsets(self) -> list[int]:
        """Where each layer's weights begin, and where the last one's end."""
        ends = np.cumsum([layer.weights for layer in self.layers])
        return [0, *(int(end) for end in ends)]

    @property
    def widest(self) -> int:
        """Most results of a layer."""
        return max(layer.outputs for layer in self.layers)

    @cached_property
    def plan(self) -> npt.NDArray[np.int64]:
        """What `potnode.literal.kernels` reads: int64 [layers, 7]."""
        return np.array(
            [
                [
                    kernels.CONV if layer.side else kernels.LINEAR,
                    layer.side,
                    layer.channels,
                    layer.filters,
                    layer.inputs,
                    layer.rectified,
                    offset,
                ]
                for layer, offset in zip(self.layers, self.offsets, strict=False)
            ],
            np.int64,
        )

    def index(self, name: str) -> int:
        """Which layer has this name; BadSearch if none has."""
        names = [layer.name for layer in self.layers]
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise BadSearch("layer", f"net {self.name} has {', '.join(names)}, not {name!r}{hint}")
        return names.index(name)


def build(name: str, inputs: int, classes: int) -> Net:
    """The net of this name for a dataset with so many inputs and classes.

    `conv`: conv1_layer, 3 x 3 without padding, 8 filters, maximum of 2 x 2, negative ones 0; then
    fc1_layer. `mlp`: fc1_layer, 32 outputs, negative ones 0; then fc2_layer.

    Raises:
        BadSearch: there is no such net, or the inputs are no square image that is large enough.
    """
    if name == "mlp":
        hidden = Layer("fc1_layer", inputs, _HIDDEN, inputs, _HIDDEN, rectified=True)
        return Net(name, classes, (hidden, _last("fc2_layer", _HIDDEN, classes)))
    if name != "conv":
        raise BadSearch("net", f"there are {' and '.join(NETS)}, not {name!r}")
    side = math.isqrt(inputs)
    half = (side - kernels.KERNEL + 1) // kernels.POOL
    if side * side != inputs or half < 1:
        raise BadSearch("net", f"conv needs square images, and the dataset has {inputs} inputs")
    area = kernels.KERNEL**2
    outputs = _FILTERS * half * half
    first = Layer(
        "conv1_layer", inputs, outputs, area, _FILTERS, rectified=True, side=side, channels=1
    )
    return Net(name, classes, (first, _last("fc1_layer", outputs, classes)))


def _last(name: str, inputs: int, classes: int) -> Layer:
    return Layer(name, inputs, classes, inputs, classes, rectified=False)
