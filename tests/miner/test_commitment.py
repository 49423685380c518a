from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potnode.miner.commitment import check_commitment
from potnode.miner.errors import CommitmentError
from potnode.spec.work import MARKER_PREFIX, marker, work_id
from stratum.client import ClientJob
from stratum.difficulty import difficulty_from_bits, target_from_difficulty

ME, SOMEBODY = bytes.fromhex("ab" * 20), bytes.fromhex("cd" * 20)
JOB_ID, HEAD, STEP, BITS = bytes(range(32)), bytes(range(32, 64)), 77, 20
WORK = work_id(JOB_ID, STEP, HEAD)


def a_job(in_marker: bytes | None = None, bits: int = BITS) -> ClientJob:
    difficulty = difficulty_from_bits(bits)
    in_marker = marker(WORK, ME, bits) if in_marker is None else in_marker
    return ClientJob(
        job_id="1",
        prev_hash_le=bytes(32),
        coinb1=b"\x02\0\0\0\x01" + bytes(32) + b"\xff" * 4 + b"\x14" + b"\x03abc" + b"cntr",
        coinb2=b"\xff" * 4 + b"\x01" + bytes(8) + b"\x26" + MARKER_PREFIX + in_marker + bytes(4),
        branch=(),
        version=0x20000000,
        nbits=0x1D00FFFF,
        ntime=1_700_000_000,
        clean=True,
        difficulty=difficulty,
        target=target_from_difficulty(difficulty),
        extranonce1=b"enc1",
        extranonce2_size=8,
        version_mask=0,
    )


def a_reply(**changes: Any) -> dict[str, Any]:
    return {
        "job": JOB_ID.hex(),
        "step": STEP,
        "head": HEAD.hex(),
        "work": WORK.hex(),
        "miner": "0x" + ME.hex(),
        "bits": BITS,
    } | changes


def refused(reply: object, job: ClientJob, address: bytes = ME) -> str:
    with pytest.raises(CommitmentError) as caught:
        check_commitment(reply, job, address)
    assert caught.value.field in str(caught.value)
    return caught.value.field


@given(bits=st.integers(0, 255))
def test_accepts_its_own_work_at_any_difficulty(bits: int) -> None:
    assert check_commitment(a_reply(bits=bits), a_job(bits=bits), ME).bits == bits


def test_reads_hex_with_and_without_0x_in_either_case() -> None:
    reply = a_reply(work="0x" + WORK.hex().upper(), miner="0x" + ME.hex().upper())
    assert check_commitment(reply, a_job(), ME).step == STEP


def test_refuses_work_for_another_address() -> None:
    assert refused(a_reply(), a_job(), SOMEBODY) == "miner"
    assert refused(a_reply(miner="0x" + SOMEBODY.hex()), a_job()) == "miner"
    # The pool says it is ours, and the coinbase says it is not.
    assert refused(a_reply(), a_job(marker(WORK, SOMEBODY, BITS))) == "marker"


@pytest.mark.parametrize(
    "change", [{"job": HEAD.hex()}, {"step": STEP + 1}, {"head": JOB_ID.hex()}, {"work": "0" * 64}]
)
def test_refuses_work_that_is_not_made_of_what_is_stated(change: dict[str, Any]) -> None:
    assert refused(a_reply(**change), a_job()) == "work"


def test_refuses_a_marker_of_other_work() -> None:
    other = work_id(JOB_ID, STEP + 1, HEAD)
    assert refused(a_reply(), a_job(marker(other, ME, BITS))) == "marker"
    assert refused(a_reply(step=STEP + 1, work=other.hex()), a_job()) == "marker"


def test_refuses_other_bits_than_the_difficulty_set() -> None:
    assert refused(a_reply(bits=BITS + 1), a_job()) == "bits"
    # Paid by 2^19 for hashing at 2^20.
    assert refused(a_reply(), a_job(marker(WORK, ME, BITS - 1))) == "marker"
    assert refused(a_reply(), replace(a_job(), target=a_job().target - 1)) == "bits"


@given(at=st.integers(0, 31), flip=st.integers(1, 255))
def test_refuses_a_marker_with_any_byte_changed(at: int, flip: int) -> None:
    changed = bytearray(marker(WORK, ME, BITS))
    changed[at] ^= flip
    assert refused(a_reply(), a_job(bytes(changed))) == "marker"


@pytest.mark.parametrize(
    ("field", "spoil"),
    [
        ("coinbase", lambda job: replace(job, coinb2=job.coinb2 + b"\0")),
        ("coinbase", lambda job: replace(job, coinb2=job.coinb2.replace(b"POT1", b"POT2"))),
        ("coinbase", lambda job: replace(job, coinb1=job.coinb1[:20])),
        # Two bytes of script after our extranonce: no record could say where it stands.
        (
            "extranonce",
            lambda job: replace(
                job, coinb1=job.coinb1.replace(b"\x14", b"\x16"), coinb2=b"xx" + job.coinb2
            ),
        ),
    ],
)
def test_refuses_a_coinbase_no_record_could_hold(
    field: str, spoil: Callable[[ClientJob], ClientJob]
) -> None:
    assert refused(a_reply(), spoil(a_job())) == field


@pytest.mark.parametrize(
    "reply",
    [
        None,
        [],
        {},
        a_reply(step=-1),
        a_reply(step="77"),
        a_reply(bits=256),
        a_reply(bits=20.5),
        a_reply(head="00"),
        a_reply(work="g" * 64),
        a_reply(miner=ME.hex()),
        a_reply(miner="0x" + ME.hex() + "00"),
    ],
)
def test_refuses_a_reply_of_another_form(reply: object) -> None:
    assert refused(reply, a_job()) == "reply"
