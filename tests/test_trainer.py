"""Trainer: an acknowledged share counts once, inside its window; steps follow from rules alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potnode.spec import state as spec_state
from potnode.spec import work
from potnode.spec.draw import candidate_key, draw
from potnode.spec.errors import SpecError
from potnode.spec.hashing import sha256
from potnode.spec.loss import cross_entropy, is_hit
from potnode.spec.manifest import Linear, Manifest, encode_manifest
from potnode.spec.network import forward_weights, logits
from potnode.spec.params import JobParams
from potnode.spec.record import (
    MAX_TEMPLATES,
    Entry,
    MinerRow,
    TemplateRow,
    Validation,
    canonical_order,
    decode_record,
    encode_record,
)
from potnode.spec.search import batch_indices, coefficients
from potnode.spec.state import State
from potnode.trainer import Admission, Candidate, StepPlan, Trainer, TrainerError
from potnode.work.jobs import template_row
from potnode.work.standalone import Standalone

JOB = sha256(b"a job")
MANIFEST = Manifest(
    dataset="tiny",
    layers=(Linear(3, 2, 4, "relu"), Linear(2, 2, 2, "none")),
    train=(0, 1, 2, 3),
    seed=bytes(32),
    std=(4096, 0, 4096, 0),
    perturbation_shift=0,
    rule="momentum",
    eta0=80,
    eta1=10,
)
SAMPLES = [([i * 20 % 127, -i * 7 % 100, 50 - i * 9], i % 2) for i in range(8)]
TRAIN = 6


class SpecEvaluator:
    """The evaluator's port on the specification itself: slow, and the truth."""

    def initial(self) -> State:
        return spec_state.initial_state(MANIFEST)

    def batch(self, work: bytes, batch_size: int) -> npt.NDArray[np.int64]:
        return np.array(batch_indices(work, TRAIN, batch_size), dtype=np.int64)

    def losses(
        self, state: State, hashes: Sequence[bytes], batch: npt.NDArray[np.int64]
    ) -> list[int]:
        weights = forward_weights(state.masters)
        sums = []
        for hash_ in hashes:
            drawn = draw(MANIFEST, candidate_key(hash_, 0))
            samples = [SAMPLES[i] for i in batch]
            sums.append(
                sum(cross_entropy(logits(MANIFEST, weights, x, drawn), t) for x, t in samples)
            )
        return sums

    def advance(
        self,
        state: State,
        hashes: Sequence[bytes],
        losses: Sequence[int],
        step: int,
        step_limit: int,
    ) -> tuple[State, list[int]]:
        after = spec_state.step(
            MANIFEST, state, list(hashes), list(losses), number=step, step_limit=step_limit
        )
        return after, coefficients(losses)

    def validate(self, state: State) -> Validation:
        weights = forward_weights(state.masters)
        outputs = [(logits(MANIFEST, weights, x), t) for x, t in SAMPLES[TRAIN:]]
        loss = sum(cross_entropy(z, t) for z, t in outputs)
        return Validation(loss, sum(is_hit(z, t) for z, t in outputs))

    def root(self, state: State) -> bytes:
        return spec_state.state_root(state)


def make_params(**changes: int) -> JobParams:
    values = {"population": 4, "batch_size": 3, "window": 2, "step_limit": 6, "validate_every": 3}
    return JobParams(
        owner=bytes(20),
        operator=bytes(20),
        manifest_hash=sha256(encode_manifest(MANIFEST)),
        initial_root=spec_state.state_root(spec_state.initial_state(MANIFEST)),
        data_root=bytes(32),
        train_count=TRAIN,
        held_out_count=2,
        min_bits=0,
        **(values | changes),  # type: ignore[arg-type]
    )


def make_candidate(number: int, work_step: int, miner: int = 1) -> Candidate:
    return Candidate(
        hash=sha256(b"share" + number.to_bytes(4, "big")),
        work_step=work_step,
        template=template_row(Standalone(JOB).current(0)),
        miner=MinerRow(bytes([miner]) * 20, 14),
        extranonce=number.to_bytes(16, "big"),
        version_le=bytes(4),
        ntime_le=bytes(4),
        nonce_le=bytes(4),
    )


