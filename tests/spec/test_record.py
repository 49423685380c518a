from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potnode.spec import work
from potnode.spec.errors import InvalidRecord
from potnode.spec.hashing import sha256
from potnode.spec.record import (
    Entry,
    MinerRow,
    StepRecord,
    canonical_order,
    check_record,
    decode_record,
    encode_record,
    entry_header,
    entry_size,
    pay,
    verify_work,
)
from potnode.spec.vectors.faults import Fault, faults, refused_at
from potnode.spec.vectors.ledger import PLANS, Ledger, run_job

FOUR = run_job(PLANS[1])
EDGES = run_job(PLANS[4])
SEVERAL = run_job(PLANS[5])
FAULTS = faults(FOUR)
CASES = [(ledger, step) for ledger in (FOUR, EDGES, SEVERAL) for step in range(len(ledger.records))]


def test_every_golden_record_is_decoded_and_its_work_verified(ledgers: dict[str, Ledger]) -> None:
    for ledger in ledgers.values():
        for step, data in enumerate(ledger.step_data):
            record = decode_record(data, ledger.params)
            assert record == ledger.records[step]
            assert encode_record(record) == data
            hashes = verify_work(record, ledger.work_of_age(step))
            assert hashes == ledger.hashes[step]
            assert hashes == sorted(set(hashes))
            for i, hash_ in enumerate(hashes):
                header = entry_header(record, i, ledger.work_of_age(step))
                bits = record.miners[record.entries[i].miner].bits
                assert work.share_hash(header) == hash_
                assert int.from_bytes(hash_[::-1], "big") <= work.target(bits)


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.what for fault in FAULTS])
def test_a_faulty_record_is_refused_where_the_fault_is(fault: Fault) -> None:
    assert refused_at(FOUR, fault) == fault.field


def test_the_layout_is_the_documented_one() -> None:
    record = FOUR.records[2]
    data, at = FOUR.step_data[2], 0

    def take(size: int) -> bytes:
        nonlocal at
        at += size
        return data[at - size : at]

    assert take(1) == b"\x01"
    assert take(32) == FOUR.job
    assert take(4) == (2).to_bytes(4, "big")
    assert take(2) == len(record.miners).to_bytes(2, "big")
    for miner in record.miners:
        assert take(20) == miner.miner
        assert take(2) == bytes([miner.bits, len(miner.script)])
        assert take(len(miner.script)) == miner.script
    assert take(1) == bytes([len(record.templates)])
    for template in record.templates:
        assert take(1) == bytes([template.age])
        assert take(36) == template.prev_hash_le + template.nbits_le
        assert take(2) == template.script_at.to_bytes(2, "big")
        assert take(2) == len(template.coinbase).to_bytes(2, "big")
        assert take(len(template.coinbase)) == template.coinbase
        assert take(1) == bytes([len(template.branch)])
        assert take(32 * len(template.branch)) == b"".join(template.branch)
    for entry in record.entries:
        assert take(entry_size(1)) == (
            bytes([entry.template])
            + entry.miner.to_bytes(2, "big")
            + entry.extranonce
            + entry.version_le
            + entry.ntime_le
            + entry.nonce_le
            + entry.losses[0].to_bytes(5, "big")
        )
    assert take(32) == bytes(32)
    assert record.validation is not None
    assert take(5) == record.validation.loss.to_bytes(5, "big")
    assert take(4) == record.validation.hits.to_bytes(4, "big")
    assert take(32) == record.state_root
    assert at == len(data)


def test_an_entry_has_the_losses_of_all_candidates_of_its_share() -> None:
    assert [len(record.entries) for record in SEVERAL.records] == [1, 1, 2, 2, 3, 3]
    data, record = SEVERAL.step_data[5], SEVERAL.records[5]  # a validation step
    tail = 32 + 9 + 32
    assert entry_size(4) == 51
    for i, entry in enumerate(record.entries):
        at = len(data) - tail - (3 - i) * 51 + 31
        losses = [data[at + 5 * j : at + 5 * j + 5] for j in range(4)]
        assert [int.from_bytes(loss, "big") for loss in losses] == list(entry.losses)
        assert len(set(entry.losses)) > 1


@given(st.binary(min_size=32, max_size=32))
def test_any_data_root_passes(root: bytes) -> None:
    record = replace(FOUR.records[2], data_root=root)
    decoded = decode_record(encode_record(record), FOUR.params)
    assert decoded == record
    assert verify_work(decoded, FOUR.work_of_age(2)) == FOUR.hashes[2]


