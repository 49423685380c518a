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
from potnode.spec.dataset import Sample
from potnode.spec.draw import candidate_key, candidate_keys, draw
from potnode.spec.errors import SpecError
from potnode.spec.evaluate import candidate_loss, validation
from potnode.spec.feedback import sample_at
from potnode.spec.hashing import sha256
from potnode.spec.layers import Linear
from potnode.spec.manifest import Classes, Evolution, Manifest, Seeded
from potnode.spec.manifest_json import encode_manifest
from potnode.spec.network import forward_weights
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
from potnode.spec.schedule import StepTerms, shares_before, step_terms
from potnode.spec.search import batch_indices, coefficients
from potnode.spec.state import State
from potnode.spec.step import advance
from potnode.trainer import Admission, Feedback, StepPlan, Trainer, TrainerError, TrainingShare
from potnode.work.jobs import template_row
from potnode.work.standalone import Standalone

JOB = sha256(b"a job")
MANIFEST = Manifest(
    dataset="tiny",
    task=Classes(),
    input=(3,),
    layers=(Linear(2, 4, "relu"), Linear(2, 2, "none")),
    train=(0, 1, 2, 3),
    initial=Seeded(bytes(32), (4096, 0, 4096, 0), (0, 0, 0, 0)),
    perturbation=(1, 0),
    strategy=Evolution("momentum", 80, 10, batch_start=2),
)
SAMPLES = [Sample((i * 20 % 127, -i * 7 % 100, 50 - i * 9), (i % 2,)) for i in range(8)]
TRAIN = 6
ADDED = [Sample((-i * 9 % 100, i * 31 % 127, 3), (i % 2,)) for i in range(5)]


def sample(index: int) -> Sample:
    """A training sample, or one that was added while the job is trained."""
    return sample_at(index, TRAIN, SAMPLES.__getitem__, ADDED.__getitem__)


class SpecEvaluator:
    """The evaluator's port on the specification itself: slow, and the truth."""

    def initial(self) -> State:
        return spec_state.initial_state(MANIFEST)

    def batch(self, work: bytes, batch_size: int, feedback: int = 0) -> npt.NDArray[np.int64]:
        return np.array(batch_indices(work, TRAIN + feedback, batch_size), dtype=np.int64)

    def losses(
        self,
        state: State,
        keys: Sequence[bytes],
        batch: npt.NDArray[np.int64],
        terms: StepTerms,
    ) -> list[int]:
        assert (len(keys), len(batch)) == (terms.population, terms.batch_size)
        weights = forward_weights(state.masters, MANIFEST.weights)
        samples = [sample(i) for i in batch]
        return [
            candidate_loss(MANIFEST, weights, samples, draw(MANIFEST, key), terms.shift)
            for key in keys
        ]

    def advance(
        self,
        state: State,
        keys: Sequence[bytes],
        losses: Sequence[int],
        work: bytes,
        terms: StepTerms,
        feedback: int = 0,
    ) -> tuple[State, list[int]]:
        return advance(
            MANIFEST,
            state,
            keys,
            losses,
            terms,
            work,
            train_count=TRAIN + feedback,
            sample=sample,
        )

    def validate(self, state: State) -> Validation:
        weights = forward_weights(state.masters, MANIFEST.weights)
        return Validation(*validation(MANIFEST, weights, SAMPLES[TRAIN:]))

    def root(self, state: State) -> bytes:
        return spec_state.state_root(state, MANIFEST.weights)


def make_params(**changes: int) -> JobParams:
    values = {
        "population": 4,
        "population_start": changes.get("population", 4),
        "batch_size": 3,
        "window": 2,
        "step_limit": 6,
        "validate_every": 3,
    }
    return JobParams(
        owner=bytes(20),
        operator=bytes(20),
        manifest_hash=sha256(encode_manifest(MANIFEST)),
        initial_root=SpecEvaluator().root(SpecEvaluator().initial()),
        data_root=bytes(32),
        train_count=TRAIN,
        held_out_count=2,
        min_bits=0,
        **(values | changes),  # type: ignore[arg-type]
    )


