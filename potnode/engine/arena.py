"""Where activations of a tile lie in memory, how long each buffer is needed, and how much may be.

Jobs come from anywhere, and the protocol allows larger models than a node's memory does.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import numpy as np
import numpy.typing as npt

from potnode.engine.errors import EngineError
from potnode.engine.kernels.vectors import LANES, QUAD
from potnode.spec.layers import Layer, Shape, Window

Ints = npt.NDArray[np.int64]

_MOST_LAYER = 1 << 30  # bytes of one layer's activations of a tile
_MOST = 1 << 31  # bytes of all that are needed at a time: their offsets are int32
_MOST_PLACES = 1 << 24  # where a layer's windows read, counted by quads


def channels(shape: Shape) -> int:
    """Values of one position: an image's channels, a vector's whole length."""
    return shape[0]


def positions(shape: Shape) -> int:
    """Positions of an image, 1 of a vector."""
    return prod(shape[1:])


def quads(shape: Shape) -> int:
    """Quads of an activation of this shape: its channels by fours, position by position."""
    return positions(shape) * -(-channels(shape) // 4)


def order(shape: Shape) -> Ints:
    """For every feature of the quads its index in the flat activation; -1 for what fills up."""
    width = -(-channels(shape) // 4) * 4
    features = np.full((positions(shape), width), -1, np.int64)
    flat = np.arange(prod(shape)).reshape(channels(shape), positions(shape))
    features[:, : channels(shape)] = flat.T
    return features.reshape(-1)


def check_sizes(layers: Sequence[Layer], shapes: Sequence[Shape]) -> None:
    """EngineError where a layer is too large. shapes: of the input, and of each layer's output."""
    for layer, before, after in zip(layers, shapes, shapes[1:], strict=False):
        if isinstance(layer, Window):
            places = positions(after) * prod(layer.kernel) * quads(before[:1])
            if places > _MOST_PLACES:
                raise EngineError(_too_large(f"windows over {places} places"))
    largest = max(quads(shape) * QUAD for shape in shapes if shape)
    if largest > _MOST_LAYER:
        raise EngineError(_too_large(f"{largest} bytes for the values of a layer"))


def _too_large(what: str) -> str:
    return (
        f"on the CPU this model needs {what}, {LANES} samples at a time, which is more than the "
        "engine takes: use a device of torch"
    )


class Arena:
    """Gives out byte offsets; a place is given again once its last user has gone.

    Times are the numbers of operations.
    """

    def __init__(self) -> None:
        self._used: list[tuple[int, int, int]] = []  # first byte, byte after the last, last use
        self.size = 0

    def take(self, count: int, now: int, last_use: int) -> int:
        """Offset of `count` quads from `now` to `last_use`, both included.

        Raises:
            EngineError: there is no room for them.
        """
        self._used = [used for used in self._used if used[2] >= now]
        edges = [(0, 0, 0), *sorted(self._used), (1 << 62, 1 << 62, 0)]
        size = count * QUAD
        place = next(a[1] for a, b in pairwise(edges) if b[0] - a[1] >= size)
        self._used.append((place, place + size, last_use))
        self.size = max(self.size, place + size)
        if self.size >= _MOST:
            raise EngineError(_too_large(f"{self.size} bytes for values of layers"))
        return place
