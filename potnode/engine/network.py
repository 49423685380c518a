"""Losses of many candidates on the CPU, by the kernels of `potnode.engine.kernels`.

Responsible for their arguments and for bounding memory by tiles. Where the first layer is linear,
it costs one product for the whole step, shared by all candidates, and one row b.x for each:
(W + a bT) x = W x + a (b.x).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Protocol

import numpy as np
import numpy.typing as npt

from potnode.engine.arena import order
from potnode.engine.draw import DrawLayout, Signs
from potnode.engine.kernels import fields as f
from potnode.engine.kernels.evaluate import evaluate, scratch_sizes
from potnode.engine.kernels.inputs import tiled
from potnode.engine.kernels.products import shared_sums
from potnode.engine.kernels.vectors import LANES
from potnode.engine.loss import LOGARITHMS, POWERS
from potnode.engine.memory import aligned
from potnode.engine.plan import DOT_TIME, Plan
from potnode.engine.workers import Workers
from potnode.spec.layers import Add
from potnode.spec.manifest import Manifest, NextByte, Pairs

Sums = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
Weights = Sequence[npt.NDArray[np.int8]]

_BYTES = 1 << 26  # of the inputs and shared sums of one tile of samples
_CANDIDATES = 64  # of one call, at most: their signs stay in the cache
_LOAD_TIME = 0.3  # nanoseconds that a byte of a tile's input takes, roughly
_FEW = 4  # fewer candidates than this for each thread: samples are shared out instead


class Network(Protocol):
    """The exact forward pass and loss of a manifest's model, on some device."""

    def evaluate(
        self,
        weights: Weights,
        signs: Signs,
        inputs: npt.NDArray[np.int8],
        targets: npt.NDArray[np.int32],
        shift: int,
    ) -> Sums:
        """Loss sums and hits, int64 [P] each, of P candidates over n samples.

        Args:
            weights: forward weights by tensor, flat. signs: [P, width] as `DrawLayout.expand` gives
                them. inputs: [n, bytes of a sample's inputs]. targets: [n], [n, outputs] or [n, 0].
            shift: e.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Model:
    """A plan with weights: `Plan.pack`, and its operations for them."""

    ops: npt.NDArray[np.int64]
    weights: npt.NDArray[np.int8]
    starts: npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class _Tile:
    """Some samples: quads of their inputs, targets as the kernel reads them, sums all share."""

    samples: int
    x: npt.NDArray[np.uint8]
    targets: npt.NDArray[np.int32]
    base: npt.NDArray[np.int32]


@dataclass(slots=True)
class _Prepared:
    """What a call made of its arguments: other candidates of the step come with the same ones.

    tile: the samples, if they are one tile and were needed.
    """

    weights: Weights
    features: npt.NDArray[np.int8]
    targets: npt.NDArray[np.int32]
    shift: int
    model: _Model
    tile: _Tile | None = None

    def fits(
        self,
        weights: Weights,
        features: npt.NDArray[np.int8],
        targets: npt.NDArray[np.int32],
        shift: int,
    ) -> bool:
        """Whether these are the very same arguments."""
        same = self.weights is weights and self.features is features and self.targets is targets
        return same and self.shift == shift


class FusedNetwork:
    """`Network` on the CPU. Safe to call from several threads at once.

    Arrays that it was given must not change afterwards: it knows them again by identity.
    """

    def __init__(
        self, manifest: Manifest, layout: DrawLayout, workers: Workers, *, portable: bool = False
    ) -> None:
        """portable: by code for any processor instead of that for this one."""
        self._manifest = manifest
        self._workers = workers
        self._portable = portable
        cut = _cut(manifest)
        count = len(manifest.layers)
        self._below = Plan(manifest, layout, 0, cut, features=True) if cut else None
        self._plan = Plan(manifest, layout, cut, count, features=False)
        self._prepared: _Prepared | None = None
        self._no_signs = np.zeros((1, layout.width), np.int8)

    def evaluate(
        self,
        weights: Weights,
        signs: Signs,
        inputs: npt.NDArray[np.int8],
        targets: npt.NDArray[np.int32],
        shift: int,
    ) -> Sums:
        """See `Network.evaluate`."""
        return self.evaluate_above(weights, signs, self.below(weights, inputs), targets, shift)

    @property
    def has_below(self) -> bool:
        """Whether there are layers below the first trained one, which candidates share."""
        return self._below is not None

    def below(self, weights: Weights, inputs: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
        """What the layers below the first trained one give; the inputs if there are none.

        Args:
            inputs: as for `evaluate`.

        Returns:
            [n, as many as those layers give], of pairs [n, twice as many].
        """
        plan = self._below
        if plan is None:
            return inputs
        model = self._model(plan, weights, 0)
        halves = self._halves
        size = prod(plan.output)
        flat = np.empty((len(inputs), halves, size), np.int8)
        features = order(plan.output)
        kept = features >= 0

        def part(first: int, last: int) -> None:
            nobody = np.zeros(0, np.int32)
            tile = self._tile(plan, model, inputs[first:last], nobody, alone=True)
            out = np.empty(
                tile.x.size // plan.parameters[f.INPUT] * features.size * LANES, np.uint8
            )
            nothing = np.zeros(1, np.int64)
            self._run(plan, model, 0, tile, self._no_signs, (0, 1), (nothing, nothing), out)
            # [halves, blocks, quads, LANES, 4] to samples of features.
            values = out.reshape(halves, -1, features.size // 4, LANES, 4).transpose(1, 3, 0, 2, 4)
            values = values.reshape(-1, halves, features.size)[: last - first, :, kept]
            flat[first:last, :, features[kept]] = (values ^ 128).view(np.int8)

        self._workers.share(
            part, len(inputs), LANES, most=16 * LANES, each=plan.tile_time * halves / LANES
        )
        return flat.reshape(len(inputs), -1)

    def evaluate_above(
        self,
        weights: Weights,
        signs: Signs,
        features: npt.NDArray[np.int8],
        targets: npt.NDArray[np.int32],
        shift: int,
    ) -> Sums:
        """`evaluate` for features that `below` gave."""
        prepared = self._prepared
        if prepared is None or not prepared.fits(weights, features, targets, shift):
            model = self._model(self._plan, weights, shift)
            prepared = _Prepared(weights, features, targets, shift, model)
            self._prepared = prepared
        model = prepared.model
        if len(signs) < _FEW * self._workers.threads:
            return self._by_samples(model, shift, signs, features, targets)
        losses = np.zeros(len(signs), np.int64)
        hits = np.zeros(len(signs), np.int64)
        ranges = self._ranges(len(features))
        for first, last in ranges:
            tile = prepared.tile
            if tile is None:
                tile = self._tile(self._plan, model, features[first:last], targets[first:last])
                if len(ranges) == 1:
                    prepared.tile = tile
            self._by_candidates(model, shift, signs, tile, (losses, hits))
        return losses, hits

    @property
    def _halves(self) -> int:
        return 2 if isinstance(self._manifest.task, Pairs) else 1

    def _ranges(self, count: int) -> list[tuple[int, int]]:
        """Ranges of samples whose inputs and shared sums take a bounded part of memory."""
        parameters = self._plan.parameters
        each = self._halves * int(parameters[f.INPUT])
        if isinstance(self._manifest.task, NextByte):
            each = 8 * (int(parameters[f.WINDOW]) + 1) * LANES  # tokens, and once more in order
        if parameters[f.SHARED]:
            each += self._halves * 16 * int(self._plan.ops[0, f.QUADS]) * LANES
        size = max(1, _BYTES // max(1, each)) * LANES
        return [(first, min(first + size, count)) for first in range(0, count, size)]

    def _by_candidates(
        self, model: _Model, shift: int, signs: Signs, tile: _Tile, sums: Sums
    ) -> None:
        """Every thread takes some of the candidates, on all samples of the tile."""

        def part(first: int, last: int) -> None:
            self._run(self._plan, model, shift, tile, signs, (first, last), sums)

        blocks = -(-tile.samples // LANES)
        each = self._plan.tile_time * blocks * self._halves
        self._workers.share(part, len(signs), 8, most=_CANDIDATES, each=each)

    def _by_samples(
        self,
        model: _Model,
        shift: int,
        signs: Signs,
        features: npt.NDArray[np.int8],
        targets: npt.NDArray[np.int32],
    ) -> Sums:
        """For few candidates: every thread takes all of them on some of the samples."""
        results = [(np.zeros(len(signs), np.int64), np.zeros(len(signs), np.int64))]

        def part(first: int, last: int) -> None:
            tile = self._tile(
                self._plan, model, features[first:last], targets[first:last], alone=True
            )
            sums = np.zeros(len(signs), np.int64), np.zeros(len(signs), np.int64)
            self._run(self._plan, model, shift, tile, signs, (0, len(signs)), sums)
            results.append(sums)

        each = self._plan.tile_time * len(signs) * self._halves / LANES
        self._workers.share(part, len(features), LANES, most=16 * LANES, each=each)
        losses, hits = (np.sum(values, axis=0) for values in zip(*results, strict=True))
        return losses, hits

    def _model(self, plan: Plan, weights: Weights, shift: int) -> _Model:
        packed, starts = plan.pack(weights)
        return _Model(plan.widened(weights, shift), packed, starts)

    def _tile(
        self,
        plan: Plan,
        model: _Model,
        features: npt.NDArray[np.int8],
        targets: npt.NDArray[np.int32],
        *,
        alone: bool = False,
    ) -> _Tile:
        """Some samples as the kernel reads them. alone: in a thread of the workers already."""
        samples = len(features)
        blocks = -(-samples // LANES)
        if isinstance(self._manifest.task, NextByte):
            tokens = np.zeros((blocks * LANES, features.shape[1]), np.int32)
            tokens[:samples] = features.view(np.uint8)
            by_position = tokens.reshape(blocks, LANES, -1).transpose(0, 2, 1)
            return _Tile(
                samples,
                np.zeros(0, np.uint8),
                np.ascontiguousarray(by_position).reshape(-1),
                np.zeros(0, np.int32),
            )
        width = features.shape[1] // self._halves
        rows = np.ascontiguousarray(features).reshape(samples, self._halves, width)
        x = aligned(self._halves * blocks * int(plan.parameters[f.INPUT]), np.uint8)
        size = x.size // self._halves
        flat = np.ascontiguousarray(rows.transpose(1, 0, 2)).reshape(self._halves, -1)

        def load(first: int, last: int) -> None:
            planes = np.empty(0 if plan.straight else (width + 1) * LANES, np.uint8)
            for half in range(self._halves):
                part = x[half * size : (half + 1) * size]
                tiled(flat[half], width, plan.table, plan.straight, part, planes, first, last)

        base = np.zeros(0, np.int32)
        if plan.parameters[f.SHARED]:
            quads = int(plan.ops[0, f.QUADS])
            base = aligned(self._halves * blocks * 4 * quads * LANES, np.int32)

        def share(first: int, last: int) -> None:
            shared_sums(
                model.ops,
                self._parameters(plan, samples, 0),
                plan.offsets,
                model.weights,
                model.starts,
                x,
                base,
                first,
                last,
            )

        if alone:
            load(0, blocks)
        else:
            each = _LOAD_TIME * self._halves * int(plan.parameters[f.INPUT])
            self._workers.share(load, blocks, 1, each=each)
        if base.size:
            if alone:
                share(0, int(plan.ops[0, f.QUADS]))
            else:
                each = DOT_TIME * 16 * blocks * self._halves * int(plan.ops[0, f.GROUPS])
                self._workers.share(share, int(plan.ops[0, f.QUADS]), 1, each=each)
        return _Tile(samples, x, np.ascontiguousarray(targets, np.int32).reshape(-1), base)

    def _parameters(self, plan: Plan, samples: int, shift: int) -> npt.NDArray[np.int64]:
        parameters = plan.parameters.copy()
        parameters[f.SAMPLES] = samples
        parameters[f.E] = shift
        parameters[f.PORTABLE] = self._portable
        return parameters

    def _run(
        self,
        plan: Plan,
        model: _Model,
        shift: int,
        tile: _Tile,
        signs: Signs,
        candidates: tuple[int, int],
        sums: Sums,
        features: npt.NDArray[np.uint8] | None = None,
    ) -> None:
        own, terms, row_sums, arena, numbers, table, preferred = scratch_sizes(
            plan.parameters, candidates[1] - candidates[0]
        )
        evaluate(
            model.ops,
            self._parameters(plan, tile.samples, shift),
            plan.offsets,
            plan.sources,
            model.weights,
            model.starts,
            tile.base,
            tile.x,
            signs.reshape(-1),
            tile.targets,
            POWERS,
            LOGARITHMS,
            *candidates,
            np.empty(own, np.int8),
            np.empty(terms, np.int32),
            np.empty(row_sums, np.int32),
            aligned(arena, np.uint8),
            aligned(numbers, np.int32),
            np.empty(table, np.uint8),
            np.empty(preferred, np.int32),
            *sums,
            np.zeros(0, np.uint8) if features is None else features,
        )


def _cut(manifest: Manifest) -> int:
    """Layers below the first trained one, as many as hand on nothing but their last output."""
    if isinstance(manifest.task, NextByte):
        return 0
    trained = manifest.train[0]
    cut = 0
    for i in range(1, len(manifest.layers)):
        if manifest.first_tensor(i) > trained:
            break
        later = manifest.layers[i:]
        if all(not isinstance(layer, Add) or layer.source >= i for layer in later):
            cut = i
    return cut
