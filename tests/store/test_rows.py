from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from potnode.store import EntryResult, InvalidRow
from tests.store.samples import TEMPLATE, checkpoint, digest, job, share, step_row, template


def test_a_template_is_known_by_its_content() -> None:
    record = template(3)
    row = (
        record.prev_hash_le
        + record.nbits_le
        + bytes([0, 130])
        + bytes([0, 200])
        + record.coinbase
        + b"".join(record.branch)
    )
    assert len(record.branch) == 3
    assert record.template_id == hashlib.sha256(row).digest()
    changed = [
        replace(record, prev_hash_le=digest("x")),
        replace(record, nbits_le=bytes(4)),
        replace(record, script_at=0),
        replace(record, coinbase=bytes(199)),
        replace(record, branch=record.branch[:2]),
    ]
    assert len({one.template_id for one in [record, *changed]}) == 6


ENTRY = EntryResult(hash=digest("h"), index=0, losses=(0,), coefficients=(0,))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda: replace(job(), job_id=bytes(31)), "job.job_id"),
        (lambda: replace(job(), contract=bytes(32)), "job.contract"),
        (lambda: replace(job(), chain_id=-1), "job.chain_id"),
        (lambda: replace(job(), chain_id=1 << 63), "job.chain_id"),
        (lambda: replace(job(), created_at=1 << 63), "job.created_at"),
        (lambda: replace(job(), created_tx=b""), "job.created_tx"),
        (lambda: replace(TEMPLATE, prev_hash_le=bytes(33)), "template.prev_hash_le"),
        (lambda: replace(TEMPLATE, nbits_le=bytes(3)), "template.nbits_le"),
        (lambda: replace(TEMPLATE, script_at=1 << 16), "template.script_at"),
        (lambda: replace(TEMPLATE, coinbase=bytes(756)), "template.coinbase"),
        (lambda: replace(TEMPLATE, branch=(bytes(32),) * 17), "template.branch"),
        (lambda: replace(TEMPLATE, branch=(bytes(31),)), "template.branch"),
        (lambda: replace(share(1), hash=bytes(31)), "share.hash"),
        (lambda: replace(share(1), job_id=bytes(33)), "share.job_id"),
        (lambda: replace(share(1), work_step=1 << 32), "share.work_step"),
        (lambda: replace(share(1), miner=bytes(32)), "share.miner"),
        (lambda: replace(share(1), bits=256), "share.bits"),
        (lambda: replace(share(1), bits=-1), "share.bits"),
        (lambda: replace(share(1), extranonce=bytes(12)), "share.extranonce"),
        (lambda: replace(share(1), version_le=bytes(5)), "share.version_le"),
        (lambda: replace(share(1), ntime_le=b""), "share.ntime_le"),
        (lambda: replace(share(1), nonce_le=bytes(8)), "share.nonce_le"),
        (lambda: replace(share(1), received_at=-1), "share.received_at"),
        (lambda: replace(share(1), script=bytes(253)), "share.script"),
        (lambda: replace(share(1), worker="x" * 129), "share.worker"),
        (lambda: replace(share(1), worker="a\0b"), "share.worker"),
        (lambda: replace(share(1), worker="\ud800"), "share.worker"),
        (lambda: replace(ENTRY, hash=b""), "entry.hash"),
        (lambda: replace(ENTRY, index=1 << 16), "entry.index"),
        (lambda: replace(ENTRY, losses=(1 << 40,)), "entry.losses[0]"),
        (lambda: replace(ENTRY, losses=(0, -1), coefficients=(0, 0)), "entry.losses[1]"),
        (lambda: replace(ENTRY, losses=(), coefficients=()), "entry.losses"),
        (lambda: replace(ENTRY, losses=(0,) * 65, coefficients=(0,) * 65), "entry.losses"),
        (lambda: replace(ENTRY, losses=(0, 0)), "entry.coefficients"),
        (lambda: replace(ENTRY, coefficients=(-128,)), "entry.coefficients[0]"),
        (lambda: replace(ENTRY, coefficients=(128,)), "entry.coefficients[0]"),
        (lambda: replace(step_row(0), job_id=b""), "step.job_id"),
        (lambda: replace(step_row(0), step=1 << 32), "step.step"),
        (lambda: replace(step_row(0), prev_head=b""), "step.prev_head"),
        (lambda: replace(step_row(0), head=b""), "step.head"),
        (lambda: replace(step_row(0), state_root=b""), "step.state_root"),
        (lambda: replace(step_row(0), closed_at=-1), "step.closed_at"),
        (lambda: replace(step_row(0), hits=None), "step.hits"),
        (lambda: replace(step_row(0), hits=1 << 32), "step.hits"),
        (lambda: replace(step_row(0), validation_loss=1 << 40), "step.validation_loss"),
        (lambda: replace(checkpoint(0), job_id=b""), "checkpoint.job_id"),
        (lambda: replace(checkpoint(0), step=-1), "checkpoint.step"),
        (lambda: replace(checkpoint(0), head=b""), "checkpoint.head"),
        (lambda: replace(checkpoint(0), state_root=b""), "checkpoint.state_root"),
        (lambda: replace(checkpoint(0), momenta_le=b""), "checkpoint.masters_le"),
        (
            lambda: replace(checkpoint(0), masters_le=b"a", momenta_le=b"b"),
            "checkpoint.masters_le",
        ),
    ],
)
def test_values_that_do_not_fit(change: Callable[[], Any], field: str) -> None:
    with pytest.raises(InvalidRow) as caught:
        change()
    assert caught.value.field == field
    assert str(caught.value).startswith(field)


def test_the_largest_values_fit() -> None:
    replace(share(1), work_step=(1 << 32) - 1, bits=255, script=bytes(252), worker="x" * 128)
    replace(ENTRY, index=511, losses=((1 << 40) - 1,) * 64, coefficients=(-127,) * 64)
    replace(TEMPLATE, coinbase=bytes(755), branch=(bytes(32),) * 16)
