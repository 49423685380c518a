"""Merge-mined shares from the contract's check to the audit's report."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from potnode.chain import reader
from potnode.chain.embedded import EmbeddedChain
from potnode.chain.errors import RecordRefused
from potnode.spec import work
from potnode.spec.errors import InvalidRecord
from potnode.spec.hashing import sha256, sha256d
from potnode.spec.parent import is_block, standalone_parent
from potnode.spec.record import (
    MinerRow,
    StepRecord,
    TemplateRow,
    decode_record,
    entry_header,
    verify_work,
)
from potnode.spec.vectors.shares import COMMITMENT
from potnode.trainer import TrainingShare
from tests.audit.conftest import Run, audit, where
from tests.audit.merged import NBITS_LE, SCRIPTS, SOLO, ParentWork, parent_work, root_of
from tests.audit.operating import PLAIN, Operated, Operator, plain_template
from tests.audit.serving import rpc_server

SIBLINGS = range(1, 13)
FIRST, SECOND, THIRD = (sha256(f"block {n}".encode()) for n in range(3))
# Which siblings' shares are blocks, by step.
BLOCKS = {0: {4}, 1: {7, 12}}


@dataclass
class Merged:
    """A job with two steps of merge-mined shares, the second of them with standalone ones too."""

    job: Operated
    works: dict[TemplateRow, ParentWork]
    blocks: dict[int, list[bytes]]


def shown(hash_: bytes) -> str:
    return hash_[::-1].hex()


def _miner(siblings: int) -> MinerRow:
    return SOLO[siblings % len(SOLO)]


def _admit(job: Operated, shares: list[TrainingShare]) -> None:
    for share in shares:
        job.trainer.admit(share, durable=True)


def _mine(job: Operated, parent: ParentWork, siblings: int) -> TrainingShare:
    wanted = siblings in BLOCKS[job.trainer.step]

    def accept(hash_: bytes) -> bool:
        return is_block(hash_, NBITS_LE) == wanted

    return job.mine(parent.row, _miner(siblings), job.trainer.step, accept=accept)


@pytest.fixture(scope="module")
def merged(operator: Operator) -> Merged:
    job = operator.create(population=12, step_limit=2, validate_every=1)
    works: dict[TemplateRow, ParentWork] = {}
    blocks: dict[int, list[bytes]] = {}
    for step, parents in enumerate(((FIRST, SECOND), (SECOND, THIRD))):
        shares = []
        for siblings in SIBLINGS:
            parent = parent_work(parents[siblings > 6], siblings, tag=step)
            works[parent.row] = parent
            shares.append(_mine(job, parent, siblings))
        if step == 1:
            # All that is standalone here would be blocks, were its parent one.
            row = replace(
                plain_template(), prev_hash_le=standalone_parent(job.job_id), nbits_le=NBITS_LE
            )
            shares[:2] = [
                job.mine(row, PLAIN, step, accept=lambda hash_: is_block(hash_, NBITS_LE))
                for _ in range(2)
            ]
        blocks[step] = [shares[siblings - 1].hash for siblings in BLOCKS[step]]
        _admit(job, shares)
        job.close()
    return Merged(job, works, blocks)


def _recorded(operator: Operator, job: Operated) -> Iterator[tuple[StepRecord, bytes]]:
    """Each record as the chain has it, and the work its shares commit to."""
    head = work.head_zero(job.job_id)
    for step in reader.read_steps(operator.ledger, reader.read_job(operator.ledger, job.job_id)):
        record = decode_record(step.step_data, job.params)
        yield record, work.work_id(job.job_id, record.step, head)
        head = work.next_head(head, step.step_data)


def test_the_chain_has_whole_branches_and_every_miners_own_script(
    operator: Operator, merged: Merged
) -> None:
    first, second = (record for record, _ in _recorded(operator, merged.job))
    assert len(first.entries) == len(second.entries) == len(SIBLINGS)
    assert sorted(len(row.branch) for row in first.templates) == list(SIBLINGS)
    assert sorted(len(row.branch) for row in second.templates) == [1, *SIBLINGS[2:]]
    assert {row.script for row in first.miners} == set(SCRIPTS)


def test_a_recorded_header_is_of_the_block_with_all_its_transactions(
    operator: Operator, merged: Merged
) -> None:
    checked = 0
    for record, commitment in _recorded(operator, merged.job):
        for i, entry in enumerate(record.entries):
            row, miner = record.templates[entry.template], record.miners[entry.miner]
            if row not in merged.works:
                continue
            marker = work.marker(commitment, miner.miner, miner.bits)
            coinbase = work.fill_coinbase(
                row.coinbase, row.script_at, entry.extranonce, marker, miner.script
            )
            assert bytes([len(miner.script)]) + miner.script in coinbase
            assert coinbase.index(COMMITMENT) < coinbase.index(work.MARKER_PREFIX + marker)
            header = entry_header(record, i, {0: commitment}.__getitem__)
            assert header[36:68] == root_of([sha256d(coinbase), *merged.works[row].txids])
            checked += 1
    assert checked == 22


def _with_template(
    record: StepRecord, at: int, change: Callable[[TemplateRow], TemplateRow]
) -> StepRecord:
    templates = list(record.templates)
    templates[at] = change(templates[at])
    return replace(record, templates=tuple(templates))


def _flipped(data: bytes, bit: int) -> bytes:
    return (int.from_bytes(data, "big") ^ 1 << bit).to_bytes(len(data), "big")


def _deepest(record: StepRecord) -> int:
    return max(range(12), key=lambda at: len(record.templates[at].branch))


def _sibling(record: StepRecord, bit: int, depth: int) -> StepRecord:
    def change(row: TemplateRow) -> TemplateRow:
        branch = list(row.branch)
        branch[depth] = _flipped(branch[depth], bit)
        return replace(row, branch=tuple(branch))

    return _with_template(record, _deepest(record), change)


def _script(record: StepRecord, bit: int) -> StepRecord:
    miners = list(record.miners)
    miners[0] = replace(miners[0], script=_flipped(miners[0].script, bit))
    return replace(record, miners=tuple(miners))


SPOILED: dict[str, Callable[[StepRecord, int], StepRecord]] = {
    "the lowest sibling": lambda record, bit: _sibling(record, bit, 0),
    "the highest sibling": lambda record, bit: _sibling(record, bit, 11),
    "one sibling less": lambda record, bit: _with_template(
        record, (_deepest(record) + bit) % 12, lambda row: replace(row, branch=row.branch[:-1])
    ),
    "the parent": lambda record, bit: _with_template(
        record, 0, lambda row: replace(row, prev_hash_le=_flipped(row.prev_hash_le, bit))
    ),
    "the nbits": lambda record, bit: _with_template(
        record, 0, lambda row: replace(row, nbits_le=_flipped(row.nbits_le, bit))
    ),
    "the witness commitment": lambda record, bit: _with_template(
        record,
        0,
        lambda row: replace(
            row,
            coinbase=row.coinbase.replace(bytes(range(32)), _flipped(bytes(range(32)), bit)),
        ),
    ),
    "a miner's script": _script,
}


@pytest.mark.parametrize("what", SPOILED)
def test_the_contract_takes_no_spoiled_proof(operator: Operator, what: str) -> None:
    job = operator.create(population=12, step_limit=2)
    _admit(job, [_mine(job, parent_work(FIRST, n), n) for n in SIBLINGS])
    spoil = SPOILED[what]
    with pytest.raises(RecordRefused, match=r"EntriesNotAscending|HashAboveTarget"):
        job.close(lambda record: next(_without_work(job, record, spoil)))
    assert job.records == []
    job.close()  # and takes the right one
    assert len(job.records) == 1


def _without_work(
    job: Operated, record: StepRecord, spoil: Callable[[StepRecord, int], StepRecord]
) -> Iterator[StepRecord]:
    """Spoiled so that a share is lost: one changed hash in hundreds is a share by luck."""
    commitment = job.trainer.work()
    for bit in range(8):
        spoiled = spoil(record, bit)
        try:
            verify_work(spoiled, lambda _: commitment)
        except InvalidRecord:
            yield spoiled


@pytest.mark.usefixtures("quick_engine")
def test_the_audit_names_parents_and_blocks(operator: Operator, merged: Merged) -> None:
    report = audit(operator, merged.job.job_id)
    assert report.findings == []
    document = report.document()
    standalone = standalone_parent(merged.job.job_id)
    by_hash = {parent.pop("hash"): parent for parent in document["parents"]}
    assert by_hash == {
        shown(hash_): {
            "standalone": hash_ == standalone,
            "first_step": first,
            "last_step": last,
            "shares": shares,
        }
        for hash_, first, last, shares in (
            (FIRST, 0, 0, 6),
            (SECOND, 0, 1, 6 + 4),
            (THIRD, 1, 1, 6),
            (standalone, 1, 1, 2),
        )
    }
    for block in document["blocks"]:
        step, index = block["step"], block["index"]
        assert block["hash"] == shown(merged.job.closed[step].hashes[index])
        record = merged.job.records[step]
        row = record.templates[record.entries[index].template]
        assert block["parent"] == shown(row.prev_hash_le)
    for step, hashes in merged.blocks.items():
        found = {block["hash"] for block in document["blocks"] if block["step"] == step}
        assert found == {shown(hash_) for hash_ in hashes}


def test_the_command_shows_parents_and_blocks(
    run: Run, chain: EmbeddedChain, operator: Operator, merged: Merged
) -> None:
    with rpc_server(chain) as url:
        code, text, _ = run("audit", merged.job.job_id.hex(), *where(operator, url))
        json_code, out, _ = run("audit", merged.job.job_id.hex(), *where(operator, url), "--json")
    assert code == json_code == 0
    lines = text.splitlines()
    at = lines.index("parent blocks: 3, and standalone work")
    assert set(lines[at + 1 : at + 4]) == {
        f"  {shown(FIRST)} in step 0, shares: 6",
        f"  {shown(SECOND)} in steps 0 to 1, shares: 10",
        f"  {shown(THIRD)} in step 1, shares: 6",
    }
    assert lines[at + 4] == "shares that were blocks themselves, by their headers' nbits: 3"
    blocks = [hash_ for hashes in merged.blocks.values() for hash_ in hashes]
    assert {line.split()[0] for line in lines[at + 5 :]} == {shown(hash_) for hash_ in blocks}
    assert len(json.loads(out)["parents"]) == 4
    assert {block["hash"] for block in json.loads(out)["blocks"]} == {shown(h) for h in blocks}