def with_parent(candidate: Candidate, parent: int) -> Candidate:
    """The same share on another template."""
    template = replace(candidate.template, prev_hash_le=parent.to_bytes(32, "little"))
    return replace(candidate, template=template)


def make_trainer(**changes: int) -> Trainer[State]:
    return Trainer(JOB, make_params(**changes), SpecEvaluator())


def run_step(trainer: Trainer[State]) -> None:
    plan = trainer.plan()
    assert plan is not None
    trainer.commit(trainer.compute(plan))


def test_a_step_is_what_the_specification_says() -> None:
    trainer = make_trainer()
    for n in range(4):
        assert (
            trainer.admit(make_candidate(n, 0, miner=n % 2 + 1), durable=True) is Admission.ADMITTED
        )
    plan = trainer.plan()
    assert plan is not None
    closed = trainer.compute(plan)
    assert closed.prev_head == work.head_zero(JOB)
    assert closed.head == work.next_head(closed.prev_head, closed.step_data)
    assert list(closed.hashes) == sorted(c.hash for c in plan.candidates)
    decoded = decode_record(closed.step_data, trainer.params)
    assert decoded == closed.record
    assert decoded.validation == SpecEvaluator().validate(closed.state)
    before = SpecEvaluator().initial()
    batch = SpecEvaluator().batch(plan.work, 3)
    assert closed.losses == tuple(SpecEvaluator().losses(before, closed.hashes, batch))
    assert spec_state.state_root(closed.state) == decoded.state_root
    assert trainer.step == 0, "computing changes nothing"
    trainer.commit(closed)
    assert (trainer.step, trainer.head, trainer.waiting) == (1, closed.head, 0)


def test_a_step_waits_for_the_first_population_to_be_durable() -> None:
    trainer = make_trainer()
    for n in range(5):
        trainer.admit(make_candidate(n, 0), durable=n != 2)
    assert trainer.plan() is None
    trainer.settle(make_candidate(2, 0).hash)
    plan = trainer.plan()
    assert plan is not None
    assert {c.extranonce[-1] for c in plan.candidates} == {0, 1, 2, 3}


def test_a_share_that_could_not_be_stored_leaves_its_place() -> None:
    trainer = make_trainer()
    for n in range(5):
        trainer.admit(make_candidate(n, 0), durable=n != 0)
    trainer.forget(make_candidate(0, 0).hash)
    assert trainer.plan() is not None
    assert trainer.admit(make_candidate(0, 0)) is Admission.ADMITTED, "it was never acknowledged"


def test_a_hash_counts_once() -> None:
    trainer = make_trainer()
    for n in range(4):
        trainer.admit(make_candidate(n, 0), durable=True)
    assert trainer.admit(make_candidate(1, 0)) is Admission.DUPLICATE
    run_step(trainer)
    assert trainer.admit(make_candidate(1, 0)) is Admission.DUPLICATE
    assert trainer.admit(make_candidate(1, 0, miner=9)) is Admission.DUPLICATE, "in other clothes"


def test_a_late_share_counts_until_its_window_closes() -> None:
    trainer = make_trainer(window=1)
    for step in range(2):
        for n in range(4):
            trainer.admit(make_candidate(10 * step + n, step), durable=True)
        run_step(trainer)
    assert trainer.step == 2
    assert trainer.admit(make_candidate(100, 0)) is Admission.STALE
    assert trainer.admit(make_candidate(101, 1), durable=True) is Admission.ADMITTED
    assert trainer.admit(make_candidate(102, 3)) is Admission.STALE, "no step has that work yet"
    for n in range(3):
        trainer.admit(make_candidate(200 + n, 2), durable=True)
    plan = trainer.plan()
    assert plan is not None
    closed = trainer.compute(plan)
    assert sorted(t.age for t in closed.record.templates) == [0, 1]


