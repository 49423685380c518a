"""Audits of jobs whose data grow: what each step used is found out, and whatever is made up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from potnode.audit.auditor import Auditor
from potnode.audit.report import AuditReport
from potnode.chain.ports import Ledger
from potnode.data.errors import MissingPart
from potnode.data.feedback import Part, Roots, part_name, write_part
from potnode.data.freeze import freeze_pairs
from potnode.engine.engine import Engine
from potnode.spec.hashing import sha256
from potnode.spec.layers import Linear
from potnode.spec.manifest import Evolution, Greedy, Manifest, Pairs, Seeded, Strategy
from potnode.spec.record import StepRecord
from potnode.trainer import Feedback
from tests.audit.lying import STEP_DATA_AT, in_event_data, lying_ledger, record_layout
from tests.audit.operating import STEPS, Operated, Operator, Tamper

SIZE = 4
PAIRS = np.random.default_rng(3).integers(-127, 128, (40, 2 * SIZE)).astype(np.int8)
STRATEGIES = (Evolution("momentum", 400, 100, batch_start=7), Greedy(0, batch_start=7))


def preferences(strategy: Strategy) -> Manifest:
    return Manifest(
        dataset="taste",
        task=Pairs(),
        input=(SIZE,),
        layers=(Linear(3, 6, "clip"), Linear(1, 4, "none")),
        train=(0, 1, 2, 3),
        initial=Seeded(sha256(b"seed"), (4096, 0, 4096, 0), (0, 0, 0, 0)),
        perturbation=(2, 1),
        strategy=strategy,
    )


def used(count: int) -> Feedback:
    roots = Roots()
    for pair in PAIRS[:count]:
        roots.add(pair.tobytes())
    return Feedback(count, roots.data_root)


def naming(data_root: bytes) -> Tamper:
    return lambda record: replace(record, data_root=data_root)


@dataclass
class Growing:
    """A job in training whose operator gets feedback, and hands parts on in a folder."""

    operator: Operator
    job: Operated
    engine: Engine
    folder: Path
    count: int = 0

    @classmethod
    def of(cls, operator: Operator, folder: Path, strategy: Strategy = STRATEGIES[0]) -> Growing:
        model = preferences(strategy)
        alone = replace(operator, _engines={})  # engines keep the feedback they are given
        job = alone.create(model=model)
        return cls(alone, job, alone.engine(model, alone.catalog.by_name("taste")), folder)

    def grow(self, count: int) -> Growing:
        """So many pairs become a part, which the next steps use."""
        new = PAIRS[self.count : self.count + count]
        write_part(self.folder, self.job.job_id, Part(self.count, new))
        self.engine.add_feedback(new)
        self.count += count
        self.job.trainer.use_feedback(used(self.count))
        return self

    def train(self, steps: int, tamper: Tamper | None = None) -> Growing:
        self.job.train(steps, tamper)
        return self

    def audit(self, ledger: Ledger | None = None, *, slow: int = 0) -> AuditReport:
        return Auditor(
            ledger or self.operator.ledger,
            self.operator.catalog,
            threads=1,
            slow=slow,
            parts=[self.folder],
        ).audit(self.job.job_id)


@pytest.fixture(scope="module")
def taste(operator: Operator) -> Operator:
    """24 training and 8 held-out pairs."""
    inputs = np.random.default_rng(9).integers(-127, 128, (2, 32, SIZE))
    (operator.folder / "taste.potdata").write_bytes(freeze_pairs(*inputs, train_count=24))
    return operator


@pytest.fixture
def growing(taste: Operator, tmp_path: Path) -> Growing:
    return Growing.of(taste, tmp_path)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=["evolution", "greedy"])
def test_data_that_grow_are_followed_step_by_step(
    taste: Operator, tmp_path: Path, strategy: Strategy
) -> None:
    job = Growing.of(taste, tmp_path, strategy)
    job.train(2).grow(25).train(2).grow(9).train(2)
    report = job.audit(slow=STEPS)
    assert report.findings == []
    assert (report.steps, report.spec_steps) == (STEPS, STEPS)
    assert report.state == job.job.closed[-1].state
    roots = [record.data_root for record in job.job.records]
    assert roots == [used(count).data_root for count in (0, 0, 25, 25, 34, 34)]
    write_part(tmp_path, job.job.job_id, Part(34, PAIRS[34:]))  # of steps to come
    assert job.audit().passed


@pytest.mark.parametrize(("kept", "named"), [((), 0), ((0,), 25), ((25,), 0)])
def test_a_part_that_is_not_here_is_named(
    growing: Growing, kept: tuple[int, ...], named: int
) -> None:
    growing.train(1).grow(25).train(1).grow(9).train(1)
    for first in {0, 25} - set(kept):
        (growing.folder / part_name(growing.job.job_id, first)).unlink()
    with pytest.raises(MissingPart) as missing:
        growing.audit()
    assert f"/feedback/parts/{named}" in str(missing.value)
    assert str(growing.folder / part_name(growing.job.job_id, named)) in str(missing.value)


def test_a_root_that_is_made_up_is_found_once_a_later_one_is_known(growing: Growing) -> None:
    growing.grow(8).train(2).train(1, naming(sha256(b"made up")))
    with pytest.raises(MissingPart, match="/feedback/parts/8"):
        growing.audit()  # it might be that of a part which the operator has not handed on
    growing.train(1)
    [finding] = growing.audit().findings
    assert (finding.step, finding.field) == (2, "data_root")
    assert "a later step uses 8" in finding.problem


def test_a_number_of_pairs_that_falls_is_found(growing: Growing) -> None:
    growing.grow(8).train(2).grow(8).train(1)
    growing.job.trainer._feedback = used(8)  # what no honest trainer does
    growing.train(1)
    [finding] = growing.audit().findings
    assert (finding.step, finding.field) == (3, "data_root")
    assert finding.problem == "is that of 8 pairs, the step before used 16"


@pytest.mark.parametrize("claimed", [0, 5, 40])
def test_a_batch_of_other_data_than_those_named_is_found(growing: Growing, claimed: int) -> None:
    def tamper(record: StepRecord) -> StepRecord:
        return replace(record, data_root=used(claimed).data_root)

    write_part(growing.folder, growing.job.job_id, Part(12, PAIRS[12:]))
    growing.grow(12).train(1, tamper)
    findings = growing.audit().findings
    assert {finding.step for finding in findings} == {0}
    assert any("losses" in finding.field for finding in findings)


def test_a_node_that_shows_another_root_is_caught_without_the_pairs_it_names(
    growing: Growing,
) -> None:
    growing.grow(8).train(3)
    at = STEP_DATA_AT + record_layout(growing.job.records[1]).index("data_root")
    lying = lying_ledger(
        growing.operator.transport,
        growing.operator.ledger.contract,
        in_event_data("StepRecorded", 1, at + 7),
    )
    findings = growing.audit(lying).findings
    assert (findings[0].step, findings[0].field) == (1, "data_root")
