"""Rows to store: valid in shape, meaningless otherwise."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from potnode.store import Checkpoint, EntryResult, JobRow, ShareRow, StepRow, TemplateRecord


def digest(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()


JOB_ID = digest("job")
OTHER_JOB_ID = digest("other job")
MINERS = [digest("miner", n)[:20] for n in range(4)]


def job(job_id: bytes = JOB_ID) -> JobRow:
    return JobRow(
        job_id=job_id,
        chain_id=1337,
        contract=bytes(range(20)),
        params=b"params" + job_id,
        manifest=b'{"a":1}',
        created_at=1_700_000_000_000_000_000,
    )


def template(n: int = 0) -> TemplateRecord:
    return TemplateRecord(
        prev_hash_le=digest("parent", n),
        nbits_le=bytes.fromhex("ffff001d"),
        script_at=130,
        coinbase=bytes(200),
        branch=tuple(digest("branch", n, at) for at in range(n % 4)),
    )


TEMPLATE = template()


def share(
    n: int,
    *,
    job_id: bytes = JOB_ID,
    miner: bytes = MINERS[0],
    worker: str = "rig",
    bits: int = 40,
    record: TemplateRecord = TEMPLATE,
) -> ShareRow:
    return ShareRow(
        hash=digest("share", n),
        job_id=job_id,
        work_step=n // 4,
        miner=miner,
        worker=worker,
        bits=bits,
        script=b"\x00\x14" + miner,
        template=record,
        extranonce=digest("extranonce", n)[:16],
        version_le=bytes.fromhex("00000020"),
        ntime_le=n.to_bytes(4, "little"),
        nonce_le=digest("nonce", n)[:4],
        received_at=1_700_000_000_000_000_000 + n,
        is_block=n % 5 == 2,
    )


def head(step: int, job_id: bytes = JOB_ID) -> bytes:
    """The head before `step`."""
    return digest("head", job_id, step)


def step_row(step: int, job_id: bytes = JOB_ID) -> StepRow:
    validated = step % 2 == 0
    return StepRow(
        job_id=job_id,
        step=step,
        prev_head=head(step, job_id),
        head=head(step + 1, job_id),
        step_data=b"record" + step.to_bytes(4, "big") * 100,
        state_root=digest("root", job_id, step),
        validation_loss=(1 << 40) - 1 - step if validated else None,
        hits=step if validated else None,
        closed_at=1_700_000_001_000_000_000 + step,
    )


def checkpoint(step: int, job_id: bytes = JOB_ID, weights: int = 100) -> Checkpoint:
    return Checkpoint(
        job_id=job_id,
        step=step,
        head=head(step + 1, job_id),
        state_root=digest("root", job_id, step),
        masters_le=step.to_bytes(4, "little") * weights,
        momenta_le=(step + 1).to_bytes(4, "little") * weights,
    )


def results(hashes: Sequence[bytes], candidates: int = 1) -> list[EntryResult]:
    most = (1 << 40) - 1
    return [
        EntryResult(
            hash=value,
            index=at,
            losses=tuple(most - at - 99 * j for j in range(candidates)),
            coefficients=tuple((at + 7 * j) % 255 - 127 for j in range(candidates)),
        )
        for at, value in enumerate(hashes)
    ]
