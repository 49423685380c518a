"""The trainer's promise under any traffic: what it admits is counted, once, inside its window.

Populations rise, shares stand for several candidates, the disk refuses some, the node restarts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from potnode.spec.params import check_params
from potnode.spec.record import Validation, decode_record
from potnode.spec.schedule import StepTerms, population_at, shares_at, shares_before
from potnode.trainer import Admission, Trainer, TrainingShare
from tests.test_trainer import JOB, MANIFEST, make_params, make_share


class Counter:
    """An evaluator whose state is the number of steps: what is counted matters here, not losses."""

    def initial(self) -> int:
        return 0

    def batch(self, work: bytes, batch_size: int, feedback: int = 0) -> npt.NDArray[np.int64]:
        return np.zeros(batch_size, np.int64)

    def losses(
        self, state: int, keys: Sequence[bytes], batch: npt.NDArray[np.int64], terms: StepTerms
    ) -> list[int]:
        assert (state, len(keys)) == (terms.step, terms.population)
        return [int.from_bytes(key[:5], "big") for key in keys]

    def advance(
        self,
        state: int,
        keys: Sequence[bytes],
        losses: Sequence[int],
        work: bytes,
        terms: StepTerms,
        feedback: int = 0,
    ) -> tuple[int, list[int]]:
        return state + 1, [0] * len(keys)

    def validate(self, state: int) -> Validation:
        return Validation(0, 0)

    def root(self, state: int) -> bytes:
        return state.to_bytes(32, "big")


class Promise(RuleBasedStateMachine):
    """Shares come, are stored or not, and are counted; now and then all begins again from disk."""

    pending = Bundle("pending")

    @initialize(
        each=st.sampled_from([1, 3, 64]),
        first=st.integers(1, 3),
        rise=st.integers(0, 9),
        limit=st.integers(1, 12),
        window=st.integers(0, 3),
    )
    def start(self, each: int, first: int, rise: int, limit: int, window: int) -> None:
        params = make_params(
            candidates_per_share=each,
            population_start=first * each,
            population=(first + rise) * each,
            step_limit=limit,
            window=window,
        )
        self.params = replace(params, initial_root=bytes(32))
        check_params(self.params)
        self.trainer: Trainer[int] = Trainer(JOB, self.params, MANIFEST, Counter())
        self.number = 0
        self.acknowledged: list[TrainingShare] = []
        self.unsettled: set[bytes] = set()  # a restart loses them: they were never acknowledged
        self.counted: dict[bytes, int] = {}
        self.heads = {0: self.trainer.head}

    def _admit(self, back: int, durable: bool) -> TrainingShare | None:
        self.number += 1
        share = make_share(self.number, max(0, self.trainer.step - back))
        place = shares_before(self.params, self.trainer.step) + self.trainer.waiting
        answer = self.trainer.admit(share, durable=durable)
        if answer is Admission.FINISHED:
            assert place >= shares_before(self.params, self.params.step_limit)
        elif answer is Admission.STALE:
            in_time = min(share.work_step + self.params.window + 1, self.params.step_limit)
            assert place >= shares_before(self.params, in_time)
        else:
            return share
        return None

    @rule(back=st.integers(0, 4), count=st.integers(1, 12))
    def admit_stored(self, back: int, count: int) -> None:
        for _ in range(count):
            share = self._admit(back, durable=True)
            if share is not None:
                self.acknowledged.append(share)

    @rule(target=pending, back=st.integers(0, 4))
    def admit(self, back: int):  # type: ignore[no-untyped-def]
        share = self._admit(back, durable=False)
        if share is None:
            return multiple()
        self.unsettled.add(share.hash)
        return share

    @rule(share=consumes(pending))
    def settle(self, share: TrainingShare) -> None:
        if share.hash in self.unsettled:
            self.unsettled.remove(share.hash)
            self.trainer.settle(share.hash)
            self.acknowledged.append(share)

    @rule(share=consumes(pending))
    def forget(self, share: TrainingShare) -> None:
        if share.hash in self.unsettled:
            self.unsettled.remove(share.hash)
            self.trainer.forget(share.hash)

    @precondition(lambda self: self.trainer.plan() is not None)
    @rule()
    def close_a_step(self) -> None:
        plan = self.trainer.plan()
        assert plan is not None
        step = plan.step
        assert len(plan.shares) == shares_at(self.params, step)
        closed = self.trainer.compute(plan)
        record = decode_record(closed.step_data, self.params)
        assert sum(len(e.losses) for e in record.entries) == population_at(self.params, step)
        self.trainer.commit(closed)
        self.heads[step + 1] = closed.head
        for share in plan.shares:
            assert share.hash not in self.counted
            assert share.work_step <= step <= share.work_step + self.params.window
            self.counted[share.hash] = step

    @rule()
    def restart(self) -> None:
        step, window = self.trainer.step, self.params.window
        waiting = [c for c in self.acknowledged if c.hash not in self.counted]
        waiting.sort(key=lambda c: c.extranonce)  # shares are written in the order of admission
        self.unsettled.clear()
        self.trainer = Trainer(
            JOB,
            self.params,
            MANIFEST,
            Counter(),
            state=step,
            heads={s: h for s, h in self.heads.items() if s >= step - window},
            counted={h: s for h, s in self.counted.items() if s >= step - window - 1},
        )
        assert self.trainer.restore(waiting) == []
        assert self.trainer.waiting == len(waiting)

    @invariant()
    def nothing_admitted_expires(self) -> None:
        assert self.trainer.expire() == []

    @invariant()
    def everything_acknowledged_is_counted_or_waits(self) -> None:
        left = {c.hash for c in self.acknowledged if c.hash not in self.counted}
        assert self.trainer.waiting == len(left) + len(self.unsettled)


Promise.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestPromise = Promise.TestCase
