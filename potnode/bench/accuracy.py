"""How well the digits job learns, over many seeds: its steps without the mining.

A candidate's direction follows from its share's hash alone, and hashes are uniform whether mined or
not, so random 32-byte strings stand for shares here: the same engine, rules and settings.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from potnode.data import digits
from potnode.engine.engine import Engine
from potnode.spec.hashing import sha256


@dataclass(frozen=True, slots=True)
class Run:
    """One run: held-out hits over samples after the last step, and the worst validation of the last
    quarter of the steps."""

    accuracy: float
    worst_late: float


def accuracy_runs(
    runs: int, *, steps: int = digits.STEP_LIMIT, on_run: Callable[[int, Run], None]
) -> list[Run]:
    """Train the digits job `runs` times from fresh seeds; on_run(number, run) after each."""
    dataset = digits.digits()
    results = []
    for number in range(runs):
        engine = Engine(digits.digits_manifest(secrets.token_bytes(32)), dataset)
        state, seen = engine.initial(), []
        for step in range(steps):
            work = secrets.token_bytes(32)
            hashes = sorted(sha256(work + i.to_bytes(2, "big")) for i in range(digits.POPULATION))
            losses = engine.losses(state, hashes, engine.batch(work, digits.BATCH_SIZE))
            state, _ = engine.advance(state, hashes, losses, step, steps)
            if step == steps - 1 or (step >= steps * 3 // 4 and step % digits.VALIDATE_EVERY == 0):
                seen.append(engine.validate(state).hits / dataset.header.held_out_count)
        results.append(Run(seen[-1], min(seen)))
        on_run(number, results[-1])
    return results
