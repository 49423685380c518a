"""Shares between the trainer and the store: a share in training as a row, and a row as one again.

The two packages do not know each other; what one writes, a restart has to give back to the other.
"""

from __future__ import annotations

from potnode.spec.record import MinerRow, TemplateRow
from potnode.store.rows import ShareRow, TemplateRecord
from potnode.trainer import TrainingShare


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
    share: TrainingShare, job_id: bytes, *, worker: str, received_at: int, is_block: bool
) -> ShareRow:
    """An admitted share as it is stored.

    Args:
        received_at: nanoseconds since 1970 UTC. is_block: its hash met the parent chain's target.
    """
    return ShareRow(
        hash=share.hash,
        job_id=job_id,
        work_step=share.work_step,
        miner=share.miner.miner,
        worker=worker,
        bits=share.miner.bits,
        script=share.miner.script,
        template=template_record(share.template),
        extranonce=share.extranonce,
        version_le=share.version_le,
        ntime_le=share.ntime_le,
        nonce_le=share.nonce_le,
        received_at=received_at,
        is_block=is_block,
    )


def training_share(row: ShareRow) -> TrainingShare:
    """A stored share as the trainer had it."""
    return TrainingShare(
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