def make_share(number: int, work_step: int, miner: int = 1) -> TrainingShare:
    return TrainingShare(
        hash=sha256(b"share" + number.to_bytes(4, "big")),
        work_step=work_step,
        template=template_row(Standalone(JOB).current(0)),
        miner=MinerRow(bytes([miner]) * 20, 14),
        extranonce=number.to_bytes(16, "big"),
        version_le=bytes(4),
        ntime_le=bytes(4),
        nonce_le=bytes(4),
    )


def with_parent(share: TrainingShare, parent: int) -> TrainingShare:
    """The same share on another template."""
    template = replace(share.template, prev_hash_le=parent.to_bytes(32, "little"))
    return replace(share, template=template)


def make_trainer(**changes: int) -> Trainer[State]:
    return Trainer(JOB, make_params(**changes), MANIFEST, SpecEvaluator())


def run_step(trainer: Trainer[State]) -> None:
    plan = trainer.plan()
    assert plan is not None
    trainer.commit(trainer.compute(plan))


def test_a_step_is_what_the_specification_says() -> None:
    trainer = make_trainer()
    for n in range(4):
        assert trainer.admit(make_share(n, 0, miner=n % 2 + 1), durable=True) is Admission.ADMITTED
    plan = trainer.plan()
    assert plan is not None
    closed = trainer.compute(plan)
    assert closed.prev_head == work.head_zero(JOB)
    assert closed.head == work.next_head(closed.prev_head, closed.step_data)
    assert list(closed.hashes) == sorted(c.hash for c in plan.shares)
    decoded = decode_record(closed.step_data, trainer.params)
    assert decoded == closed.record
    assert decoded.validation == SpecEvaluator().validate(closed.state)
    before = SpecEvaluator().initial()
    keys, terms = candidate_keys(closed.hashes, 1), step_terms(MANIFEST, trainer.params, 0)
    batch = SpecEvaluator().batch(plan.work, terms.batch_size)
    losses = SpecEvaluator().losses(before, keys, batch, terms)
    assert closed.losses == tuple((loss,) for loss in losses)
    assert closed.coefficients == tuple((c,) for c in coefficients(losses))
    assert SpecEvaluator().root(closed.state) == decoded.state_root
    assert trainer.step == 0, "computing changes nothing"
    trainer.commit(closed)
    assert (trainer.step, trainer.head, trainer.waiting) == (1, closed.head, 0)


@pytest.mark.parametrize("each", [1, 3, 64])
def test_a_share_stands_for_as_many_candidates_as_the_job_says(each: int) -> None:
    trainer = make_trainer(
        candidates_per_share=each, population_start=2 * each, population=2 * each
    )
    for n in range(2):
        trainer.admit(make_share(n, 0), durable=True)
    plan = trainer.plan()
    assert plan is not None
    closed = trainer.compute(plan)
    keys = [candidate_key(h, j) for h in closed.hashes for j in range(each)]
    before, terms = SpecEvaluator().initial(), step_terms(MANIFEST, trainer.params, 0)
    losses = SpecEvaluator().losses(before, keys, SpecEvaluator().batch(plan.work, 2), terms)
    assert [len(own) for own in closed.losses] == [each, each]
    assert [loss for own in closed.losses for loss in own] == losses
    assert [c for own in closed.coefficients for c in own] == coefficients(losses)
    decoded = decode_record(closed.step_data, trainer.params)
    assert tuple(entry.losses for entry in decoded.entries) == closed.losses
    after, _ = SpecEvaluator().advance(before, keys, losses, plan.work, terms)
    assert closed.state == after


