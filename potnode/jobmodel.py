"""The model of a job file: layers as TOML tables, and usual values for all that a table leaves out.

A table becomes a layer of `potnode.spec.layers`. Left out, a shift is what keeps random activations
between dying and saturating: accumulators of the initial weights are divided to a deviation of
about 48 of 127 (less where sums are long), logits to about one bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2, prod, sqrt
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from potnode.config import nearest
from potnode.data.dataset import Dataset
from potnode.errors import JobFileError
from potnode.spec import layers as spec
from potnode.spec.dataset import DatasetHeader
from potnode.spec.errors import InvalidJob
from potnode.spec.layers import Layer, Shape
from potnode.spec.manifest import Manifest, Weights

UInt = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]

STEP = 256  # of a master: one weight step
NORM_WEIGHT = 16  # steps that weights of a norm start at: the mean magnitude of its outputs
ACTIVATION = 48.0  # root mean square that accumulators are divided to
LOGIT = 256.0  # and logits: one bit
_RMS = {"relu": ACTIVATION / sqrt(2), "clip": ACTIVATION, "none": LOGIT}
_LONG = 64  # terms of a sum beyond which it is given room to grow
_GRU_RMS = 24.0  # a state goes half the way to a proposal of 48 in every step
_SAMPLED = 1000  # training samples whose magnitude decides on the first layer's shift
WEIGHTS = {"int8": Weights(127, 8), "int4": Weights(7, 12), "ternary": Weights(1, 13)}


class Table(BaseModel):
    """A table of a job file: it can't be changed, and has no keys but those named."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def both(value: object) -> object:
    """One number for two: 3 is [3, 3]. A list as the tuple that a strict model wants."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value, value
    return tuple(value) if isinstance(value, list) else value


Extent = Annotated[tuple[Positive, Positive], BeforeValidator(both)]
Pad = Annotated[tuple[UInt, UInt], BeforeValidator(both)]


class _Named(Table):
    name: str | None = None


class _Weighted(_Named):
    init_std: UInt | None = None


class LinearTable(_Weighted):
    """`out` is the dataset's where the last layer leaves it out."""

    type: Literal["linear"]
    out: Positive | None = None
    shift: UInt | None = None
    activation: Literal["relu", "clip", "none"] | None = None


class Conv2dTable(_Weighted):
    """A convolution."""

    type: Literal["conv2d"]
    out: Positive
    kernel: Extent
    stride: Extent = (1, 1)
    pad: Pad = (0, 0)
    shift: UInt | None = None
    activation: Literal["relu", "clip"] = "relu"


class DepthwiseTable(_Weighted):
    """A convolution of each channel by itself."""

    type: Literal["depthwise"]
    kernel: Extent
    stride: Extent = (1, 1)
    pad: Pad = (0, 0)
    shift: UInt | None = None
    activation: Literal["relu", "clip"] = "relu"


class PoolTable(_Named):
    """Windows side by side unless `stride` says otherwise; the whole image without `kernel`."""

    type: Literal["maxpool", "avgpool"]
    kernel: Extent | None = None
    stride: Extent | None = None


class PlainTable(_Named):
    """A layer without settings."""

    type: Literal["relu", "norm"]


class AddTable(_Named):
    """`from`: name or index of an earlier layer."""

    type: Literal["add"]
    source: str | UInt = Field(alias="from")


class EmbeddingTable(_Weighted):
    """A vector for each byte."""

    type: Literal["embedding"]
    out: Positive


class GruTable(_Weighted):
    """A recurrent layer."""

    type: Literal["gru"]
    out: Positive
    shift: UInt | None = None


LayerTable = Annotated[
    LinearTable
    | Conv2dTable
    | DepthwiseTable
    | PoolTable
    | PlainTable
    | AddTable
    | EmbeddingTable
    | GruTable,
    Field(discriminator="type"),
]
LAYER_TABLES: tuple[type[_Named], ...] = (
    LinearTable,
    Conv2dTable,
    DepthwiseTable,
    PoolTable,
    PlainTable,
    AddTable,
    EmbeddingTable,
    GruTable,
)


class Model(Table):
    """The model: widths of hidden layers, or layers one by one.

    input_scale, output_scale are for models brought from torch (`potnode.torchmodel`).
    """

    input: list[Positive] | None = None
    hidden: list[Positive] = []
    hidden_shift: UInt | None = None
    output_shift: UInt | None = None
    layers: list[LayerTable] = []
    train: list[str | UInt] = []
    weights: Literal["int8", "int4", "ternary"] = "int8"
    init_std: Positive = 16
    seed: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    input_scale: Annotated[float, Field(gt=0, strict=False)] = 1 / 127
    output_scale: Annotated[float, Field(gt=0, strict=False)] = 1.0


