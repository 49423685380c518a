"""Selection and mutation over a small population of parents: an experiment of the benchmark alone.

The evolutionary algorithm of textbooks on a job's own candidates: each child is a parent moved by
one draw, and the best children on a fresh batch are the next parents. No job can use it: see
docs/benchmarks.md for how it did.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from hashlib import sha256

from potnode.bench.train_curves import Curve, Point, Report, checkpoints, told
from potnode.data.dataset import Dataset
from potnode.engine import update
from potnode.engine.draw import DrawLayout
from potnode.engine.engine import Engine
from potnode.spec.hashing import be32
from potnode.spec.manifest import Manifest
from potnode.spec.schedule import StepTerms


@dataclass(frozen=True, slots=True)
class Parents:
    """parents: kept from a generation to the next. children: of a generation, over all parents.

    shift_first, shift_last: e of a mutation, from the first generation to the last.
    """

    parents: int = 2
    children: int = 16
    batch: int = 512
    shift_first: int = 3
    shift_last: int = 0

    def __str__(self) -> str:
        """The numbers in words."""
        return (
            f"{self.parents} parents, {self.children} children, batch {self.batch}, "
            f"e {self.shift_first} to {self.shift_last}"
        )


def parents_curve(
    manifest: Manifest,
    dataset: Dataset,
    how: Parents,
    evaluations: int,
    *,
    seed: int,
    report: Report,
) -> Curve:
    """Train by selection and mutation; measured is the parent that was best on the last batch."""
    engine, layout = Engine(manifest, dataset), DrawLayout(manifest)
    parents = [engine.initial()]
    generations = max(1, evaluations // how.children)
    ahead = checkpoints(evaluations)
    points: list[Point] = []
    seconds, done = 0.0, 0
    for generation in range(generations):
        started = time.perf_counter()
        falls = (how.shift_first - how.shift_last) * generation // generations
        terms = StepTerms(generation, how.children, how.batch, how.shift_first - falls, 0)
        work = sha256(b"parents" + be32(seed) + be32(generation)).digest()
        batch = engine.batch(work, how.batch)
        scored: list[tuple[int, int, bytes]] = []  # loss, parent, key
        for p, parent in enumerate(parents):
            count = how.children // len(parents)
            keys = [sha256(work + be32(p) + be32(i)).digest() for i in range(count)]
            losses = engine.losses(parent, keys, batch, terms)
            scored += [(loss, p, key) for loss, key in zip(losses, keys, strict=True)]
        done += len(scored)
        parents = [
            update.moved_by(manifest, layout, parents[p], layout.expand([key])[0], terms.shift)
            for _, p, key in sorted(scored)[: how.parents]
        ]
        seconds += time.perf_counter() - started
        if generation == generations - 1 or (ahead and done >= ahead[0]):
            ahead = [at for at in ahead if at > done]
            held = dataset.header.held_out_count
            result = engine.validate(parents[0])
            points.append(Point(done, seconds, result.loss / 256 / held, result.hits / held))
            report(told("selection and mutation", points[-1]))
    return Curve("selection and mutation", seed, str(how), tuple(points))
