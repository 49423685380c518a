"""The auditor on jobs that really were recorded: right ones, and ones whose operator was not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from potnode.audit.auditor import Auditor
from potnode.audit.errors import AuditError
from potnode.audit.export import export_audited
from potnode.audit.report import AuditReport
from potnode.audit.terms import read_manifest
from potnode.chain import reader
from potnode.chain.errors import ChainUnavailable, JobUnknown
from potnode.chain.ports import Transport
from potnode.chain.reader import state_root
from potnode.chain.rpc import Connection, RpcLedger
from potnode.data.catalog import Catalog
from potnode.data.errors import UnknownDataset
from potnode.data.freeze import freeze
from potnode.engine.export import decode_model
from potnode.spec.hashing import sha256
from potnode.spec.layers import Linear
from potnode.spec.manifest import Evolution, Greedy, Manifest
from potnode.spec.manifest_json import encode_manifest
from potnode.spec.record import StepRecord, Validation
from potnode.spec.schedule import shares_at
from tests.audit.conftest import audit
from tests.audit.lying import Lying
from tests.audit.operating import MANIFEST, STEPS, Operated, Operator, Tamper, tiny_dataset


def test_an_honest_job_passes(operator: Operator, honest: Operated) -> None:
    """With an engine of its own, as `potnode audit` has it."""
    progress: list[tuple[int, int]] = []
    auditor = Auditor(
        operator.ledger,
        operator.catalog,
        on_step=lambda done, total: progress.append((done, total)),
        monotonic=iter([10.0, 12.5]).__next__,
    )
    report = auditor.audit(honest.job_id)
    assert report.findings == []
    assert report.passed
    last = honest.closed[-1]
    assert (report.steps, report.shares) == (STEPS, STEPS * honest.params.population)
    assert report.state_root == state_root(operator.ledger, honest.job_id)
    assert report.state == last.state
    assert report.validation == last.record.validation
    assert report.seconds == 2.5
    assert progress == [(done, STEPS) for done in range(1, STEPS + 1)]


def test_the_honest_job_has_all_that_a_record_can_have(honest: Operated) -> None:
    records = honest.records
    assert {t.age for r in records for t in r.templates} == {0, 1}
    assert {len(r.miners) for r in records} == {2}
    assert any(m.script for m in records[0].miners)
    assert any(t.script_at for t in records[0].templates)
    assert any(t.branch for t in records[0].templates)
    assert [r.validation is not None for r in records] == [s in (0, 4, 5) for s in range(STEPS)]


def test_a_report_for_people_and_for_programs(operator: Operator, honest: Operated) -> None:
    report = audit(operator, honest.job_id)
    root = honest.records[-1].state_root.hex()
    validation = honest.records[-1].validation
    assert validation is not None
    text = report.text()
    assert text.startswith(f"audit PASSED: job {honest.job_id.hex()}\n")
    assert f"rebuilt state root {root}" in text
    assert f"held-out accuracy {validation.hits / 8:.4f}" in text
    document = report.document()
    assert document["passed"] is True
    assert document["state_root"] == root
    assert document["accuracy"] == validation.hits / 8
    assert document["findings"] == []


def test_the_audited_model_is_exported(
    operator: Operator, honest: Operated, tmp_path: Path
) -> None:
    file = tmp_path / "model.safetensors"
    export_audited(audit(operator, honest.job_id), file)
    model = decode_model(file.read_bytes())
    engine = operator.engine(MANIFEST, operator.catalog.by_name("tiny"))
    assert engine.root(model.state) == state_root(operator.ledger, honest.job_id)
    assert (model.job_id, model.step, model.manifest) == (honest.job_id, STEPS, MANIFEST)
    assert list(tmp_path.iterdir()) == [file]


def test_no_model_is_exported_without_one(tmp_path: Path) -> None:
    report = AuditReport(bytes(32))
    with pytest.raises(AuditError, match="nothing is exported"):
        export_audited(report, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("quick_engine")
def test_a_job_without_steps(operator: Operator) -> None:
    job = operator.create()
    report = audit(operator, job.job_id)
    assert report.passed
    assert (report.steps, report.state_root) == (0, job.params.initial_root)
    assert report.accuracy is None
    assert "held-out" not in report.text()


@pytest.mark.usefixtures("quick_engine")
def test_a_job_that_is_recorded_while_it_is_audited(operator: Operator) -> None:
    """The audit is of one moment; what comes later neither fails nor enters it."""
    job = operator.create().train(2)

    def record_meanwhile(method: str, _: Sequence[Any], answer: Any) -> Any:
        if method == "eth_blockNumber":
            job.train(1)
        return answer

    ledger = RpcLedger(
        Connection(Lying(operator.transport, record_meanwhile)), operator.ledger.contract
    )
    report = audit(operator, job.job_id, ledger)
    assert report.findings == []
    assert (report.steps, report.state) == (2, job.closed[1].state)
    assert audit(operator, job.job_id).steps == len(job.closed) > 2


# What the contract cannot see


def entry_loss(index: int, change: int, candidate: int = 0) -> Tamper:
    def tamper(record: StepRecord) -> StepRecord:
        entries = list(record.entries)
        losses = list(entries[index].losses)
        losses[candidate] = max(losses[candidate] + change, 0)
        entries[index] = replace(entries[index], losses=tuple(losses))
        return replace(record, entries=tuple(entries))

    return tamper


def validation_of(change: Callable[[Validation], Validation]) -> Tamper:
    def tamper(record: StepRecord) -> StepRecord:
        validation = record.validation
        return record if validation is None else replace(record, validation=change(validation))

    return tamper


@pytest.mark.usefixtures("quick_engine")
@pytest.mark.parametrize(
    ("honest_steps", "tamper", "field"),
    [
        (2, entry_loss(3, 1), "entries[3].losses[0]"),
        (2, entry_loss(0, -1), "entries[0].losses[0]"),
        (0, entry_loss(5, 1 << 39), "entries[5].losses[0]"),
        (1, lambda r: replace(r, state_root=sha256(b"another")), "state_root"),
        (0, validation_of(lambda v: replace(v, loss=v.loss + 1)), "validation.loss"),
        (4, validation_of(lambda v: replace(v, hits=v.hits ^ 1)), "validation.hits"),
    ],
)
def test_a_wrong_number_on_the_chain_is_named(
    operator: Operator, honest_steps: int, tamper: Tamper, field: str
) -> None:
    job = operator.create().train(honest_steps)
    job.train(1, tamper)
    report = audit(operator, job.job_id)
    assert [(f.step, f.field) for f in report.findings] == [(honest_steps, field)]
    assert (report.steps, report.passed) == (honest_steps, False)
    assert report.text().startswith("audit FAILED")
    assert f"\n  step {honest_steps}: {field}: recorded " in report.text()


@pytest.mark.usefixtures("quick_engine")
def test_every_wrong_number_of_a_step_is_named_and_none_after_it(operator: Operator) -> None:
    def tamper(record: StepRecord) -> StepRecord:
        record = entry_loss(1, 7)(entry_loss(4, 9)(record))
        return replace(record, state_root=bytes(32))

    job = operator.create().train(1)
    job.train(2, tamper)
    report = audit(operator, job.job_id)
    assert [(f.step, f.field) for f in report.findings] == [
        (1, "entries[1].losses[0]"),
        (1, "entries[4].losses[0]"),
        (1, "state_root"),
    ]


@pytest.mark.usefixtures("quick_engine")
def test_a_job_of_several_candidates_passes(operator: Operator, several: Operated) -> None:
    report = audit(operator, several.job_id)
    assert report.findings == []
    assert (report.steps, report.state) == (STEPS, several.closed[-1].state)
    taken = [len(record.entries) for record in several.records]
    assert taken == [shares_at(several.params, step) for step in range(STEPS)]
    assert taken[0] < taken[-1]
    assert report.shares == sum(taken)


@pytest.mark.usefixtures("quick_engine")
@pytest.mark.parametrize(("entry", "candidate"), [(0, 0), (1, 3), (2, 1)])
def test_a_wrong_loss_of_one_of_several_candidates_is_named(
    operator: Operator, entry: int, candidate: int
) -> None:
    job = operator.create(candidates_per_share=4, population_start=12, population=16).train(1)
    job.train(2, entry_loss(entry, 1, candidate))
    report = audit(operator, job.job_id)
    place = f"entries[{entry}].losses[{candidate}]"
    assert [(f.step, f.field) for f in report.findings] == [(1, place)]


@pytest.mark.usefixtures("quick_engine")
def test_a_greedy_job_of_several_candidates_passes(operator: Operator) -> None:
    greedy = replace(MANIFEST, strategy=Greedy(margin=0, batch_start=4))
    job = operator.create(
        model=greedy, candidates_per_share=4, population_start=8, population=16
    ).train(STEPS)
    report = Auditor(operator.ledger, operator.catalog, slow=STEPS).audit(job.job_id)
    assert report.findings == []
    assert (report.spec_steps, report.state) == (STEPS, job.closed[-1].state)
    taken = [sum(map(sum, step.coefficients)) for step in job.closed]
    assert set(taken) == {0, 1}, "some steps took their best candidate, others none"


@pytest.mark.usefixtures("quick_engine")
def test_a_record_that_names_data_is_refused(operator: Operator) -> None:
    """The contract lets any data root pass; there is no data that one could name."""
    job = operator.create().train(1)
    job.train(1, lambda record: replace(record, data_root=sha256(b"data")))
    report = audit(operator, job.job_id)
    assert [(f.step, f.field) for f in report.findings] == [(1, "data_root")]


@pytest.mark.usefixtures("quick_engine")
def test_weights_that_were_trained_with_a_wrong_loss(operator: Operator) -> None:
    """The operator goes on from the wrong weights: the first step tells."""
    job = operator.create()
    engine = operator.engine(MANIFEST, operator.catalog.by_name("tiny"))
    job.trainer = type(job.trainer)(job.job_id, job.params, MANIFEST, _Flattering(engine))
    job.train(3)
    report = audit(operator, job.job_id)
    assert {f.step for f in report.findings} == {0}
    named = [f.field for f in report.findings]
    assert (named[0], named[-1]) == ("entries[2].losses[0]", "state_root")
    assert set(named[1:-1]) <= {"validation.loss", "validation.hits"}


class _Flattering:
    """An evaluator that finds the third candidate better than it is."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def losses(self, *arguments: Any) -> list[int]:
        losses: list[int] = self._engine.losses(*arguments)
        return [*losses[:2], losses[2] // 2, *losses[3:]]


@pytest.mark.usefixtures("quick_engine")
@pytest.mark.parametrize("later", [1, 2])
def test_a_share_counted_in_two_steps(operator: Operator, later: int) -> None:
    job = operator.create()
    again = job.shares()[0]
    job.trainer.admit(again, durable=True)
    for share in job.shares()[1:]:
        job.trainer.admit(share, durable=True)
    job.close()
    job.train(later - 1)
    job.repeat([again])
    report = audit(operator, job.job_id)
    place = job.closed[-1].hashes.index(again.hash)
    (finding,) = report.findings
    assert (finding.step, finding.field) == (later, f"entries[{place}].hash")
    assert finding.problem == f"{again.hash[::-1].hex()} was counted in step 0 already"


@pytest.mark.usefixtures("quick_engine")
def test_shares_counted_twice_are_all_named(operator: Operator) -> None:
    job = operator.create()
    shares = job.shares()
    for share in shares:
        job.trainer.admit(share, durable=True)
    job.close()
    job.repeat(shares)
    report = audit(operator, job.job_id)
    assert [(f.step, f.field) for f in report.findings] == [
        (1, f"entries[{i}].hash") for i in range(job.params.population)
    ]


# Jobs that no node would take


@pytest.mark.usefixtures("quick_engine")
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"initial_root": sha256(b"other weights")}, "params.initial_root"),
        ({"train_count": 23}, "params.train_count"),
        ({"held_out_count": 9}, "params.held_out_count"),
        ({"held_out_count": 2**32 - 1, "train_count": 1}, "manifest"),
    ],
)
def test_a_job_whose_terms_are_wrong(
    operator: Operator, changes: dict[str, Any], field: str
) -> None:
    job = operator.create(**changes)
    report = audit(operator, job.job_id)
    assert (report.findings[0].step, report.findings[0].field) == (None, field)
    assert report.state is None


