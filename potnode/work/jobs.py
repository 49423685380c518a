"""From a template to a miner's Stratum job, and from its share back to a candidate.

The coinbase commits to the training step, the miner and its bits (docs/protocol.md section 2); this
module alone knows both that and Stratum's `Job`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from potnode.spec import work
from potnode.spec.hashing import be32
from potnode.spec.record import MinerRow, TemplateRow
from potnode.work.template import Template
from stratum.difficulty import difficulty_from_bits
from stratum.jobs import Job

COUNTER_SIZE = 4


@dataclass(frozen=True, slots=True)
class Commitment:
    """The training step new templates commit to: its job, number, head before it, and work id."""

    job_id: bytes
    step: int
    head: bytes
    work: bytes


@dataclass(frozen=True, slots=True)
class WorkTag:
    """What a share of a job needs to become a candidate; carried by the job unread."""

    commitment: Commitment
    template: TemplateRow
    miner: MinerRow
    counter: bytes

    def explain(self) -> dict[str, Any]:
        """What the coinbase commits to, for miners that check it (`mining.get_commitment`)."""
        return {
            "job": self.commitment.job_id.hex(),
            "step": self.commitment.step,
            "head": self.commitment.head.hex(),
            "work": self.commitment.work.hex(),
            "miner": "0x" + self.miner.miner.hex(),
            "bits": self.miner.bits,
        }


def template_row(template: Template) -> TemplateRow:
    """What a record keeps of a template; the age is set when a share of it counts."""
    return TemplateRow(
        age=0,
        prev_hash_le=template.prev_hash_le,
        nbits_le=template.nbits.to_bytes(4, "little"),
        script_at=template.script_at,
        coinbase=template.coinbase,
        branch=template.branch,
    )


def build_job(
    template: Template,
    row: TemplateRow,
    commitment: Commitment,
    miner: MinerRow,
    *,
    account: str,
    counter: int,
    clean: bool,
) -> Job:
    """A job for one miner.

    Args:
        row: `template_row(template)`, shared by all miners of the template.
        miner: its address, agreed bits and payout script.
        counter: new in every job (mod 2^32): firmware restarts extranonce2 at each notify, so equal
            coinbases would give duplicate shares.
    """
    counter_bytes = be32(counter & 0xFFFFFFFF)
    marker = work.marker(commitment.work, miner.miner, miner.bits)
    extranonce = counter_bytes + bytes(work.EXTRANONCE_SIZE - COUNTER_SIZE)
    coinbase = work.fill_coinbase(
        template.coinbase, template.script_at, extranonce, marker, miner.script
    )
    # The payout script stands after the scriptSig, so the extranonce's place is the template's.
    extranonce1_at = work.coinbase_form(template.coinbase, template.script_at).extranonce_at
    extranonce1_at += COUNTER_SIZE
    extranonce2_end = extranonce1_at + work.EXTRANONCE_SIZE - COUNTER_SIZE
    return Job(
        prev_hash_le=template.prev_hash_le,
        coinb1=coinbase[:extranonce1_at],
        coinb2=coinbase[extranonce2_end:],
        branch=template.branch,
        version=template.version,
        nbits=template.nbits,
        ntime=template.ntime,
        share_target=work.target(miner.bits),
        difficulty=difficulty_from_bits(miner.bits),
        network_target=template.network_target,
        clean=clean,
        account=account,
        tag=WorkTag(commitment, row, miner, counter_bytes),
    )
