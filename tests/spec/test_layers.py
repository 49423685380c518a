from __future__ import annotations

import re
from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from potnode.spec.errors import InvalidJob
from potnode.spec.layers import (
    MAX_AVERAGED,
    Add,
    AvgPool,
    Conv2d,
    Depthwise,
    Embedding,
    Gru,
    Layer,
    Linear,
    MaxPool,
    Norm,
    Relu,
    Shape,
    fan_in,
    out_shape,
    tensor_shapes,
    window_counts,
)

IMAGE = (3, 8, 9)
CONV = Conv2d(5, (3, 2), (2, 1), (1, 0), 4, "relu")
DEPTHWISE = Depthwise((3, 3), (1, 2), (1, 2), 4, "clip")


@pytest.mark.parametrize(
    ("layer", "shape", "out", "tensors", "terms"),
    [
        (Linear(7, 3, "relu"), (12,), (7,), [(7, 12), (7,)], 12),
        (Linear(7, 3, "relu"), IMAGE, (7,), [(7, 216), (7,)], 216),
        (CONV, IMAGE, (5, 4, 8), [(5, 18), (5,)], 18),
        (DEPTHWISE, IMAGE, (3, 8, 6), [(27,), (3,)], 9),
        (MaxPool((2, 3), (2, 3)), IMAGE, (3, 4, 3), [], 0),
        (AvgPool((8, 9), (1, 1)), IMAGE, (3, 1, 1), [], 0),
        (Relu(), IMAGE, IMAGE, [], 0),
        (Add(0), IMAGE, IMAGE, [], 0),
        (Norm(), IMAGE, IMAGE, [(216,)], 0),
        (Norm(), (5,), (5,), [(5,)], 0),
        (Embedding(6), (), (6,), [(256, 6)], 0),
        (Gru(4, 5), (6,), (4,), [(4, 6), (4, 4), (4,), (4, 6), (4, 4), (4,)], 10),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "__slots__") else "",
)
def test_shapes_of_every_layer(
    layer: Layer, shape: Shape, out: Shape, tensors: list[Shape], terms: int
) -> None:
    assert out_shape(layer, shape, (shape,)) == out
    assert list(tensor_shapes(layer, shape)) == tensors
    assert fan_in(layer, shape) == terms


@pytest.mark.parametrize(
    ("layer", "shape", "earlier", "message"),
    [
        (Embedding(6), (5,), (), "an embedding takes bytes"),
        (Linear(6, 0, "relu"), (), (), "the first layer of a byte model is an embedding"),
        (Relu(), (), (), "the first layer of a byte model is an embedding"),
        (Gru(3, 1), IMAGE, (), "a gru takes a vector, not (3, 8, 9)"),
        (Add(1), (5,), ((5,),), "there is no layer 1 before it to add"),
        (Add(-1), (5,), ((5,),), "there is no layer -1 before it"),
        (Add(0), (5,), ((6,),), "layer 0 gives (6,), which can't be added to (5,)"),
        (CONV, (5,), (), "a window slides over (channels, height, width), not (5,)"),
        (MaxPool((9, 1), (1, 1)), IMAGE, (), "a window of (9, 1) does not fit (3, 8, 9)"),
        (MaxPool((1, 10), (1, 1)), IMAGE, (), "a window of (1, 10) does not fit"),
        (
            Conv2d(1, (11, 1), (1, 1), (1, 0), 0, "relu"),
            IMAGE,
            (),
            "a window of (11, 1) does not fit",
        ),
        (
            Conv2d(1, (3, 2), (1, 1), (1, 2), 0, "relu"),
            IMAGE,
            (),
            "a pad of (1, 2) is not below the kernel of (3, 2)",
        ),
        (Depthwise((1, 1), (1, 1), (1, 0), 0, "relu"), IMAGE, (), "a pad of (1, 0) is not below"),
        (
            AvgPool((257, 256), (1, 1)),
            (1, 300, 300),
            (),
            f"an average is of at most {MAX_AVERAGED} values",
        ),
    ],
)
def test_a_layer_that_cannot_follow_is_refused(
    layer: Layer, shape: Shape, earlier: tuple[Shape, ...], message: str
) -> None:
    with pytest.raises(InvalidJob, match=re.escape(message)):
        out_shape(layer, shape, earlier)


def test_the_largest_mean_still_counts() -> None:
    assert out_shape(AvgPool((256, 256), (1, 1)), (1, 256, 256), ()) == (1, 1, 1)
    assert 65536 // MAX_AVERAGED == 1


two = st.tuples(st.integers(1, 5), st.integers(1, 5))


@given(st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)), two, two, st.data())
def test_windows_are_those_of_torch(
    shape: tuple[int, int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    data: st.DataObject,
) -> None:
    pad = (data.draw(st.integers(0, kernel[0] - 1)), data.draw(st.integers(0, kernel[1] - 1)))
    layer = Conv2d(4, kernel, stride, pad, 0, "relu")
    fits = all(n + 2 * p >= k for n, p, k in zip(shape[1:], pad, kernel, strict=True))
    if not fits:
        assert 0 in window_counts(layer, shape)
        with pytest.raises(InvalidJob, match="does not fit"):
            out_shape(layer, shape, ())
        return
    [matrix, _] = tensor_shapes(layer, shape)
    unfolded = functional.unfold(torch.ones(1, *shape), kernel, padding=pad, stride=stride)
    assert unfolded.shape[1] == matrix[1] == fan_in(layer, shape)
    assert unfolded.shape[2] == prod(window_counts(layer, shape))
    seen = functional.conv2d(
        torch.ones(1, *shape), torch.ones(4, shape[0], *kernel), None, stride, pad
    )
    assert out_shape(layer, shape, ()) == seen.shape[1:]