@pytest.mark.usefixtures("quick_engine")
@pytest.mark.parametrize(
    ("manifest", "field", "problem"),
    [
        (b"{}", "manifest", "lacks the key"),
        (b"\xff\x00", "manifest", "not ASCII JSON"),
        (encode_manifest(MANIFEST) + b" ", "manifest", "not canonical"),
        (
            encode_manifest(replace(MANIFEST, strategy=Evolution("momentum", 100, 101, 4))),
            "manifest",
            "eta",
        ),
    ],
)
def test_a_job_whose_manifest_breaks_a_rule(
    operator: Operator, manifest: bytes, field: str, problem: str
) -> None:
    job = operator.create(manifest)
    (finding,) = audit(operator, job.job_id).findings
    assert (finding.step, finding.field) == (None, field)
    assert problem in finding.problem


def _shaped(inputs: int, classes: int) -> Manifest:
    layers = (Linear(5, 6, "relu"), Linear(classes, 4, "none"))
    return replace(MANIFEST, input=(inputs,), layers=layers)


@pytest.mark.parametrize(
    ("manifest", "field"),
    [(_shaped(7, 3), "manifest.input"), (_shaped(6, 2), "manifest.model")],
)
def test_a_model_that_does_not_fit_its_dataset(
    operator: Operator, manifest: Manifest, field: str
) -> None:
    job = operator.create(encode_manifest(manifest))
    (finding,) = audit(operator, job.job_id).findings
    assert (finding.step, finding.field) == (None, field)


