"""The replay: of each byte of a record that is another, the place is named, with no node to ask."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from potnode.audit.replay import Replay, Rules
from potnode.spec import work
from potnode.spec.errors import InvalidRecord
from potnode.spec.record import StepRecord, decode_record, entry_header, verify_work
from tests.audit.lying import record_layout
from tests.audit.operating import MANIFEST, STEPS, Operated, Operator

LOSSES = tuple(f"losses[{j}]" for j in range(4))
COUNTED = ("version", "ntime", "nonce", "extranonce")


def replay_before(operator: Operator, job: Operated, step: int, slow: int = 0) -> Replay:
    dataset = operator.catalog.by_name("tiny")
    engine = operator.engine(MANIFEST, dataset)
    rules = Rules(job.job_id, job.params, engine, dataset, frozenset(range(slow)))
    state = engine.initial()
    replay = Replay(rules, state, engine.root(state))
    for closed in job.closed[:step]:
        truth, findings = replay.check(closed.step_data)
        assert truth is not None
        assert findings == []
        replay.advance(truth, closed.head)
    return replay


def test_a_replay_has_the_state_of_the_training(operator: Operator, honest: Operated) -> None:
    replay = replay_before(operator, honest, STEPS)
    assert (replay.step, replay.head) == (STEPS, honest.closed[-1].head)
    assert replay.state == honest.closed[-1].state
    assert replay.root == honest.records[-1].state_root
    assert replay.validation == honest.records[-1].validation
    assert replay.spec_steps == 0


def test_the_specification_agrees_on_every_step(
    operator: Operator, honest: Operated, several: Operated
) -> None:
    for job in (honest, several):
        assert replay_before(operator, job, STEPS, slow=STEPS).spec_steps == STEPS


@pytest.mark.parametrize("step", [0, 1, 4, 5])
def test_every_changed_byte_is_found_and_its_place_named(
    operator: Operator, honest: Operated, step: int
) -> None:
    every_changed_byte_is_named(operator, honest, step)


@pytest.mark.parametrize("step", [1, 4])
def test_every_changed_byte_of_several_candidates_is_found(
    operator: Operator, several: Operated, step: int
) -> None:
    every_changed_byte_is_named(operator, several, step)


def every_changed_byte_is_named(operator: Operator, honest: Operated, step: int) -> None:
    """Without the transaction to compare with, a place can be a row or an entry of it."""
    replay = replay_before(operator, honest, step)
    record, step_data = honest.records[step], honest.closed[step].step_data
    layout = record_layout(record)
    assert len(layout) == len(step_data)
    for at, field in enumerate(layout):
        changed = bytearray(step_data)
        changed[at] ^= 1 << (at % 8)
        _, findings = replay.check(bytes(changed))
        assert findings, f"byte {at} ({field})"
        assert {f.step for f in findings} == {step}
        named = [f.field for f in findings]
        assert places(field, record).intersection(named), f"byte {at} ({field}): {named}"
        if field in ("version", "job", "step", "data_root", "state_root") or "validation" in field:
            assert named == [field]
        for row in rows_left_without_work(honest, step, bytes(changed)):
            assert row in named, f"byte {at} ({field}): {named}"


def places(field: str, record: StepRecord) -> set[str]:
    """What may be named when a byte of `field` is another."""
    if field.endswith("_len") or field in ("miners", "templates"):
        return set(every_place(record))  # what follows is cut into other pieces
    row, _, part = field.partition(".")
    if row.startswith("entries"):
        i = int(row[8:-1])
        if part.startswith("losses"):
            return {field}
        if part in COUNTED:  # by luck it may be a share, of another loss or in another order
            return {f"{row}.hash", *losses(i), f"entries[{i + 1}].hash"}
        users = {f"{row}.hash", *losses(i), f"{row}.miner", f"{row}.template"}
        return users | {p for p in every_place(record) if p.endswith((".template", f"{part}s[0]"))}
    if row.startswith(("miners", "templates")):
        index = int(row.partition("[")[2][:-1])
        kind = "miner" if row.startswith("miners") else "template"
        using = [i for i, e in enumerate(record.entries) if getattr(e, kind) == index]
        # Order and distinctness of rows are broken between two of them.
        near = {row, f"{kind}s[{index + 1}]", *(f"templates[{i}]" for i in range(index + 2))}
        used = {f"entries[{i}].{p}" for i in using for p in ("hash", "miner")}
        used |= {place for i in using for place in losses(i)}
        after = {f"entries[{i + 1}].hash" for i in using}
        return near | {field, f"{row}.coinbase", f"{row}.script"} | used | after
    return {field}


def losses(entry: int) -> Iterator[str]:
    yield from (f"entries[{entry}].{name}" for name in LOSSES)


def every_place(record: StepRecord) -> Iterator[str]:
    yield from ("miners", "templates", "data_root", "state_root", "end", "version", "job", "step")
    yield from ("validation.loss", "validation.hits")
    for kind, parts in (
        ("miners", ("miner", "bits", "script")),
        ("templates", ("age", "prev_hash", "nbits", "script_at", "coinbase", "branch")),
        ("entries", ("template", "miner", "hash", "coinbase", *LOSSES, *COUNTED)),
    ):
        for i in range(256):
            yield f"{kind}[{i}]"
            yield from (f"{kind}[{i}].{part}" for part in parts)


def rows_left_without_work(job: Operated, step: int, step_data: bytes) -> set[str]:
    """The rows of a changed record of which no entry is a share, where it is otherwise sound."""
    heads = [work.head_zero(job.job_id), *(closed.head for closed in job.closed)]

    def work_of(age: int) -> bytes:
        return work.work_id(job.job_id, step - age, heads[step - age])

    try:
        record = decode_record(step_data, job.params)
    except InvalidRecord:
        return set()
    if (record.job_id, record.step) != (job.job_id, step):
        return set()
    rows: dict[str, list[bool]] = {}
    for i, entry in enumerate(record.entries):
        hash_ = work.share_hash(entry_header(record, i, work_of))
        good = work.meets(hash_, record.miners[entry.miner].bits)
        for row in (f"templates[{entry.template}]", f"miners[{entry.miner}]"):
            rows.setdefault(row, []).append(good)
    try:
        verify_work(record, work_of)
    except InvalidRecord:
        return {row for row, good in rows.items() if not any(good)}
    return set()


def test_nothing_follows_a_record_that_is_cut_off(operator: Operator, honest: Operated) -> None:
    replay = replay_before(operator, honest, 1)
    step_data = honest.closed[1].step_data
    for size in range(len(step_data)):
        truth, findings = replay.check(step_data[:size])
        assert truth is None
        assert [f.step for f in findings] == [1]
    _, (finding,) = replay.check(step_data + b"\0")
    assert finding.field == "end"