def test_steps_take_as_many_shares_as_the_schedule_has() -> None:
    trainer = make_trainer(candidates_per_share=2, population_start=2, population=8, window=5)
    expected = [1, 1, 2, 2, 3, 3]
    for n in range(sum(expected)):
        assert trainer.admit(make_share(n, 0), durable=True) is Admission.ADMITTED
    assert trainer.admit(make_share(99, 0)) is Admission.FINISHED
    assert trainer.expire() == []
    taken = 0
    for shares in expected:
        assert trainer.wanted == shares
        plan = trainer.plan()
        assert plan is not None
        numbers = range(taken, taken + shares)
        assert {c.extranonce[-1] for c in plan.shares} == set(numbers), "first come, first counted"
        trainer.commit(trainer.compute(plan))
        taken += shares
    assert trainer.finished
    assert (trainer.wanted, trainer.waiting) == (0, 0)


@pytest.mark.parametrize("window", [0, 1, 4])
def test_a_place_is_promised_only_in_a_step_within_the_window(window: int) -> None:
    trainer = make_trainer(population_start=1, population=13, step_limit=6, window=window)
    room = shares_before(trainer.params, window + 1)
    for n in range(room):
        assert trainer.admit(make_share(n, 0), durable=True) is Admission.ADMITTED
    assert trainer.admit(make_share(room, 0)) is Admission.STALE
    assert trainer.expire() == []
    run_step(trainer)
    assert trainer.admit(make_share(room, 0)) is Admission.STALE, "its place is the same"
    assert trainer.admit(make_share(room, 1), durable=True) is Admission.ADMITTED


def test_a_step_waits_for_the_first_population_to_be_durable() -> None:
    trainer = make_trainer()
    for n in range(5):
        trainer.admit(make_share(n, 0), durable=n != 2)
    assert trainer.plan() is None
    trainer.settle(make_share(2, 0).hash)
    plan = trainer.plan()
    assert plan is not None
    assert {c.extranonce[-1] for c in plan.shares} == {0, 1, 2, 3}


def test_a_share_that_could_not_be_stored_leaves_its_place() -> None:
    trainer = make_trainer()
    for n in range(5):
        trainer.admit(make_share(n, 0), durable=n != 0)
    trainer.forget(make_share(0, 0).hash)
    assert trainer.plan() is not None
    assert trainer.admit(make_share(0, 0)) is Admission.ADMITTED, "it was never acknowledged"


def test_a_hash_counts_once() -> None:
    trainer = make_trainer()
    for n in range(4):
        trainer.admit(make_share(n, 0), durable=True)
    assert trainer.admit(make_share(1, 0)) is Admission.DUPLICATE
    run_step(trainer)
    assert trainer.admit(make_share(1, 0)) is Admission.DUPLICATE
    assert trainer.admit(make_share(1, 0, miner=9)) is Admission.DUPLICATE, "in other clothes"


def test_a_late_share_counts_until_its_window_closes() -> None:
    trainer = make_trainer(window=1)
    for step in range(2):
        for n in range(4):
            trainer.admit(make_share(10 * step + n, step), durable=True)
        run_step(trainer)
    assert trainer.step == 2
    assert trainer.admit(make_share(100, 0)) is Admission.STALE
    assert trainer.admit(make_share(101, 1), durable=True) is Admission.ADMITTED
    assert trainer.admit(make_share(102, 3)) is Admission.STALE, "no step has that work yet"
    for n in range(3):
        trainer.admit(make_share(200 + n, 2), durable=True)
    plan = trainer.plan()
    assert plan is not None
    closed = trainer.compute(plan)
    assert sorted(t.age for t in closed.record.templates) == [0, 1]