def test_a_job_with_a_bond_is_refused(honest: Operated) -> None:
    """The contract creates none; where another would, the specification refuses it."""
    params = replace(honest.params, bond=1)
    manifest, (finding,) = read_manifest(params, honest.manifest)
    assert manifest is None
    assert finding.field == "params"


# No audit


def test_another_dataset_of_the_same_name(
    operator: Operator, honest: Operated, tmp_path: Path
) -> None:
    rng = np.random.default_rng(6)
    other = freeze(
        rng.integers(-127, 128, (32, 6)), rng.integers(0, 3, 32), train_count=24, classes=3
    )
    assert other != tiny_dataset()
    (tmp_path / "tiny.potdata").write_bytes(other)
    with pytest.raises(UnknownDataset, match=honest.params.data_root.hex()):
        Auditor(operator.ledger, Catalog(tmp_path)).audit(honest.job_id)


def test_an_unknown_job(operator: Operator) -> None:
    with pytest.raises(JobUnknown, match="no job 0xabab"):
        audit(operator, b"\xab" * 32)


@pytest.mark.usefixtures("quick_engine")
def test_a_node_that_goes_away(operator: Operator, honest: Operated) -> None:
    class Dying:
        def __init__(self, transport: Transport) -> None:
            self._transport = transport

        def request(self, method: str, params: Sequence[Any]) -> Any:
            if method == "eth_getLogs":
                raise ChainUnavailable("gone")
            return self._transport.request(method, params)

    ledger = RpcLedger(Connection(Dying(operator.transport)), operator.ledger.contract)
    with pytest.raises(ChainUnavailable, match="gone"):
        audit(operator, honest.job_id, ledger)


