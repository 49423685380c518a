"""From a template to a miner's Stratum job, and from its share back to a candidate.

The coinbase commits to the training step, the miner and its bits (docs/protocol.md section 2); this
module alone knows both that and Stratum's `Job`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import msgspec

from potnode.spec import work
from potnode.spec.errors import InvalidCoinbase
from potnode.spec.hashing import be32
from potnode.spec.record import MinerRow, TemplateRow
from potnode.work.template import Template
from stratum.difficulty import difficulty_from_bits
from stratum.jobs import Job

COUNTER_SIZE: Final = 4

NO_WORK: Final = bytes(32)
"""The marker of a job that trains nothing: no work has this hash."""

_LOCKTIME_SIZE: Final = 4


@dataclass(frozen=True, slots=True)
class Commitment:
    """The training step new templates commit to: its job, number, head before it, and work id."""

    job_id: bytes
    step: int
    head: bytes
    work: bytes


class WorkTag(msgspec.Struct, frozen=True, gc=False):
    """What a share of a job needs to become a candidate; carried by the job unread.

    Small, as a miner's last jobs are all remembered: what is the template's stays with its maker.
    """

    maker: JobMaker
    miner: MinerRow

    @property
    def commitment(self) -> Commitment | None:
        """None where the job trains nothing."""
        return self.maker.commitment

    @property
    def row(self) -> TemplateRow:
        """The template as a record keeps it."""
        return self.maker.row

    @property
    def source(self) -> Template:
        """The template."""
        return self.maker.template

    def explain(self) -> dict[str, Any] | None:
        """What the coinbase commits to, for miners that check it (`mining.get_commitment`)."""
        if self.commitment is None:
            return None
        return {
            "job": self.commitment.job_id.hex(),
            "step": self.commitment.step,
            "head": self.commitment.head.hex(),
            "work": self.commitment.work.hex(),
            "miner": "0x" + self.miner.miner.hex(),
            "bits": self.miner.bits,
        }


def extranonce(coinb1: bytes, extranonce1: bytes, extranonce2: bytes) -> bytes:
    """The 16 bytes of a share that a record keeps: its job's counter, which ends coinb1, first."""
    return coinb1[-COUNTER_SIZE:] + extranonce1 + extranonce2


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


class JobMaker:
    """Makes the jobs of one template and commitment, one for each miner and notify.

    What all of them share is cut out once: a new block's jobs have to reach a thousand miners
    within milliseconds.
    """

    __slots__ = (
        "_after_extranonce",
        "_after_script",
        "_before_extranonce",
        "_locktime",
        "commitment",
        "row",
        "template",
    )

    def __init__(self, template: Template, commitment: Commitment | None) -> None:
        """Raises InvalidCoinbase where the template has not the protocol's form."""
        form = work.coinbase_form(template.coinbase, template.script_at)
        coinbase, script_at = template.coinbase, template.script_at
        extranonce_end = form.extranonce_at + work.EXTRANONCE_SIZE
        self.template = template
        self.commitment = commitment
        self.row = template_row(template)
        self._before_extranonce = coinbase[: form.extranonce_at]
        split = script_at or form.marker_at
        self._after_extranonce = coinbase[extranonce_end:split]
        self._after_script = coinbase[split : form.marker_at]
        self._locktime = coinbase[-_LOCKTIME_SIZE:]

    def job(self, miner: MinerRow, *, account: str, counter: int, clean: bool) -> Job:
        """A job for one miner.

        Args:
            miner: its address, agreed bits and payout script (b"" unless the template has a place
                for one).
            counter: new in every job (mod 2^32): firmware restarts extranonce2 at each notify, so
                equal coinbases would give duplicate shares.

        Raises:
            InvalidCoinbase: script and its place disagree.
            stratum.errors.InvalidJobError: the coinbase is too long with the script in it.
        """
        template, commitment, script = self.template, self.commitment, miner.script
        if (template.script_at != 0) != bool(script):
            raise InvalidCoinbase(
                "a payout script needs a place in the template, and a place needs a script"
            )
        marker = (
            NO_WORK if commitment is None else work.marker(commitment.work, miner.miner, miner.bits)
        )
        payout = bytes([len(script)]) + script if script else b""
        share_target, difficulty = _terms(miner.bits)
        return Job(
            prev_hash_le=template.prev_hash_le,
            coinb1=self._before_extranonce + be32(counter & 0xFFFFFFFF),
            coinb2=b"".join(
                (self._after_extranonce, payout, self._after_script, marker, self._locktime)
            ),
            branch=template.branch,
            version=template.version,
            nbits=template.nbits,
            ntime=template.ntime,
            share_target=share_target,
            difficulty=difficulty,
            network_target=template.network_target,
            clean=clean,
            account=account,
            tag=WorkTag(self, miner),
        )


@cache
def _terms(bits: int) -> tuple[int, int | float]:
    """Share target and difficulty of a job: the same two objects in all jobs of these bits."""
    return work.target(bits), difficulty_from_bits(bits)