def test_no_more_shares_are_admitted_than_the_steps_left_can_count() -> None:
    trainer = make_trainer(step_limit=2, window=5)
    for n in range(8):
        assert trainer.admit(make_share(n, 0), durable=True) is Admission.ADMITTED
    assert trainer.admit(make_share(8, 0)) is Admission.FINISHED
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
            share = make_share(number, data.draw(st.integers(0, trainer.step)))
            if trainer.admit(share, durable=True) is Admission.ADMITTED:
                admitted.add(share.hash)
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
            trainer.admit(make_share(n, 0), durable=True)
        run_step(trainer)
    heads = {0: work.head_zero(JOB), 1: first.head}
    counted = {make_share(n, 0).hash: 0 for n in range(4)}
    again = Trainer(
        JOB,
        first.params,
        MANIFEST,
        SpecEvaluator(),
        state=first.state,
        heads=heads,
        counted=counted,
    )
    assert again.restore(make_share(n, 0) for n in range(10)) == []
    run_step(straight)
    run_step(again)
    assert (again.head, again.state, again.waiting) == (straight.head, straight.state, 2)


def test_shares_restored_too_late_are_given_back() -> None:
    trainer = make_trainer(window=0)
    for n in range(4):
        trainer.admit(make_share(n, 0), durable=True)
    run_step(trainer)
    late = make_share(50, 0)
    assert trainer.restore([late, make_share(51, 1)]) == [late]
    assert trainer.waiting == 1


def test_misuse_is_an_error() -> None:
    trainer = make_trainer()
    for n in range(4):
        trainer.admit(make_share(n, 0), durable=True)
    plan = trainer.plan()
    assert plan is not None
    closed = trainer.compute(plan)
    trainer.commit(closed)
    with pytest.raises(TrainerError, match="does not follow"):
        trainer.commit(closed)
    with pytest.raises(TrainerError, match="both"):
        Trainer(JOB, trainer.params, MANIFEST, SpecEvaluator(), state=closed.state)


def test_a_foreign_initial_root_is_refused() -> None:
    params = make_params()
    changed = JobParams(
        **{f: getattr(params, f) for f in params.__slots__ if f != "initial_root"},
        initial_root=bytes(32),
    )
    with pytest.raises(SpecError, match="initial_root"):
        Trainer(JOB, changed, MANIFEST, SpecEvaluator())


def test_template_rows_of_one_template_are_one_row() -> None:
    trainer = make_trainer()
    for n in range(4):
        trainer.admit(make_share(n, 0), durable=True)
    plan = trainer.plan()
    assert plan is not None
    closed = trainer.compute(plan)
    assert closed.record.templates == (
        TemplateRow(0, *[getattr(plan.shares[0].template, f) for f in TemplateRow.__slots__[1:]]),
    )


def crowded(trainer: Trainer[State]) -> list[TrainingShare]:
    """Fill the queue's room for templates, one share each."""
    waiting = [with_parent(make_share(n, 0), n) for n in range(MAX_TEMPLATES)]
    for share in waiting:
        assert trainer.admit(share, durable=True) is Admission.ADMITTED
    return waiting


def test_a_template_more_than_a_record_holds_is_stale() -> None:
    trainer = make_trainer(population=2 * MAX_TEMPLATES)
    waiting = crowded(trainer)
    one_more = with_parent(make_share(1000, 0), 1000)
    assert trainer.admit(one_more) is Admission.STALE
    assert trainer.admit(with_parent(make_share(1001, 0), 0)) is Admission.ADMITTED
    trainer.forget(waiting[0].hash)
    assert trainer.admit(one_more) is Admission.STALE, "another share of that template waits"
    trainer.forget(waiting[1].hash)
    assert trainer.admit(one_more) is Admission.ADMITTED


