"""Waiting between attempts: capped exponential backoff with full jitter.

Full jitter (a uniform share of the current ceiling) keeps many clients of one restarted node from
coming back in step.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds: wait `n` (from 0) is at most `first` * 2^n and `cap`. `draw` gives 0..1."""

    first: float = 0.25
    cap: float = 15.0
    draw: Callable[[], float] = random.random

    def wait(self, attempt: int) -> float:
        """How long to wait after failed attempt `attempt`, counted from 0."""
        # The exponent is bounded so that a node that is away for days does not overflow a float.
        return min(self.cap, self.first * 2.0 ** min(attempt, 32)) * self.draw()
