"""Waiting between attempts: exponential, capped, jittered."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds: wait `n` (from 0) is half to all of `first` * 2^n, or of `cap` if that is less.

    draw: gives 0..1. Half is certain so that a refusing bitcoind is never asked in a tight loop;
    the rest is drawn so that several nodes of one operator do not come back in step.
    """

    first: float = 0.5
    cap: float = 15.0
    draw: Callable[[], float] = random.random

    def wait(self, attempt: int) -> float:
        """How long to wait after failed attempt `attempt`, counted from 0."""
        # The exponent is bounded so that a node that is away for days does not overflow a float.
        ceiling = min(self.cap, self.first * 2.0 ** min(attempt, 32))
        return ceiling * (0.5 + 0.5 * self.draw())