def test_one_template_of_two_steps_is_two_rows() -> None:
    trainer = make_trainer(population=MAX_TEMPLATES)
    crowded(trainer)
    run_step(trainer)
    for n in range(MAX_TEMPLATES):
        share = with_parent(make_share(2000 + n, n % 2), n // 2)
        assert trainer.admit(share, durable=True) is Admission.ADMITTED, "a step made room"
    assert trainer.admit(with_parent(make_share(3000, 1), MAX_TEMPLATES)) is Admission.STALE
    plan = trainer.plan()
    assert plan is not None
    decoded = decode_record(encoded(trainer, plan), trainer.params)
    assert len(decoded.templates) == MAX_TEMPLATES


def test_expired_shares_make_room_for_templates() -> None:
    trainer = make_trainer(population=4, window=0)
    for n in range(4):
        trainer.admit(make_share(5000 + n, 0), durable=True)
    run_step(trainer)
    late = [with_parent(make_share(n, 0), n) for n in range(MAX_TEMPLATES)]
    assert trainer.restore(late) == late
    assert trainer.admit(make_share(6000, 1)) is Admission.ADMITTED


def test_restored_shares_of_a_template_too_many_are_given_back() -> None:
    first, again = make_trainer(population=80), make_trainer(population=80)
    waiting = crowded(first)
    one_more = with_parent(make_share(1000, 0), 1000)
    assert again.restore([*waiting, one_more, waiting[0]]) == [one_more]
    assert again.waiting == MAX_TEMPLATES
    for share in waiting:
        again.forget(share.hash)
    assert again.admit(one_more) is Admission.ADMITTED, "every share was counted once"


def test_steps_use_the_feedback_there_was_when_they_were_planned() -> None:
    trainer = make_trainer()
    roots = [bytes(32), *(sha256(bytes([n])) for n in range(1, 6))]
    before = trainer.state
    for step, count in enumerate((0, 2, 2, 5)):
        if count:
            trainer.use_feedback(Feedback(count, roots[count]))
        for n in range(4):
            trainer.admit(make_share(10 * step + n, step), durable=True)
        plan = trainer.plan()
        assert plan is not None
        trainer.use_feedback(Feedback(count, b"\x99" * 32))  # too late for this step
        closed = trainer.compute(plan)
        assert decode_record(closed.step_data, trainer.params).data_root == roots[count]
        terms = step_terms(MANIFEST, trainer.params, step)
        keys = candidate_keys(closed.hashes, 1)
        batch = batch_indices(plan.work, TRAIN + count, terms.batch_size)
        losses = SpecEvaluator().losses(before, keys, np.array(batch), terms)
        assert [loss for [loss] in closed.losses] == losses
        trainer.use_feedback(Feedback(count, roots[count]))
        trainer.commit(closed)
        before = closed.state
    with pytest.raises(TrainerError, match="4 pairs of feedback are fewer than the 5"):
        trainer.use_feedback(Feedback(4, roots[4]))


def encoded(trainer: Trainer[State], plan: StepPlan) -> bytes:
    """The record of a plan without its arithmetic: all losses zero."""
    validation = Validation(0, 0) if trainer.params.is_validation_step(plan.step) else None
    zeros = (0,) * trainer.params.candidates_per_share
    rows = [
        (
            c.hash,
            replace(c.template, age=plan.step - c.work_step),
            c.miner,
            Entry(0, 0, c.extranonce, c.version_le, c.ntime_le, c.nonce_le, zeros),
        )
        for c in plan.shares
    ]
    return encode_record(canonical_order(JOB, plan.step, rows, validation, bytes(32)))


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_every_plan_has_a_record(data: st.DataObject) -> None:
    population = data.draw(st.integers(MAX_TEMPLATES - 4, MAX_TEMPLATES + 16))
    trainer = make_trainer(population=population, step_limit=8, window=3)
    spread = data.draw(st.integers(20, 200))
    random = data.draw(st.randoms(use_true_random=False))
    admitted: list[TrainingShare] = []
    number = 0
    for _ in range(data.draw(st.integers(1, 5))):
        for _ in range(random.randrange(3 * population)):
            number += 1
            share = make_share(number, random.randint(0, trainer.step))
            share = with_parent(share, random.randrange(spread))
            if trainer.admit(share, durable=True) is Admission.ADMITTED:
                admitted.append(share)
                if random.random() < 0.05:
                    trainer.forget(admitted.pop().hash)
        plan = trainer.plan()
        if plan is None:
            continue
        decoded = decode_record(encoded(trainer, plan), trainer.params)
        assert len(decoded.templates) <= MAX_TEMPLATES
        run_step(trainer)
        assert trainer.expire() == []
