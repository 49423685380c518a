"""Losses of many candidates on the CPU, by the kernels of `potnode.engine.kernels`.

Responsible for their arguments and for bounding memory by tiles. The first layer, usually the
widest, costs one product for the whole step, shared by all candidates, and one row b.x for each:
(W + a bT) x = W x + a (b.x).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from potnode.engine import kernels
from potnode.engine.draw import DrawLayout, Signs
from potnode.engine.loss import LOGARITHMS, POWERS
from potnode.engine.workers import Workers
from potnode.spec.manifest import LIMIT_FLOAT32, Manifest, accumulator_bound
from potnode.spec.network import BIAS_SHIFT

Sums = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]

_SAMPLES = 8192  # of one tile; a multiple of kernels.BLOCK
_CANDIDATES = 256  # of one tile
_LOWEST = {"relu": 0, "clip": -127, "none": 0}  # "none": the output layer, never clipped


class Network(Protocol):
    """The exact forward pass and loss of a manifest's model, on some device."""

    def evaluate(
        self,
        weights: Sequence[npt.NDArray[np.int8]],
        signs: Signs,
        inputs: npt.NDArray[np.int8],
        targets: npt.NDArray[np.int32],
    ) -> Sums:
        """Loss sums and hits, int64 [P] each, of P candidates over n samples.

        Args:
            weights: forward weights by tensor, flat. signs: [P, width] as `DrawLayout.expand` gives
                them. inputs: [n, input_size]. targets: [n].
        """
        ...


def carrier(manifest: Manifest) -> type[np.float32] | type[np.float64]:
    """The float that holds every partial sum of the model exactly: float32 up to the bound 2^24.

    Beyond it float64: `check_manifest` keeps every sum below 2^31, far under its 2^53.
    """
    e = manifest.perturbation_shift
    longest = max(accumulator_bound(layer.inputs, e) for layer in manifest.layers)
    return np.float32 if longest < LIMIT_FLOAT32 else np.float64


class FusedNetwork:
    """`Network` on the CPU. Safe to call from several threads at once."""

    def __init__(self, manifest: Manifest, layout: DrawLayout, workers: Workers) -> None:
        self._carrier = carrier(manifest)
        self._first = manifest.layers[0]
        self._columns = layout.places[0].columns
        self._scale = self._carrier(1 << manifest.perturbation_shift)
        table = []
        at = 0
        for i, layer in enumerate(manifest.layers):
            matrix, bias = layout.places[2 * i], layout.places[2 * i + 1]
            after = at + layer.inputs * layer.out
            table.append(
                (
                    layer.inputs,
                    layer.out,
                    layer.shift,
                    _LOWEST[layer.activation],
                    at,
                    after,
                    matrix.rows.start,
                    matrix.columns.start,
                    bias.rows.start,
                )
            )
            at = after + layer.out
        self._table = np.array(table, np.int64)
        self._workers = workers

    def evaluate(
        self,
        weights: Sequence[npt.NDArray[np.int8]],
        signs: Signs,
        inputs: npt.NDArray[np.int8],
        targets: npt.NDArray[np.int32],
    ) -> Sums:
        """See `Network.evaluate`."""
        losses = np.zeros(len(signs), np.int64)
        hits = np.zeros(len(signs), np.int64)
        flat = np.concatenate(weights).astype(self._carrier)
        first, table = self._first, self._table[0]
        matrix = flat[: first.out * first.inputs].reshape(first.out, first.inputs)
        bias = flat[table[kernels.BIAS] :][: first.out, None] * (1 << BIAS_SHIFT)
        for start in range(0, len(targets), _SAMPLES):
            sample_targets = np.ascontiguousarray(targets[start : start + _SAMPLES])
            x = kernels.blocked(inputs[start : start + _SAMPLES].T, self._carrier)
            base = self._workers.product(matrix, x)
            base += bias
            for low in range(0, len(signs), _CANDIDATES):
                tile = slice(low, low + _CANDIDATES)
                columns = signs[tile, self._columns].astype(self._carrier)
                self._run(
                    flat,
                    np.ascontiguousarray(signs[tile]),
                    base,
                    self._workers.product(columns, x),
                    sample_targets,
                    (losses[tile], hits[tile]),
                )
        return losses, hits

    def _run(
        self,
        flat: npt.NDArray[Any],
        signs: Signs,
        base: npt.NDArray[Any],
        projection: npt.NDArray[Any],
        targets: npt.NDArray[np.int32],
        sums: Sums,
    ) -> None:
        def part(first: int, last: int) -> None:
            kernels.evaluate(
                self._table,
                self._scale,
                flat,
                signs,
                base,
                projection,
                targets,
                POWERS,
                LOGARITHMS,
                first,
                last,
                *sums,
            )

        self._workers.share(part, len(signs))