@dataclass(frozen=True, slots=True)
class Built:
    """A model's layers with their names, and for every tensor how it starts, in units of M."""

    input: Shape
    layers: tuple[Layer, ...]
    names: tuple[str | None, ...]
    std: tuple[int, ...]
    mean: tuple[int, ...]


def usual_shift(terms: int, std: float, rms: float, target: float | None = None) -> int:
    """The shift that brings a sum of `terms` products nearest to a root mean square of `target`.

    Args:
        std: deviation of the weights, in steps. rms: root mean square of what they multiply.
        target: ACTIVATION where it is left out, and less for long sums: while random weights make
            sums that grow as the root of their length, trained ones make sums that grow as it.
    """
    if target is None:
        target = ACTIVATION * min(1.0, sqrt(_LONG / terms))
    return max(0, round(log2(max(1.0, sqrt(terms) * std * rms / target))))


def input_shape(model: Model, header: DatasetHeader) -> Shape:
    """Shape of one input: that of the model if it has one, else flat; () for bytes."""
    if header.kind == "bytes":
        if model.input:
            raise JobFileError("model.input: a byte model has none")
        return ()
    shape = tuple(model.input) if model.input else (header.input_size,)
    if prod(shape) != header.input_size:
        raise JobFileError(
            f"model.input: {list(shape)} has {prod(shape)} values, the dataset's inputs have "
            f"{header.input_size}"
        )
    return shape


def build(model: Model, dataset: Dataset) -> Built:
    """The model's layers on a dataset.

    Raises:
        JobFileError: a table contradicts another, the dataset, or can't follow the layers before.
    """
    tables = _tables(model)
    header = dataset.header
    shape = input_shape(model, header)
    builder = _Builder(model, header.outputs, shape, _rms(dataset))
    for i, table in enumerate(tables):
        try:
            builder.add(table, last=i == len(tables) - 1)
        except InvalidJob as error:
            raise JobFileError(f"model.layers[{i}]: {error}") from None
    return builder.built()


def trained(
    manifest: Manifest, names: Sequence[str | None], train: Sequence[str | int]
) -> tuple[int, ...]:
    """Indices of the tensors of the layers `train` names, all tensors where it names none.

    Args:
        names: of the manifest's layers. train: names or indices of layers; `block` also means every
            layer whose name begins with `block.`.
    """
    if not train:
        return tuple(range(len(manifest.tensors)))
    tensors: set[int] = set()
    for wanted in train:
        found = [i for i, name in enumerate(names) if _is_meant(wanted, i, name)]
        own = [
            manifest.first_tensor(i) + j
            for i in found
            for j in range(len(manifest.tensors_by_layer[i]))
        ]
        if not found:
            known = [name for name in names if name]
            hint = f": {', '.join(known)}" if known else ": layers without names go by index"
            hint = (isinstance(wanted, str) and nearest(wanted, known)) or hint
            raise JobFileError(f"model.train: there is no layer {wanted!r}{hint}")
        if not own:
            raise JobFileError(f"model.train: layer {wanted!r} has no weights to train")
        tensors.update(own)
    return tuple(sorted(tensors))


def _is_meant(wanted: str | int, index: int, name: str | None) -> bool:
    if isinstance(wanted, int):
        return wanted == index
    return name is not None and (name == wanted or name.startswith(wanted + "."))


def _tables(model: Model) -> list[LayerTable]:
    if not model.layers:
        hidden = [
            LinearTable(type="linear", out=out, shift=model.hidden_shift) for out in model.hidden
        ]
        return [*hidden, LinearTable(type="linear", shift=model.output_shift)]
    for key in ("hidden", "hidden_shift", "output_shift"):
        if key in model.model_fields_set:
            raise JobFileError(f"model.{key}: model.layers says it all, leave this out")
    names = [table.name for table in model.layers if table.name is not None]
    for name in names:
        if names.count(name) > 1:
            raise JobFileError(f"model.layers: two layers have the name {name!r}")
    return model.layers


def _rms(dataset: Dataset) -> float:
    """Root mean square of the first training samples' inputs."""
    some = dataset.inputs[: min(_SAMPLED, dataset.header.train_count)].astype(np.float64)
    return max(1.0, float(np.sqrt((some * some).mean())))


