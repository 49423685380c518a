"""In which order a plan wants the values of its input, and the columns of matrices over them."""

from __future__ import annotations

from math import prod

import numpy as np

from potnode.engine.arena import Ints, channels, order, quads
from potnode.spec.layers import Conv2d, Embedding, Layer, Linear, Shape, window_counts


def is_straight(columns: Ints) -> bool:
    """Whether features come in their own order, what fills up last."""
    count = int((columns >= 0).sum())
    return bool((columns[:count] == np.arange(count)).all())


def is_patched(layer: Conv2d, shape: Shape) -> bool:
    """Whether the windows of a first convolution are laid out one by one.

    With few channels most of a quad would be empty, and its windows have far fewer quads.
    """
    size = prod(layer.kernel)
    return 2 * -(-channels(shape) * size // 4) <= size * quads(shape[:1])


def input_table(layer: Layer, shape: Shape) -> Ints:
    """Which of its values a model's input has in each feature of its quads."""
    match layer:
        case Embedding():
            return np.zeros(0, np.int64)
        case Linear():
            table = np.full(-(-prod(shape) // 4) * 4, -1)
            table[: prod(shape)] = np.arange(prod(shape))
            return table
        case Conv2d() if is_patched(layer, shape):
            return _patches(layer, shape)
        case _:
            return order(shape)


def _patches(layer: Conv2d, shape: Shape) -> Ints:
    """Every window's values one after another, each window filled up to whole quads."""
    c, height, width = shape
    down, across = window_counts(layer, shape)
    rows = np.arange(down)[:, None] * layer.stride[0] - layer.pad[0] + np.arange(layer.kernel[0])
    columns = (
        np.arange(across)[:, None] * layer.stride[1] - layer.pad[1] + np.arange(layer.kernel[1])
    )
    y, x = rows[:, None, None, :, None], columns[None, :, None, None, :]
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    channel = np.arange(c)[None, None, :, None, None]
    values = np.where(inside, (channel * height + y) * width + x, -1)
    values = values.reshape(down * across, -1)
    padding = -values.shape[1] % 4
    return np.pad(values, ((0, 0), (0, padding)), constant_values=-1).reshape(-1)
