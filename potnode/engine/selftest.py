"""Whether a machine computes what the specification says, at the edge of what it must hold.

Losses of the job's own model on its device, draws of its own tensors, and a step of a small model,
which goes through the same code as one of any size.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from math import prod

import numpy as np
import numpy.typing as npt

from potnode.engine import state as states
from potnode.engine import update
from potnode.engine.draw import DrawLayout, Signs
from potnode.engine.errors import InexactDevice
from potnode.engine.kernels.vectors import LANES
from potnode.engine.network import Network
from potnode.engine.workers import Workers
from potnode.spec.dataset import Sample
from potnode.spec.draw import TensorDraw, draw
from potnode.spec.evaluate import sample_loss
from potnode.spec.layers import NONE, Linear
from potnode.spec.manifest import (
    MASTER_LIMIT,
    MAX_ETA,
    RULES,
    Classes,
    Evolution,
    Manifest,
    NextByte,
    Pairs,
    Seeded,
    Values,
    Weights,
)
from potnode.spec.network import forward_weight
from potnode.spec.schedule import StepTerms
from potnode.spec.search import coefficients
from potnode.spec.step import advance

_POSITIONS = 3  # of a byte model: state from zero, from what one position left, and from two
_COPIES = LANES + 1  # of a sample: one in every lane of a tile, and a tile that is not full
_KEYS = [sha256(b"self-test" + bytes([i])).digest() for i in range(6)]  # of candidates


def test_manifest(manifest: Manifest) -> Manifest:
    """The same model on samples short enough for the specification."""
    task = manifest.task
    if not isinstance(task, NextByte) or task.window <= _POSITIONS:
        return manifest
    return replace(manifest, task=NextByte(_POSITIONS, min(task.warmup, _POSITIONS - 1)))


def self_test(manifest: Manifest, layout: DrawLayout, network: Network) -> None:
    """Compare the largest values, and mixed ones, each under a candidate, with the specification.

    A sample stands in every lane of vector code, so that each has to give the same.

    Raises:
        InexactDevice: a loss or a hit differs.
    """
    rng = np.random.default_rng(0)  # any values would do; these are the same every time
    sizes = [prod(shape) for shape in manifest.tensors]
    mixed = [rng.integers(-127, 128, size).astype(np.int8) for size in sizes]
    largest = [np.full(size, 127, np.int8) for size in sizes]
    inputs, targets = _samples(manifest, rng)
    signs = np.zeros((2, layout.width), np.int8)
    for t in manifest.train:
        for place in (layout.places[t].rows, layout.places[t].columns):
            signs[0, place] = 1
            signs[1, place] = rng.choice([-1, 1], place.stop - (place.start or 0))
    shift = manifest.perturbation[0]
    for case, weights in enumerate((largest, mixed)):
        copies = [case] * _COPIES
        losses, hits = network.evaluate(weights, signs, inputs[copies], targets[copies], shift)
        plain = [w.tolist() for w in weights]
        values = (
            inputs[case].view(np.uint8) if isinstance(manifest.task, NextByte) else inputs[case]
        )
        sample = Sample(tuple(values.tolist()), tuple(np.atleast_1d(targets[case]).tolist()))
        drawn = _drawn(manifest, layout, signs[case])
        loss, hit = sample_loss(manifest, plain, sample, drawn, shift)
        expected = _COPIES * loss, _COPIES * hit
        found = int(losses[case]), int(hits[case])
        if found != expected:
            raise InexactDevice(
                f"this device computed (loss, hits) = {found} where the specification says "
                f"{expected}; nothing it computes may be recorded: use device = cpu"
            )


def check_draws(manifest: Manifest, layout: DrawLayout) -> None:
    """Compare the signs of a few candidates with the specification's. InexactDevice."""
    found = layout.expand(_KEYS)
    expected = np.zeros_like(found)
    for row, key in zip(expected, _KEYS, strict=True):
        for t, drawn in draw(manifest, key).items():
            row[layout.places[t].rows] = drawn.rows
            row[layout.places[t].columns] = drawn.columns
    if not np.array_equal(found, expected):
        raise InexactDevice(_wrong("the draws of candidates"))


def check_steps(weights: Weights, workers: Workers) -> None:
    """Compare a step by each rule, and forward weights, with the specification's. InexactDevice."""
    masters = np.arange(-MASTER_LIMIT, MASTER_LIMIT + 1, 127, dtype=np.int32)
    expected_weights = [forward_weight(int(m), weights) for m in masters]
    if states.forward_weights(masters, weights).tolist() != expected_weights:
        raise InexactDevice(_wrong("forward weights"))
    for rule in RULES:
        manifest = _small(rule)
        before = _extremes(manifest)
        losses = [sum(key) << 30 for key in _KEYS]
        terms = StepTerms(0, len(_KEYS), 1, 0, MAX_ETA)
        expected, _ = advance(
            manifest, before.to_spec(), _KEYS, losses, terms, bytes(32),
            train_count=1, sample=lambda _: Sample((), ()),
        )  # fmt: skip
        layout = DrawLayout(manifest)
        found = update.evolved(
            workers, manifest, Evolution(rule, MAX_ETA, 0, 1), layout, before,
            layout.expand(_KEYS, workers), coefficients(losses), terms.eta,
        )  # fmt: skip
        if found != states.from_spec(expected):
            raise InexactDevice(_wrong(f"a step by the rule {rule}"))


def _small(rule: str) -> Manifest:
    """A model whose matrix is wider than a tile, and whose sides fill no register."""
    return Manifest(
        dataset="self-test",
        task=Classes(),
        input=(LANES + 3,),
        layers=(Linear(5, 4, NONE),),
        train=(0, 1),
        initial=Seeded(bytes(32), (0, 0), (0, 0)),
        perturbation=(0, 0),
        strategy=Evolution(rule, MAX_ETA, 0, 1),
    )


def _extremes(manifest: Manifest) -> states.EngineState:
    """Masters and momenta over the whole of their ranges."""
    rng = np.random.default_rng(0)
    sizes = [prod(shape) for shape in manifest.tensors]

    def arrays(limit: int) -> tuple[npt.NDArray[np.int32], ...]:
        return tuple(rng.integers(-limit, limit + 1, size).astype(np.int32) for size in sizes)

    return states.EngineState(arrays(MASTER_LIMIT), arrays((1 << 28) - 1))


def _wrong(what: str) -> str:
    return (
        f"this machine computed {what} otherwise than the specification; nothing it computes may "
        "be recorded: remove compiled code (the folders __pycache__), and if that does not help "
        "use another machine"
    )


def _drawn(manifest: Manifest, layout: DrawLayout, signs: Signs) -> dict[int, TensorDraw]:
    return {
        t: TensorDraw(
            signs[layout.places[t].rows].tolist(), signs[layout.places[t].columns].tolist()
        )
        for t in manifest.train
    }


def _samples(
    manifest: Manifest, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int32]]:
    """Two samples: the largest inputs, and mixed ones."""
    size, outputs = manifest.input_size, manifest.outputs
    if isinstance(manifest.task, Pairs):
        size *= 2
    inputs = rng.integers(-127, 128, (2, size)).astype(np.int8)
    inputs[0] = 127
    match manifest.task:
        case Classes():
            targets = np.array([0, outputs - 1], np.int32)
        case Values():
            targets = rng.integers(-(1 << 15), 1 << 15, (2, outputs)).astype(np.int32)
        case _:
            targets = np.zeros((2, 0), np.int32)
    return inputs, targets