class _Builder:
    """Layers one after the other; what random weights make of the input decides on shifts."""

    def __init__(self, model: Model, outputs: int, shape: Shape, rms: float) -> None:
        self._model = model
        self._outputs = outputs
        self._input = shape
        self._rms_in = rms
        self._layers: list[Layer] = []
        self._names: list[str | None] = []
        self._shapes: list[Shape] = []
        self._rms: list[float] = []
        self._std: list[int] = []
        self._mean: list[int] = []

    def add(self, table: LayerTable, *, last: bool) -> None:
        """Append the layer of a table. InvalidJob: it can't follow. JobFileError: the table."""
        shape = self._shapes[-1] if self._shapes else self._input
        rms = self._rms[-1] if self._rms else self._rms_in
        layer, after = self._layer(table, shape, rms, last=last)
        self._shapes.append(spec.out_shape(layer, shape, tuple(self._shapes)))
        self._layers.append(layer)
        self._names.append(table.name)
        self._rms.append(after)
        for tensor in spec.tensor_shapes(layer, shape):
            matrix = len(tensor) == 2
            weights = matrix or (isinstance(layer, spec.Depthwise) and tensor != (shape[0],))
            norm = isinstance(layer, spec.Norm)
            self._std.append(self._steps(table) * STEP if weights else 0)
            self._mean.append(NORM_WEIGHT * STEP if norm else 0)

    def built(self) -> Built:
        """All of them."""
        return Built(
            self._input,
            tuple(self._layers),
            tuple(self._names),
            tuple(self._std),
            tuple(self._mean),
        )

    def _layer(
        self, table: LayerTable, shape: Shape, rms: float, *, last: bool
    ) -> tuple[Layer, float]:
        """The layer, and the root mean square of what it gives."""
        std = self._steps(table) or self._model.init_std

        def shift(layer: Layer, given: int | None, target: float | None = None) -> int:
            terms = spec.fan_in(layer, shape)
            return usual_shift(terms, std, rms, target) if given is None else given

        match table:
            case LinearTable():
                out = table.out or (self._outputs if last else None)
                if out is None:
                    raise JobFileError("model.layers: a linear layer before the last needs `out`")
                activation = table.activation or ("none" if last else "relu")
                target = LOGIT if last else None
                linear = spec.Linear(out, 0, activation)
                return (
                    spec.Linear(out, shift(linear, table.shift, target), activation),
                    _RMS[activation],
                )
            case Conv2dTable():
                where = (table.kernel, table.stride, table.pad)
                conv = spec.Conv2d(table.out, *where, 0, table.activation)
                k = shift(conv, table.shift)
                return spec.Conv2d(table.out, *where, k, table.activation), _RMS[table.activation]
            case DepthwiseTable():
                where = (table.kernel, table.stride, table.pad)
                k = shift(spec.Depthwise(*where, 0, table.activation), table.shift)
                return spec.Depthwise(*where, k, table.activation), _RMS[table.activation]
            case GruTable():
                k = shift(spec.Gru(table.out, 0), table.shift)
                return spec.Gru(table.out, k), _GRU_RMS
            case EmbeddingTable():
                return spec.Embedding(table.out), float(std)
            case AddTable():
                source = self._source(table.source)
                other = self._rms[source] if source < len(self._rms) else rms
                return spec.Add(source), sqrt(rms * rms + other * other)
            case PlainTable(type="norm"):
                return spec.Norm(), 1.25 * NORM_WEIGHT  # of a bell curve with that mean magnitude
            case PlainTable():
                return spec.Relu(), rms / sqrt(2)
            case PoolTable():
                return _pool(table, shape), rms

    def _steps(self, table: LayerTable) -> int:
        own = getattr(table, "init_std", None)
        return self._model.init_std if own is None else own

    def _source(self, wanted: str | int) -> int:
        if isinstance(wanted, int):
            return wanted
        if wanted not in self._names:
            known = [name for name in self._names if name]
            raise JobFileError(
                f"model.layers: there is no earlier layer {wanted!r} to add{nearest(wanted, known)}"
            )
        return self._names.index(wanted)


def _pool(table: PoolTable, shape: Shape) -> Layer:
    kernel = table.kernel
    if kernel is None:
        if len(shape) != 3:
            raise InvalidJob(f"a window slides over (channels, height, width), not {shape}")
        kernel = (shape[1], shape[2])
    kind = spec.MaxPool if table.type == "maxpool" else spec.AvgPool
    return kind(kernel, table.stride or kernel)