@settings(max_examples=600)
@given(st.sampled_from(CASES), st.data())
def test_only_canonical_bytes_decode(case: tuple[Ledger, int], data: st.DataObject) -> None:
    ledger, step = case
    good = ledger.step_data[step]
    at = data.draw(st.integers(0, len(good) - 1))
    removed = data.draw(st.integers(0, 40))
    mutated = good[:at] + data.draw(st.binary(max_size=40)) + good[at + removed :]
    try:
        record = decode_record(mutated, ledger.params)
    except InvalidRecord:
        return
    assert encode_record(record) == mutated


def test_every_byte_changed_is_refused_or_another_record() -> None:
    for step, good in enumerate(FOUR.step_data):
        for at in range(len(good)):
            mutated = good[:at] + bytes([good[at] ^ 0x41]) + good[at + 1 :]
            try:
                record = decode_record(mutated, FOUR.params)
            except InvalidRecord:
                continue
            assert record != FOUR.records[step]
            assert encode_record(record) == mutated


def test_every_byte_a_share_commits_to_is_bound_by_its_hash() -> None:
    record = FOUR.records[2]
    entry = record.entries[0]
    for field in ("extranonce", "version_le", "ntime_le", "nonce_le"):
        value = getattr(entry, field)
        for at in range(len(value)):
            changed: Any = value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]
            moved = replace(entry, **{field: changed})
            other = replace(record, entries=(moved, *record.entries[1:]))
            header = entry_header(other, 0, FOUR.work_of_age(2))
            assert work.share_hash(header) != FOUR.hashes[2][0]


def test_a_row_made_by_hand_is_checked_like_one_decoded() -> None:
    record = FOUR.records[2]
    two = replace(record.entries[0], losses=(1, 2))
    long_branch = replace(record.templates[0], branch=(bytes(32),) * 17)
    for changed, field in (
        (replace(record, templates=(long_branch, *record.templates[1:])), "templates[0].branch"),
        (replace(record, validation=None), "validation"),
        (replace(record, entries=record.entries[:-1]), "entries"),
        (replace(record, entries=(two, *record.entries[1:])), "entries[0].losses"),
        (replace(record, data_root=bytes(31)), "data_root"),
        (replace(record, miners=record.miners * 400), "miners"),
    ):
        with pytest.raises(InvalidRecord) as caught:
            check_record(changed, FOUR.params)
        assert caught.value.field == field
        assert str(caught.value) == f"{field}: {caught.value.problem}"


def _shares(record: StepRecord, hashes: list[bytes]) -> list[tuple[bytes, object, object, Entry]]:
    return [
        (h, record.templates[e.template], record.miners[e.miner], replace(e, template=9, miner=9))
        for h, e in zip(hashes, record.entries, strict=True)
    ]


@settings(max_examples=50)
@given(st.randoms(use_true_random=False))
def test_shares_in_any_order_make_one_record(random) -> None:  # type: ignore[no-untyped-def]
    for ledger, step in CASES:
        record = ledger.records[step]
        shares = _shares(record, ledger.hashes[step])
        random.shuffle(shares)
        assert (
            canonical_order(ledger.job, step, shares, record.validation, record.state_root)  # type: ignore[arg-type]
            == record
        )


@given(
    st.lists(st.tuples(st.integers(0, 127), st.integers(1, 9)), min_size=1, max_size=9), st.data()
)
def test_pay_is_in_proportion_to_agreed_work(
    rows: list[tuple[int, int]], data: st.DataObject
) -> None:
    pot = data.draw(st.integers(0, 2**128 - 1))
    miners = tuple(MinerRow(bytes([i] * 20), bits) for i, (bits, _) in enumerate(rows))
    entries = tuple(
        Entry(0, i, bytes(16), bytes(4), bytes(4), bytes(4), (0,))
        for i, (_, count) in enumerate(rows)
        for _ in range(count)
    )
    record = StepRecord(bytes(32), 0, miners, (), entries, None, bytes(32))
    paid = pay(record, pot)
    total = sum(count * 2**bits for bits, count in rows)
    for amount, (bits, count) in zip(paid, rows, strict=True):
        share = Fraction(pot * count * 2**bits, total)
        assert amount <= share < amount + 1
    assert 0 <= pot - sum(paid) < len(rows)


def test_an_entry_whose_coinbase_cannot_be_built_is_named() -> None:
    record = FOUR.records[0]
    scripted = next(i for i, e in enumerate(record.entries) if record.miners[e.miner].script)
    bare = tuple(replace(row, script=b"") for row in record.miners)
    with pytest.raises(InvalidRecord, match=rf"entries\[{scripted}\]\.coinbase"):
        entry_header(replace(record, miners=bare), scripted, lambda _: sha256(b"work"))