def test_no_more_shares_are_admitted_than_the_steps_left_can_count() -> None:
    trainer = make_trainer(step_limit=2, window=5)
    for n in range(8):
        assert trainer.admit(make_candidate(n, 0), durable=True) is Admission.ADMITTED
    assert trainer.admit(make_candidate(8, 0)) is Admission.FINISHED
    run_step(trainer)
    run_step(trainer)
    assert trainer.finished
    assert trainer.plan() is None
    assert trainer.expire() == []


@settings(max_examples=30)
@given(st.data())
def test_an_admitted_share_never_expires(data: st.DataObject) -> None:
    trainer = make_trainer(step_limit=8, window=data.draw(st.integers(0, 3)))
    admitted: set[bytes] = set()
    counted: set[bytes] = set()
    number = 0
    for _ in range(40):
        for _ in range(data.draw(st.integers(0, 9))):
            number += 1
            candidate = make_candidate(number, data.draw(st.integers(0, trainer.step)))
            if trainer.admit(candidate, durable=True) is Admission.ADMITTED:
                admitted.add(candidate.hash)
        assert trainer.expire() == []
        plan = trainer.plan()
        if plan is not None and data.draw(st.booleans()):
            closed = trainer.compute(plan)
            trainer.commit(closed)
            assert counted.isdisjoint(closed.hashes)
            counted.update(closed.hashes)
    assert len(admitted - counted) == trainer.waiting


def test_going_on_after_a_restart_gives_the_same_steps() -> None:
    straight, first = make_trainer(), make_trainer()
    for trainer in (straight, first):
        for n in range(10):
            trainer.admit(make_candidate(n, 0), durable=True)
        run_step(trainer)
    heads = {0: work.head_zero(JOB), 1: first.head}
    counted = {make_candidate(n, 0).hash: 0 for n in range(4)}
    again = Trainer(
        JOB, first.params, SpecEvaluator(), state=first.state, heads=heads, counted=counted
    )
    assert again.restore(make_candidate(n, 0) for n in range(10)) == []
    run_step(straight)
    run_step(again)
    assert (again.head, again.state, again.waiting) == (straight.head, straight.state, 2)


def test_shares_restored_too_late_are_given_back() -> None:
    trainer = make_trainer(window=0)
    for n in range(4):
        trainer.admit(make_candidate(n, 0), durable=True)
    run_step(trainer)
    late = make_candidate(50, 0)
    assert trainer.restore([late, make_candidate(51, 1)]) == [late]
    assert trainer.waiting == 1


def test_misuse_is_an_error() -> None:
    trainer = make_trainer()
    for n in range(4):
        trainer.admit(make_candidate(n, 0), durable=True)
    plan = trainer.plan()
    assert plan is not None
    closed = trainer.compute(plan)
    trainer.commit(closed)
    with pytest.raises(TrainerError, match="does not follow"):
        trainer.commit(closed)
    with pytest.raises(TrainerError, match="both"):
        Trainer(JOB, trainer.params, SpecEvaluator(), state=closed.state)


def test_a_foreign_initial_root_is_refused() -> None:
    params = make_params()
    changed = JobParams(
        **{f: getattr(params, f) for f in params.__slots__ if f != "initial_root"},
        initial_root=bytes(32),
    )
    with pytest.raises(SpecError, match="initial_root"):
        Trainer(JOB, changed, SpecEvaluator())


def test_template_rows_of_one_template_are_one_row() -> None:
    trainer = make_trainer()
    for n in range(4):
        trainer.admit(make_candidate(n, 0), durable=True)
    plan = trainer.plan()
    assert plan is not None
    closed = trainer.compute(plan)
    assert closed.record.templates == (
        TemplateRow(
            0, *[getattr(plan.candidates[0].template, f) for f in TemplateRow.__slots__[1:]]
        ),
    )


def crowded(trainer: Trainer[State]) -> list[Candidate]:
    """Fill the queue's room for templates, one share each."""
    candidates = [with_parent(make_candidate(n, 0), n) for n in range(MAX_TEMPLATES)]
    for candidate in candidates:
        assert trainer.admit(candidate, durable=True) is Admission.ADMITTED
    return candidates


