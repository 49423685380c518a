"""A manifest's layers as the kernels' table of operations, and its weights in the kernels' order.

Responsible for what depends on the model alone; `potnode.engine.network` runs it. A plan covers
some of the layers in a row: those below the first trained tensor have a plan of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import numpy.typing as npt

from potnode.engine.arena import Arena, Ints, check_sizes, order, positions, quads
from potnode.engine.draw import DrawLayout
from potnode.engine.inputs import input_table, is_patched, is_straight
from potnode.engine.kernels import fields as f
from potnode.engine.kernels.candidates import row_starts
from potnode.engine.kernels.vectors import QUAD
from potnode.engine.memory import aligned
from potnode.engine.packing import Part
from potnode.spec.layers import (
    CLIP,
    NONE,
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
    Window,
    window_counts,
)
from potnode.spec.manifest import Classes, Manifest, NextByte, Pairs, Values
from potnode.spec.network import BIAS_SHIFT

_FOREVER = 1 << 30
# Nanoseconds, roughly: a product of 64 bytes with 64 others, and what an operation takes besides.
DOT_TIME, _OPERATION_TIME = 0.25, 100.0
_TASKS = {Classes: f.CLASSES, NextByte: f.BYTES, Values: f.VALUES, Pairs: f.PAIRS}


class Plan:
    """Layers first..last-1 of a manifest, ready to run.

    ops, offsets, sources, parameters: what `potnode.engine.kernels` takes; parameters that depend
    on the call are 0. table: which value of an input each feature of its quads is, -1 for zero.
    straight: whether all come in their own order. input, output: shapes.
    """

    def __init__(
        self, manifest: Manifest, layout: DrawLayout, first: int, last: int, *, features: bool
    ) -> None:
        """features: the plan's result is the last layer's output, not a loss.

        Raises:
            EngineError: activations or windows are too large.
        """
        self._manifest = manifest
        self._first = first
        self._layout = layout
        self._rows: list[dict[int, int]] = []
        self._offsets: list[Ints] = []
        self._sources: list[Ints] = []
        self._parts: list[Part] = []
        self._biases: list[tuple[int, int]] = []  # tensor, index of its first start
        self._sized = dict.fromkeys(("offsets", "sources", "weights", "starts"), 0)
        self._own = dict.fromkeys(("columns", "terms", "sums"), 0)
        shapes = (manifest.input, *manifest.shapes)
        self.input, self.output = shapes[first], shapes[last]
        layers = manifest.layers[first:last]
        check_sizes(layers, shapes[first : last + 1])
        self.table = input_table(layers[0], self.input)
        # All values: a window whose stride leaves the image has the first of them alone.
        used = int((self.table >= 0).sum())
        self.straight = is_straight(self.table) and used == prod(self.input)
        self._arena = Arena()
        input_quads = self.table.size // 4
        self._input = self._arena.take(input_quads, 0, _FOREVER)
        padded = [
            quads((shape[0],))
            for layer, shape in zip(layers, shapes[first:], strict=False)
            if isinstance(layer, Conv2d | Depthwise)
        ]
        zero_quads = max(padded, default=0)
        self._zeros = self._arena.take(zero_quads, 0, _FOREVER)
        grus = [layer.out for layer in layers if isinstance(layer, Gru)]
        state_quads = sum(quads((out,)) for out in grus)
        self._next_state = states = self._arena.take(state_quads, 0, _FOREVER)
        uses = {
            layer.source: i for i, layer in enumerate(manifest.layers) if isinstance(layer, Add)
        }
        at, places = self._input, dict[int, int]()
        for i, layer in enumerate(layers, start=first):
            at = self._layer(i, layer, shapes[i], at, max(i + 1, uses.get(i, 0)), places)
            places[i] = at
        self.ops = np.array(
            [[row.get(column, 0) for column in range(f.FIELDS)] for row in self._rows], np.int64
        )
        self.offsets = _joined(self._offsets)
        self.sources = _joined(self._sources)
        task = manifest.task
        parameters = {
            f.TASK: f.FEATURES if features else _TASKS[type(task)],
            f.OUTPUTS: manifest.outputs,
            f.WINDOW: task.window if isinstance(task, NextByte) else 1,
            f.WARMUP: task.warmup if isinstance(task, NextByte) else 0,
            f.TOLERANCE: task.tolerance if isinstance(task, Values) else 0,
            f.HALVES: 2 if isinstance(task, Pairs) else 1,
            f.WIDTH: layout.width,
            f.COLUMN_WIDTH: self._own["columns"],
            f.TERM_WIDTH: self._own["terms"],
            f.SUM_ROWS: self._own["sums"],
            f.ARENA: self._arena.size,
            f.INPUT: input_quads * QUAD,
            f.ZEROS: self._zeros,
            f.ZERO_BYTES: zero_quads * QUAD,
            f.STATES: states,
            f.STATE_BYTES: state_quads * QUAD,
            f.TALLEST: max([4, *(-(-row.get(f.ROWS, 0) // 4) * 4 for row in self._rows)]),
            f.TABLE: 256 * 4 * quads((layers[0].out,)) if isinstance(layers[0], Embedding) else 0,
            f.SHARED: int(
                not features and isinstance(layers[0], Linear) and not isinstance(task, NextByte)
            ),
        }  # fmt: skip
        self.parameters = np.array([parameters.get(k, 0) for k in range(f.PARAMETERS)], np.int64)
        # Nanoseconds of a candidate on a tile, at every position of its samples.
        self.tile_time = _tile_time(self.ops, self.parameters)

    def pack(
        self, weights: Sequence[npt.NDArray[np.int8]]
    ) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int32]]:
        """Forward weights by tensor, flat, as the kernels read them; and starts of their sums."""
        packed = aligned(self._sized["weights"], np.int8)
        packed[:] = 0
        starts = np.zeros(self._sized["starts"], np.int32)
        for part in self._parts:
            part.fill(packed, weights[part.tensor])
        for tensor, at in self._biases:
            values = weights[tensor].astype(np.int32)
            starts[at : at + values.size] = values << BIAS_SHIFT
        row_starts(self.ops, packed, starts)
        return packed, starts

    def widened(self, weights: Sequence[npt.NDArray[np.int8]], shift: int) -> Ints:
        """The operations for these weights and e: sums twice as long where int8 is too narrow."""
        ops = self.ops.copy()
        for op in ops:
            if op[f.CODE] == f.DEPTHWISE:
                tensor = next(p.tensor for p in self._parts if p.at == op[f.WEIGHTS])
                largest = int(np.abs(weights[tensor].astype(np.int16)).max()) + (1 << shift)
                op[f.GROUPS] = op[f.COUNT] * (2 if largest > 127 else 1)
        return ops

    def _layer(
        self, i: int, layer: Layer, shape: Shape, x: int, until: int, places: dict[int, int]
    ) -> int:
        """Add a layer's operations; offset of its output."""
        manifest, tensor = self._manifest, self._manifest.first_tensor(i)
        after = manifest.shapes[i]

        def out() -> int:
            return self._arena.take(quads(after), i, until)

        match layer:
            case Linear():
                columns = self.table if i == self._first else order(shape)
                offsets = x + QUAD * np.arange(columns.size // 4)
                return self._dense(layer, tensor, offsets[None], columns, after, out())
            case Conv2d():
                patched = i == self._first and is_patched(layer, shape)
                return self._conv2d(layer, tensor, shape, x, after, out(), patched=patched)
            case Depthwise():
                return self._depthwise(layer, tensor, shape, x, after, out())
            case MaxPool() | AvgPool():
                windows = self._windows(layer, shape, x)
                code = f.MAX_POOL if isinstance(layer, MaxPool) else f.AVG_POOL
                place = out()
                self._add(
                    code, after, place,
                    {
                        f.GROUPS: windows.shape[1],
                        f.OFFSETS: self._placed("offsets", self._offsets, windows),
                        f.COUNT: windows.shape[1],
                    },
                )  # fmt: skip
                return place
            case Relu():
                place = out()
                self._add(f.RELU, after, place, {f.X: x})
                return place
            case Add():
                place = out()
                self._add(f.ADD, after, place, {f.X: x, f.Y: places[layer.source]})
                return place
            case Norm():
                place = out()
                features = order(shape)
                self._add(
                    f.NORM, after, place,
                    {
                        f.X: x,
                        f.COUNT: prod(shape),
                        f.ROW_SIGNS: self._layout.places[tensor].rows.start,
                        f.SOURCES: self._placed("sources", self._sources, features),
                        f.TERMS: self._take("terms", features.size),
                        f.WEIGHTS: self._part(tensor, 1, prod(shape), np.arange(prod(shape))),
                    },
                )  # fmt: skip
                return place
            case Embedding():
                place = out()
                pitch = 4 * quads(after)
                signs = self._layout.places[tensor]
                self._add(
                    f.EMBEDDING, after, place,
                    {
                        f.ROWS: layer.out,
                        f.PITCH: pitch,
                        f.WEIGHTS: self._part(tensor, 256, pitch, np.arange(layer.out)),
                        f.ROW_SIGNS: signs.rows.start,
                        f.COLUMN_SIGNS: signs.columns.start,
                    },
                )  # fmt: skip
                return place
            case Gru():
                return self._gru(i, layer, tensor, shape, x)

    def _dense(
        self,
        layer: Linear | Conv2d,
        tensor: int,
        offsets: Ints,
        columns: Ints,
        after: Shape,
        place: int,
    ) -> int:
        matrix, bias = (self._layout.places[t] for t in (tensor, tensor + 1))
        straight = is_straight(columns)
        self._add(
            f.DENSE, after, place,
            {
                f.TRAINED: self._trained((f.MATRIX, tensor), (f.BIAS, tensor + 1)),
                f.GROUPS: offsets.shape[1],
                f.OFFSETS: self._placed("offsets", self._offsets, offsets),
                f.PITCH: columns.size,
                f.WEIGHTS: self._part(tensor, layer.out, columns.size, columns),
                f.STARTS: self._starts(tensor + 1, layer.out),
                f.SHIFT: layer.shift,
                f.LOW: _low(layer.activation),
                f.ROWS: layer.out,
                f.ROW_SIGNS: matrix.rows.start,
                f.COLUMN_SIGNS: matrix.columns.start,
                f.BIAS_SIGNS: bias.rows.start,
                f.SOURCES: -1 if straight else self._placed("sources", self._sources, columns),
                f.COLUMNS: self._take("columns", columns.size),
                f.SUMS: self._take("sums", 1),
                f.TERMS: self._take("terms", 4 * quads((layer.out,))),
            },
        )  # fmt: skip
        return place

    def _conv2d(
        self,
        layer: Conv2d,
        tensor: int,
        shape: Shape,
        x: int,
        after: Shape,
        place: int,
        *,
        patched: bool,
    ) -> int:
        size = prod(layer.kernel)
        if patched:
            groups = -(-shape[0] * size // 4)
            offsets = x + QUAD * np.arange(positions(after) * groups).reshape(-1, groups)
            columns = np.full(4 * groups, -1)
            columns[: shape[0] * size] = np.arange(shape[0] * size)
            return self._dense(layer, tensor, offsets, columns, after, place)
        width = quads((shape[0],))
        windows = self._windows(layer, shape, x)
        offsets = windows[:, :, None] + QUAD * np.arange(width)
        channel = np.arange(4 * width)
        columns = np.where(channel < shape[0], channel * size, -1)[None] + np.where(
            channel < shape[0], np.arange(size)[:, None], 0
        )
        return self._dense(
            layer, tensor, offsets.reshape(len(windows), -1), columns.reshape(-1), after, place
        )

    def _depthwise(
        self, layer: Depthwise, tensor: int, shape: Shape, x: int, after: Shape, place: int
    ) -> int:
        taps = prod(layer.kernel)
        windows = self._windows(layer, shape, x)
        width = 4 * quads((shape[0],))
        self._add(
            f.DEPTHWISE, after, place,
            {
                f.GROUPS: taps,
                f.COUNT: taps,
                # The second time for the rest of weights that int8 does not hold.
                f.OFFSETS: self._placed("offsets", self._offsets, np.tile(windows, 2)),
                f.WEIGHTS: self._part(tensor, 1, taps * shape[0], np.arange(taps * shape[0])),
                f.STARTS: self._starts(tensor + 1, shape[0]),
                f.SHIFT: layer.shift,
                f.LOW: _low(layer.activation),
                f.ROWS: shape[0],
                f.ROW_SIGNS: self._layout.places[tensor].rows.start,
                f.BIAS_SIGNS: self._layout.places[tensor + 1].rows.start,
                f.COLUMNS: self._take("columns", width * taps * 2 * 4),
                f.TERMS: self._take("terms", width),
            },
        )  # fmt: skip
        return place

    def _gru(self, i: int, layer: Gru, tensor: int, shape: Shape, x: int) -> int:
        state, width = self._next_state, quads((layer.out,))
        self._next_state += width * QUAD
        gate, kept, proposed = (self._arena.take(width, i, i) for _ in range(3))
        inputs = quads(shape)
        after = (layer.out,)
        columns = order(shape), order(after)
        pitch = 4 * (inputs + width)

        def gates(first: int, second: int, place: int) -> None:
            matrix, recurrent, bias = (self._layout.places[first + k] for k in range(3))
            offsets = np.concatenate(
                [x + QUAD * np.arange(inputs), second + QUAD * np.arange(width)]
            )
            weights = self._part(first, layer.out, pitch, columns[0])
            self._parts.append(Part(first + 1, weights + 4 * inputs, layer.out, pitch, columns[1]))
            self._add(
                f.DENSE, after, place,
                {
                    f.TRAINED: self._trained(
                        (f.MATRIX, first), (f.SECOND_MATRIX, first + 1), (f.BIAS, first + 2)
                    ),
                    f.GROUPS: inputs + width,
                    f.SECOND: width,
                    f.OFFSETS: self._placed("offsets", self._offsets, offsets),
                    f.PITCH: pitch,
                    f.WEIGHTS: weights,
                    f.STARTS: self._starts(first + 2, layer.out),
                    f.SHIFT: layer.shift,
                    f.LOW: _low(CLIP),
                    f.ROWS: layer.out,
                    f.ROW_SIGNS: matrix.rows.start,
                    f.COLUMN_SIGNS: matrix.columns.start,
                    f.BIAS_SIGNS: bias.rows.start,
                    f.ROW_SIGNS_2: recurrent.rows.start,
                    f.COLUMN_SIGNS_2: recurrent.columns.start,
                    f.SOURCES: -1,
                    f.COLUMNS: self._take("columns", pitch),
                    f.SUMS: self._take("sums", 2),
                    f.TERMS: self._take("terms", 4 * width),
                    f.TERMS_2: self._take("terms", 4 * width),
                },
            )  # fmt: skip

        gates(tensor, state, gate)
        self._add(f.KEEP, after, kept, {f.X: gate, f.Y: state})
        gates(tensor + 3, kept, proposed)
        self._add(f.MIX, after, state, {f.X: gate, f.Y: proposed})
        return state

    def _windows(self, layer: Window, shape: Shape, x: int) -> Ints:
        """[places, taps] arena offset of the first quad of every value of every window."""
        _, height, width = shape
        down, across = window_counts(layer, shape)
        pad = layer.pad if isinstance(layer, Conv2d | Depthwise) else (0, 0)
        rows = np.arange(down)[:, None] * layer.stride[0] - pad[0] + np.arange(layer.kernel[0])
        columns = np.arange(across)[:, None] * layer.stride[1] - pad[1] + np.arange(layer.kernel[1])
        y, z = rows[:, None, :, None], columns[None, :, None, :]
        inside = (y >= 0) & (y < height) & (z >= 0) & (z < width)
        offsets = np.where(inside, x + (y * width + z) * quads(shape[:1]) * QUAD, self._zeros)
        return offsets.reshape(down * across, -1).astype(np.int64)

    def _add(self, code: int, after: Shape, place: int, values: dict[int, int]) -> None:
        self._rows.append(
            {
                f.CODE: code,
                f.OUT: place,
                f.QUADS: quads(after[:1]),
                f.PLACES: positions(after),
                **values,
            }
        )

    def _trained(self, *tensors: tuple[int, int]) -> int:
        return sum(bit for bit, tensor in tensors if tensor in self._manifest.train)

    def _take(self, kind: str, count: int) -> int:
        at = self._own[kind]
        self._own[kind] += count
        return at

    def _placed(self, kind: str, tables: list[Ints], values: Ints) -> int:
        at = self._sized[kind]
        tables.append(values.reshape(-1))
        self._sized[kind] += values.size
        return at

    def _part(self, tensor: int, rows: int, pitch: int, columns: Ints) -> int:
        """Room for a tensor's rows among the weights, whole fours of them."""
        at = self._sized["weights"]
        self._parts.append(Part(tensor, at, rows, pitch, columns))
        self._sized["weights"] += -(-rows // 4) * 4 * pitch
        return at

    def _starts(self, bias: int, rows: int) -> int:
        at = self._sized["starts"]
        self._biases.append((bias, at))
        self._sized["starts"] += -(-rows // 4) * 4
        return at


def _low(activation: str) -> int:
    return {NONE: f.LOGITS, CLIP: -127}.get(activation, 0)


def _joined(tables: list[Ints]) -> npt.NDArray[np.int32]:
    return np.concatenate([np.zeros(0, np.int64), *tables]).astype(np.int32)


def _tile_time(ops: npt.NDArray[np.int64], parameters: npt.NDArray[np.int64]) -> float:
    """Nanoseconds that a candidate takes on a tile, roughly: whether to share work goes by it."""
    places, groups = ops[:, f.PLACES], np.maximum(1, ops[:, f.GROUPS])
    rows = np.where(ops[:, f.CODE] <= f.DEPTHWISE, 16 * ops[:, f.QUADS] + 4, 4 * ops[:, f.QUADS])
    dots = places * groups * rows
    if parameters[f.SHARED]:
        dots[0] = 4 * groups[0] + 16 * ops[0, f.QUADS]
    return float(parameters[f.WINDOW] * (DOT_TIME * dots.sum() + _OPERATION_TIME * len(ops)))
