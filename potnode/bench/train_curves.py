"""Curves of training: how good a model is after so many evaluations and seconds.

An evaluation is a forward pass of one batch: a candidate's loss, or a minibatch of backprop (whose
backward pass, about two forward passes more, is not counted). Seconds are those of training alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from potnode.search import Search

CHECKPOINTS = 24
_FIRST = 128  # of a run's evaluations, the share before the first checkpoint

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Point:
    """bits: held-out loss of a prediction. accuracy: share 0..1 of held-out predictions right."""

    evaluations: int
    seconds: float
    bits: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Curve:
    """One run. method: what was run, such as "candidates". settings: with which numbers."""

    method: str
    seed: int
    settings: str
    points: tuple[Point, ...]

    @property
    def last(self) -> Point:
        """The model the run ends with, which nobody chose by its held-out samples."""
        return self.points[-1]

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def checkpoints(total: int) -> list[int]:
    """Where to measure, evenly spaced on a logarithmic scale; the last is `total`."""
    ratio = _FIRST ** (1 / (CHECKPOINTS - 1))
    return sorted({max(1, round(total / ratio**i)) for i in range(CHECKPOINTS)})


def search_curve(
    method: str, search: Search, budget: int, *, seed: int, settings: str, report: Report
) -> Curve:
    """Run a search to its end.

    Args:
        budget: evaluations it will make, about. report: told of every checkpoint.
    """
    ahead = checkpoints(budget)
    points: list[Point] = []
    seconds = 0.0
    while search.steps_left:
        started = time.perf_counter()
        search.step()
        seconds += time.perf_counter() - started
        if search.steps_left == 0 or (ahead and search.evaluations >= ahead[0]):
            ahead = [at for at in ahead if at > search.evaluations]
            score = search.validate()
            points.append(Point(search.evaluations, seconds, score.bits, score.accuracy))
            report(told(method, points[-1]))
    return Curve(method, seed, settings, tuple(points))


def told(method: str, point: Point) -> str:
    """A point on one line."""
    return (
        f"{method}: {point.evaluations} evaluations, {point.seconds:.1f} s, "
        f"{point.bits:.3f} bits, {point.accuracy:.4f} right"
    )
