"""What jobs are said to cost: the presets pass, bombs of some hundred bytes do not."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from potnode.access import job_limits
from potnode.config import Settings
from potnode.data.dataset import Dataset
from potnode.data.freeze import freeze, freeze_bytes
from potnode.engine.cost import TooCostly, cost
from potnode.engine.engine import Engine
from potnode.jobfile import preset_job
from potnode.jobs import draft
from potnode.presets import PRESETS
from potnode.spec.layers import AvgPool, Conv2d, Embedding, Gru, Layer, Linear, MaxPool, Norm
from potnode.spec.manifest import (
    Classes,
    Evolution,
    Manifest,
    NextByte,
    Seeded,
    check_manifest,
)
from potnode.spec.manifest_json import decode_manifest, encode_manifest
from potnode.spec.params import JobParams
from tests.builders import make_job
from tests.engine.cases import keys, samples, terms

LIMITS = job_limits(Settings())
HEAD = Linear(10, 20, "none")
IMAGE = (1, 8, 8)


def params(population: int = 64, batch_size: int = 64) -> JobParams:
    return make_job(bytes(20), population=population, batch_size=batch_size).params


def of(
    layers: Sequence[Layer],
    shape: tuple[int, ...] = IMAGE,
    task: Classes | NextByte | None = None,
) -> Manifest:
    """A seeded manifest of these layers, all of them trained, which the rules allow."""
    made = Manifest(
        dataset="digits",
        task=task or Classes(),
        input=shape,
        layers=tuple(layers),
        train=(),
        initial=Seeded(bytes(32), (), ()),
        perturbation=(0, 0),
        strategy=Evolution("momentum", 10, 1, 1),
    )
    n = len(made.tensors)
    made = replace(made, train=tuple(range(n)), initial=Seeded(bytes(32), (100,) * n, (0,) * n))
    check_manifest(made)
    return made


def grown(kernel: int) -> Conv2d:
    """A convolution whose pad makes a larger image of a small one."""
    pad = kernel - 1
    return Conv2d(1, (kernel, kernel), (1, 1), (pad, pad), 20, "relu")


BOMBS = {
    "64 layers of 2^24 weights": of([Linear(4096, 14, "relu")] * 63 + [HEAD], (64,)),
    "a window for each of 10^5 values over 10^5": of(
[grown(360), AvgPool((255, 255), (1, 1)), HEAD]
    ),
    "pools of pools": of([grown(300), grown(300), MaxPool((300, 300), (1, 1)), HEAD]),
    "wide activations": of(
        [Conv2d(1 << 17, (1, 1), (1, 1), (0, 0), 8, "relu"), MaxPool((8, 8), (8, 8)), HEAD]
    ),
    "norms of norms": of([Linear(1 << 17, 14, "relu"), *[Norm()] * 62, HEAD], (64,)),
    "deep convolutions": of([Conv2d(1024, (3, 3), (1, 1), (1, 1), 14, "relu")] * 20 + [HEAD]),
    "long windows": of(
        [Embedding(512), Gru(2048, 14), Linear(256, 16, "none")], (), NextByte(65_536, 0)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_at_once(name: str) -> None:
    bomb = BOMBS[name]
    encoded = encode_manifest(bomb)
    tracemalloc.start()
    started = time.perf_counter()
    with pytest.raises(TooCostly, match=r"the job takes .* jobs\.\w+ allows"):
        LIMITS.check(cost(decode_manifest(encoded), params(), threads=2))
    assert time.perf_counter() - started < 1
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()


def test_many_candidates_of_wide_vectors_are_refused() -> None:
    wide = of([Linear(1 << 16, 14, "relu"), Linear(10, 20, "none")], (64,))
    LIMITS.check(cost(wide, params(), threads=2))
    with pytest.raises(TooCostly, match="MiB of memory"):
        LIMITS.check(cost(wide, params(population=16_384), threads=2))


def test_a_step_beyond_the_limit_is_refused() -> None:
    net = of([Linear(4096, 14, "relu"), Linear(4096, 14, "relu"), HEAD], (64,))
    with pytest.raises(TooCostly, match=r"a step, jobs\.step_products"):
        LIMITS.check(cost(net, params(population=512, batch_size=65_536), threads=2))


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_passes_by_far(name: str) -> None:
    file = preset_job(name)
    rng = np.random.default_rng(0)
    if name == "char-gru":
        data = freeze_bytes(rng.integers(0, 256, (64, 65)), train_count=32)
    else:
        side = 8 if name == "digits-mlp" else 28
        images = rng.integers(0, 128, (64, side * side))
        data = freeze(images, np.arange(64) % 10, train_count=32, classes=10)
    dataset = Dataset.from_bytes(file.dataset, data)
    job = draft(file, dataset, owner=bytes(20), operator=bytes(20))
    found = cost(decode_manifest(job.manifest), job.params, threads=64)
    LIMITS.check(found)
    assert 8 * found.memory < LIMITS.memory
    assert 8 * found.sample < LIMITS.sample
    assert 8 * found.step < LIMITS.step


@pytest.mark.parametrize(
    "net",
    [
        of([Linear(1 << 13, 14, "relu"), HEAD], (64,)),
        of([grown(16), AvgPool((6, 6), (2, 2)), HEAD]),
        of([Conv2d(256, (3, 3), (1, 1), (1, 1), 14, "relu"), MaxPool((2, 2), (2, 2)), HEAD]),
    ],
    ids=["weights", "tables", "activations"],
)
def test_a_job_takes_no_more_memory_than_is_said(net: Manifest) -> None:
    data = samples(net, 64, 8)
    now = terms(net, population=64, batch=64)
    tracemalloc.start()
    engine = Engine(net, data, threads=2)
    before = engine.initial()
    candidates, batch = keys(64), engine.batch(bytes(32), 64)
    losses = engine.losses(before, candidates, batch, now)
    engine.advance(before, candidates, losses, bytes(32), now)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < cost(net, params(), threads=2).memory + (4 << 20)
