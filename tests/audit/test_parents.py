"""Parents: what records say of the blocks their shares were mined on, and how much is shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potnode.audit.parents import SHOWN, Parents
from potnode.spec.hashing import sha256
from potnode.spec.parent import standalone_parent
from potnode.spec.record import Entry, MinerRow, StepRecord, TemplateRow
from tests.audit.conftest import audit
from tests.audit.operating import STEPS, Operated, Operator
from tests.audit.test_auditor import entry_loss
from tests.builders import make_template

JOB = sha256(b"job")
STANDALONE = standalone_parent(JOB)
EASY = bytes.fromhex("ffff7f20")  # regtest: half of all hashes are blocks
LOW, HIGH = bytes(32), b"\xff" * 32


def shown(hash_: bytes) -> str:
    return hash_[::-1].hex()


def block(number: int) -> bytes:
    return sha256(b"block %d" % number)


def row(parent: bytes, *, age: int = 0, nbits_le: bytes = EASY) -> TemplateRow:
    return replace(make_template(), prev_hash_le=parent, age=age, nbits_le=nbits_le)


def record(step: int, *rows: TemplateRow) -> StepRecord:
    """One entry a row."""
    entries = [Entry(i, 0, bytes(16), bytes(4), bytes(4), bytes(4), (0,)) for i in range(len(rows))]
    return StepRecord(JOB, step, (MinerRow(bytes(20), 4),), rows, tuple(entries), None, bytes(32))


def lines(parents: Parents) -> list[str]:
    return list(parents.lines())


def test_before_the_first_step_there_is_nothing_to_say() -> None:
    assert lines(Parents()) == []
    assert Parents().document() == {"parents": [], "blocks": []}


def test_standalone_work_has_no_parent_and_finds_no_block() -> None:
    parents = Parents()
    parents.count(record(0, row(STANDALONE)), [LOW])
    assert lines(parents) == ["parent blocks: none, all work was standalone"]
    assert parents.blocks == []
    (only,) = parents.document()["parents"]
    assert (only["hash"], only["standalone"]) == (shown(STANDALONE), True)


def test_another_jobs_standalone_parent_is_a_parent_like_any() -> None:
    other = standalone_parent(sha256(b"other job"))
    parents = Parents()
    parents.count(record(0, row(other)), [LOW])
    assert [found.prev_hash_le for found in parents.blocks] == [other]


def test_a_block_is_a_share_that_meets_its_own_headers_target() -> None:
    parents = Parents()
    negative = bytes.fromhex("ffffff20")
    parents.count(
        record(3, row(block(1)), row(block(1)), row(block(2), nbits_le=negative)), [LOW, HIGH, LOW]
    )
    assert parents.document()["blocks"] == [
        {"hash": shown(LOW), "step": 3, "index": 0, "parent": shown(block(1))}
    ]
    assert lines(parents)[-2:] == [
        "shares that were blocks themselves, by their headers' nbits: 1",
        f"  {shown(LOW)} in step 3, entry 0",
    ]


def test_within_a_step_older_work_comes_first() -> None:
    parents = Parents()
    parents.count(record(5, row(block(2)), row(block(0), age=2), row(block(1), age=1)), [HIGH] * 3)
    assert list(parents.found) == [block(0), block(1), block(2)]
    assert lines(parents)[0] == "parent blocks: 3"
    assert lines(parents)[-1] == "none of the shares was a block itself"


@pytest.mark.parametrize("count", [1, 2 * SHOWN, 2 * SHOWN + 1, 2 * SHOWN + 2, 500])
def test_a_text_is_short_and_a_document_is_whole(count: int) -> None:
    parents = Parents()
    for step in range(count):
        parents.count(record(step, row(block(step))), [block(step)[:31] + b"\0"])
    said = lines(parents)
    assert said[0] == f"parent blocks: {count}"
    between = count - 2 * SHOWN
    listed = count if between <= 1 else 2 * SHOWN
    assert len(said) == 2 + 2 * (listed + (between > 1))
    assert said[1] == f"  {shown(block(0))} in step 0, shares: 1"
    assert said[listed + (between > 1)].startswith(f"  {shown(block(count - 1))} ")
    assert said.count(f"  ... {between} more ...") == (2 if between > 1 else 0)
    document = parents.document()
    assert len(document["parents"]) == len(document["blocks"]) == count


SHARES = st.lists(
    st.tuples(
        st.sampled_from([STANDALONE, block(0), block(1), block(2)]),
        st.sampled_from([EASY, bytes.fromhex("ffff001d"), bytes(4)]),
        st.binary(min_size=32, max_size=32),
    ),
    min_size=1,
    max_size=6,
)


@given(st.lists(SHARES, max_size=6))
def test_every_share_is_counted_once(steps: list[list[tuple[bytes, bytes, bytes]]]) -> None:
    parents = Parents()
    expected: dict[str, list[int]] = {}
    for step, shares in enumerate(steps):
        rows = [row(parent, nbits_le=nbits_le) for parent, nbits_le, _ in shares]
        parents.count(record(step, *rows), [hash_ for _, _, hash_ in shares])
        for parent, _, _ in shares:
            expected.setdefault(shown(parent), []).append(step)
    found: list[dict[str, Any]] = parents.document()["parents"]
    assert {each["hash"]: each["shares"] for each in found} == {
        hash_: len(steps) for hash_, steps in expected.items()
    }
    for each in found:
        assert each["first_step"] == min(expected[each["hash"]])
        assert each["last_step"] == max(expected[each["hash"]])
        assert each["standalone"] == (each["hash"] == shown(STANDALONE))
    blocks = {(found.step, found.index) for found in parents.blocks}
    for step, shares in enumerate(steps):
        for index, (parent, nbits_le, hash_) in enumerate(shares):
            # Of the three targets, a hash that is not small by luck meets the easy one alone.
            easy = nbits_le == EASY and hash_[31] < 0x7F
            if hash_[31] not in (0, 0x7F):
                assert ((step, index) in blocks) == (easy and parent != STANDALONE)


def test_the_parents_of_a_job(operator: Operator, honest: Operated) -> None:
    report = audit(operator, honest.job_id)
    (parent,) = report.document()["parents"]
    assert parent == {
        "hash": shown(sha256(b"parent")),
        "standalone": False,
        "first_step": 0,
        "last_step": STEPS - 1,
        "shares": report.shares,
    }
    assert f"\n  {parent['hash']} in steps 0 to {STEPS - 1}, shares: {report.shares}\n" in (
        report.text()
    )


@pytest.mark.usefixtures("quick_engine")
def test_steps_that_are_wrong_say_nothing_of_parents(operator: Operator) -> None:
    job = operator.create().train(1)
    job.train(1, entry_loss(2, 1))
    report = audit(operator, job.job_id)
    assert not report.passed
    (parent,) = report.document()["parents"]
    assert (parent["last_step"], parent["shares"]) == (0, job.params.population)
