"""The layers a model may have: their tensors and how they change an input's shape (section 3).

What they compute is `potnode.spec.network`'s. A shape is (n,) for a vector, (c, h, w) for an image
whose value (ci, y, x) stands at index (ci * h + y) * w + x, and () for one byte. A tensor's shape
is (m, n) for a matrix of m rows, which is drawn as a b^T, and (n,) for a vector, drawn sign by
sign.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from potnode.spec.errors import InvalidJob

Shape = tuple[int, ...]

VOCABULARY = 256
RELU, CLIP, NONE = "relu", "clip", "none"
ACTIVATIONS = (RELU, CLIP, NONE)
MAX_AVERAGED = 1 << 16  # beyond it a mean's factor, 2^16 div the window's values, would be 0


@dataclass(frozen=True, slots=True)
class Linear:
    """Every output from every input: tensors (out, inputs) and (out,), then acc >> shift.

    activation: "relu" clips to 0..127, "clip" to -127..127; "none", not clipped, is for logits.
    """

    out: int
    shift: int
    activation: str


@dataclass(frozen=True, slots=True)
class Conv2d:
    """Cross-correlation with zeros around: tensors (out, c * kh * kw) and (out,).

    kernel, stride, pad: (vertical, horizontal); pad is below kernel, so that every window meets the
    image. A weight's column is (ci * kh + dy) * kw + dx.
    """

    out: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    shift: int
    activation: str


@dataclass(frozen=True, slots=True)
class Depthwise:
    """A convolution of each channel by itself: tensors (c * kh * kw,) and (c,), both vectors."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    shift: int
    activation: str


@dataclass(frozen=True, slots=True)
class MaxPool:
    """The largest value of each window."""

    kernel: tuple[int, int]
    stride: tuple[int, int]


@dataclass(frozen=True, slots=True)
class AvgPool:
    """The mean of each window of at most MAX_AVERAGED values, rounded: see section 3 for how."""

    kernel: tuple[int, int]
    stride: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Relu:
    """max(0, x)."""


@dataclass(frozen=True, slots=True)
class Add:
    """The sum with the output of an earlier layer (its index), clipped: a residual connection."""

    source: int


@dataclass(frozen=True, slots=True)
class Norm:
    """Each input times its weight, over the mean magnitude of all: one vector tensor (n,)."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """A row of a table for a byte: tensor (256, out)."""

    out: int


@dataclass(frozen=True, slots=True)
class Gru:
    """A gated recurrent unit whose nonlinearity is the clip (EGG, arXiv 2511.16652, appendix G).

    Tensors Wf (out, inputs), Uf (out, out), bf (out,), Wh (out, inputs), Uh (out, out), bh (out,).
    """

    out: int
    shift: int


Layer = Linear | Conv2d | Depthwise | MaxPool | AvgPool | Relu | Add | Norm | Embedding | Gru
Window = Conv2d | Depthwise | MaxPool | AvgPool


def window_counts(layer: Window, shape: Shape) -> tuple[int, int]:
    """Places of a layer's window over an image of `shape`, down and across; 0 where none fits."""
    pad = layer.pad if isinstance(layer, Conv2d | Depthwise) else (0, 0)
    down, across = (
        (size + 2 * p - k) // s + 1 if size + 2 * p >= k else 0
        for size, p, k, s in zip(shape[1:], pad, layer.kernel, layer.stride, strict=True)
    )
    return down, across


def out_shape(layer: Layer, shape: Shape, earlier: tuple[Shape, ...]) -> Shape:
    """Shape of a layer's output.

    Args:
        shape: of its input. earlier: of the outputs of all layers before it.

    Raises:
        InvalidJob: the layer can't take such an input.
    """
    match layer:
        case Embedding():
            if shape != ():
                raise InvalidJob("an embedding takes bytes: it is the first layer of a byte model")
            return (layer.out,)
        case _ if shape == ():
            raise InvalidJob("the first layer of a byte model is an embedding")
        case Linear():
            return (layer.out,)
        case Gru():
            if len(shape) != 1:
                raise InvalidJob(f"a gru takes a vector, not {shape}")
            return (layer.out,)
        case Relu() | Norm():
            return shape
        case Add():
            return _sum_shape(layer, shape, earlier)
        case Conv2d() | Depthwise() | MaxPool() | AvgPool():
            return _window_shape(layer, shape)


def _sum_shape(layer: Add, shape: Shape, earlier: tuple[Shape, ...]) -> Shape:
    if not 0 <= layer.source < len(earlier):
        raise InvalidJob(f"there is no layer {layer.source} before it to add")
    if earlier[layer.source] != shape:
        raise InvalidJob(
            f"layer {layer.source} gives {earlier[layer.source]}, which can't be added to {shape}"
        )
    return shape


def _window_shape(layer: Window, shape: Shape) -> Shape:
    if len(shape) != 3:
        raise InvalidJob(f"a window slides over (channels, height, width), not {shape}")
    if isinstance(layer, Conv2d | Depthwise) and any(
        p >= k for p, k in zip(layer.pad, layer.kernel, strict=True)
    ):
        raise InvalidJob(f"a pad of {layer.pad} is not below the kernel of {layer.kernel}")
    if isinstance(layer, AvgPool) and prod(layer.kernel) > MAX_AVERAGED:
        raise InvalidJob(f"an average is of at most {MAX_AVERAGED} values")
    channels = layer.out if isinstance(layer, Conv2d) else shape[0]
    result = (channels, *window_counts(layer, shape))
    if 0 in result:
        raise InvalidJob(f"a window of {layer.kernel} does not fit {shape}")
    return result


def tensor_shapes(layer: Layer, shape: Shape) -> tuple[Shape, ...]:
    """Shapes of the layer's tensors in order, for an input of `shape`."""
    match layer:
        case Linear():
            return (layer.out, prod(shape)), (layer.out,)
        case Conv2d():
            return (layer.out, shape[0] * prod(layer.kernel)), (layer.out,)
        case Depthwise():
            return (shape[0] * prod(layer.kernel),), (shape[0],)
        case Norm():
            return ((prod(shape),),)
        case Embedding():
            return ((VOCABULARY, layer.out),)
        case Gru():
            gate = (layer.out, prod(shape)), (layer.out, layer.out), (layer.out,)
            return (*gate, *gate)
        case _:
            return ()


def fan_in(layer: Layer, shape: Shape) -> int:
    """Terms of the longest sum of products of the layer for an input of `shape`; 0 for none."""
    match layer:
        case Linear():
            return prod(shape)
        case Conv2d():
            return shape[0] * prod(layer.kernel)
        case Depthwise():
            return prod(layer.kernel)
        case Gru():
            return prod(shape) + layer.out
        case _:
            return 0