def test_a_template_more_than_a_record_holds_is_stale() -> None:
    trainer = make_trainer(population=2 * MAX_TEMPLATES)
    candidates = crowded(trainer)
    one_more = with_parent(make_candidate(1000, 0), 1000)
    assert trainer.admit(one_more) is Admission.STALE
    assert trainer.admit(with_parent(make_candidate(1001, 0), 0)) is Admission.ADMITTED
    trainer.forget(candidates[0].hash)
    assert trainer.admit(one_more) is Admission.STALE, "another share of that template waits"
    trainer.forget(candidates[1].hash)
    assert trainer.admit(one_more) is Admission.ADMITTED


def test_one_template_of_two_steps_is_two_rows() -> None:
    trainer = make_trainer(population=MAX_TEMPLATES)
    crowded(trainer)
    run_step(trainer)
    for n in range(MAX_TEMPLATES):
        candidate = with_parent(make_candidate(2000 + n, n % 2), n // 2)
        assert trainer.admit(candidate, durable=True) is Admission.ADMITTED, "a step made room"
    assert trainer.admit(with_parent(make_candidate(3000, 1), MAX_TEMPLATES)) is Admission.STALE
    plan = trainer.plan()
    assert plan is not None
    decoded = decode_record(encoded(trainer, plan), trainer.params)
    assert len(decoded.templates) == MAX_TEMPLATES


def test_expired_shares_make_room_for_templates() -> None:
    trainer = make_trainer(population=4, window=0)
    for n in range(4):
        trainer.admit(make_candidate(5000 + n, 0), durable=True)
    run_step(trainer)
    late = [with_parent(make_candidate(n, 0), n) for n in range(MAX_TEMPLATES)]
    assert trainer.restore(late) == late
    assert trainer.admit(make_candidate(6000, 1)) is Admission.ADMITTED


def test_restored_shares_of_a_template_too_many_are_given_back() -> None:
    first, again = make_trainer(population=80), make_trainer(population=80)
    candidates = crowded(first)
    one_more = with_parent(make_candidate(1000, 0), 1000)
    assert again.restore([*candidates, one_more, candidates[0]]) == [one_more]
    assert again.waiting == MAX_TEMPLATES
    for candidate in candidates:
        again.forget(candidate.hash)
    assert again.admit(one_more) is Admission.ADMITTED, "every share was counted once"


def encoded(trainer: Trainer[State], plan: StepPlan) -> bytes:
    """The record of a plan without its arithmetic: all losses zero."""
    validation = Validation(0, 0) if trainer.params.is_validation_step(plan.step) else None
    rows = [
        (
            c.hash,
            replace(c.template, age=plan.step - c.work_step),
            c.miner,
            Entry(0, 0, c.extranonce, c.version_le, c.ntime_le, c.nonce_le, 0),
        )
        for c in plan.candidates
    ]
    return encode_record(canonical_order(JOB, plan.step, rows, validation, bytes(32)))


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_every_plan_has_a_record(data: st.DataObject) -> None:
    population = data.draw(st.integers(MAX_TEMPLATES - 4, MAX_TEMPLATES + 16))
    trainer = make_trainer(population=population, step_limit=8, window=3)
    spread = data.draw(st.integers(20, 200))
    random = data.draw(st.randoms(use_true_random=False))
    admitted: list[Candidate] = []
    number = 0
    for _ in range(data.draw(st.integers(1, 5))):
        for _ in range(random.randrange(3 * population)):
            number += 1
            candidate = make_candidate(number, random.randint(0, trainer.step))
            candidate = with_parent(candidate, random.randrange(spread))
            if trainer.admit(candidate, durable=True) is Admission.ADMITTED:
                admitted.append(candidate)
                if random.random() < 0.05:
                    trainer.forget(admitted.pop().hash)
        plan = trainer.plan()
        if plan is None:
            continue
        decoded = decode_record(encoded(trainer, plan), trainer.params)
        assert len(decoded.templates) <= MAX_TEMPLATES
        run_step(trainer)
        assert trainer.expire() == []
