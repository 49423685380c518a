"""How well the digits job learns, over many seeds: its steps without the mining.

A candidate's direction follows from its key alone, and keys are uniform whether their shares were
mined or not, so random 32-byte strings stand for them here: the same engine, rules and settings.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from potnode.data import digits
from potnode.engine.engine import Engine
from potnode.jobs import digits_draft
from potnode.spec.hashing import sha256
from potnode.spec.manifest_json import decode_manifest
from potnode.spec.schedule import step_terms


@dataclass(frozen=True, slots=True)
class Run:
    """One run: held-out hits over samples after the last step, and the worst validation of the last
    quarter of the steps."""

    accuracy: float
    worst_late: float


def accuracy_runs(
    runs: int, *, steps: int | None = None, on_run: Callable[[int, Run], None]
) -> list[Run]:
    """Train the digits job `runs` times from fresh seeds; on_run(number, run) after each.

    Args:
        steps: of the job; its own number of them by default.
    """
    dataset = digits.digits()
    results = []
    for number in range(runs):
        draft = digits_draft(bytes(20), steps=steps)
        engine = Engine(decode_manifest(draft.manifest), dataset)
        state, seen = engine.initial(), []
        limit, every = draft.params.step_limit, draft.params.validate_every
        for step in range(limit):
            work = secrets.token_bytes(32)
            keys = [sha256(work + i.to_bytes(2, "big")) for i in range(draft.params.population)]
            terms = step_terms(engine.manifest, draft.params, step)
            losses = engine.losses(state, keys, engine.batch(work, terms.batch_size), terms)
            state, _ = engine.advance(state, keys, losses, work, terms)
            if step == limit - 1 or (step >= limit * 3 // 4 and step % every == 0):
                seen.append(engine.validate(state).hits / dataset.header.held_out_count)
        results.append(Run(seen[-1], min(seen)))
        on_run(number, results[-1])
    return results