# The engine itself


@pytest.mark.usefixtures("quick_engine")
@pytest.mark.parametrize("slow", [1, 4, 100])
def test_the_specification_recomputes_some_steps_as_well(
    operator: Operator, honest: Operated, slow: int
) -> None:
    auditor = Auditor(operator.ledger, operator.catalog, slow=slow)
    report = auditor.audit(honest.job_id)
    assert report.findings == []
    assert report.spec_steps == min(slow, STEPS)
    assert f"{report.spec_steps} steps recomputed by the specification" in report.text()


class _Wrong(_Flattering):
    """An engine on a faulty machine: it trains and audits with the same wrong numbers."""


def test_a_wrong_engine_is_found_by_the_specification_alone(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = _Wrong(operator.engine(MANIFEST, operator.catalog.by_name("tiny")))
    monkeypatch.setattr("potnode.audit.auditor.Engine", lambda *_: engine)
    job = operator.create()
    job.trainer = type(job.trainer)(job.job_id, job.params, MANIFEST, engine)
    job.train(2)
    assert audit(operator, job.job_id).passed, "it agrees with itself"
    report = Auditor(operator.ledger, operator.catalog, slow=2).audit(job.job_id)
    assert [(f.step, f.field) for f in report.findings] == [(0, "engine")]
    assert "disagree: losses, " in report.findings[0].problem
    assert report.findings[0].problem.endswith("state root")


def test_a_look_alike_contract_is_found(
    operator: Operator, honest: Operated, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Connection.code
    for answer in (b"", b"\x60\x00", real(operator.ledger.chain, operator.ledger.contract)[:-1]):
        monkeypatch.setattr(Connection, "code", lambda _self, _address, answer=answer: answer)
        report = audit(operator, honest.job_id)
        assert [f.field for f in report.findings] == ["contract"]


def test_the_report_says_which_history_it_saw(
    operator: Operator, honest: Operated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that hides the newest steps passes, as any shorter history would: so it must show."""
    block = operator.ledger.chain.latest_block()
    whole = audit(operator, honest.job_id)
    assert whole.history is not None
    assert (whole.history.recorded, whole.history.step_limit) == (STEPS, STEPS)
    assert whole.history.block == block
    job = reader.read_job(operator.ledger, honest.job_id)
    third = list(reader.read_steps(operator.ledger, job))[2]
    monkeypatch.setattr(Connection, "latest_block", lambda _self: third.block_number)
    cut = audit(operator, honest.job_id)
    assert cut.history is not None
    assert f"3 of {STEPS} steps are recorded" in cut.text()
    assert cut.document()["head"] == third.new_head.hex()
