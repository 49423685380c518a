"""Shares between the trainer and the store: a candidate as a row, and a row as a candidate again.

The two packages do not know each other; what one writes, a restart has to give back to the other.
"""

from __future__ import annotations

from potnode.spec.record import MinerRow, TemplateRow
from potnode.store.rows import ShareRow, TemplateRecord
from potnode.trainer import Candidate


def template_record(template: TemplateRow) -> TemplateRecord:
    """What is stored of a template; its age is not, being known only when a share of it counts."""
    return TemplateRecord(
        prev_hash_le=template.prev_hash_le,
        nbits_le=template.nbits_le,
        script_at=template.script_at,
        coinbase=template.coinbase,
        branch=template.branch,
    )


def share_row(
    candidate: Candidate, job_id: bytes, *, worker: str, received_at: int, is_block: bool
) -> ShareRow:
    """An admitted candidate as it is stored.

    Args:
        received_at: nanoseconds since 1970 UTC. is_block: its hash met the parent chain's target.
    """
    return ShareRow(
        hash=candidate.hash,
        job_id=job_id,
        work_step=candidate.work_step,
        miner=candidate.miner.miner,
        worker=worker,
        bits=candidate.miner.bits,
        script=candidate.miner.script,
        template=template_record(candidate.template),
        extranonce=candidate.extranonce,
        version_le=candidate.version_le,
        ntime_le=candidate.ntime_le,
        nonce_le=candidate.nonce_le,
        received_at=received_at,
        is_block=is_block,
    )


def candidate_of(row: ShareRow) -> Candidate:
    """A stored share as the candidate it was."""
    return Candidate(
        hash=row.hash,
        work_step=row.work_step,
        template=TemplateRow(
            age=0,
            prev_hash_le=row.template.prev_hash_le,
            nbits_le=row.template.nbits_le,
            script_at=row.template.script_at,
            coinbase=row.template.coinbase,
            branch=row.template.branch,
        ),
        miner=MinerRow(row.miner, row.bits, row.script),
        extranonce=row.extranonce,
        version_le=row.version_le,
        ntime_le=row.ntime_le,
        nonce_le=row.nonce_le,
    )
