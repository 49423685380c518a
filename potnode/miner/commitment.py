"""Is this job our work? What a miner checks before it hashes for a pool.

Responsible for reading the answer to `mining.get_commitment` and for recomputing from it every
byte that decides whose share a hash will be: the work, the marker, the target (docs/protocol.md
section 2). Not for asking the pool. Whether head and step are the chain's own is for somebody with
a chain to say: a pool that lies there has the share hashed for nothing, but can't have it counted
for somebody else.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from potnode.miner.errors import CommitmentError
from potnode.spec.errors import InvalidCoinbase
from potnode.spec.work import EXTRANONCE_SIZE, coinbase_form, marker, target, work_id
from stratum.client import ClientJob

Hex32 = Annotated[str, msgspec.Meta(pattern="^(0x)?[0-9a-fA-F]{64}$")]
Address = Annotated[str, msgspec.Meta(pattern="^0x[0-9a-fA-F]{40}$")]


class Commitment(msgspec.Struct, frozen=True):
    """What a pool says a job commits to: the result of `mining.get_commitment`."""

    job: Hex32
    step: Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
    head: Hex32
    work: Hex32
    miner: Address
    bits: Annotated[int, msgspec.Meta(ge=0, le=255)]


def check_commitment(reply: object, job: ClientJob, address: bytes) -> Commitment:
    """Recompute what `job` commits to from the pool's `reply` and our own 20-byte `address`.

    Args:
        reply: decoded JSON result of `mining.get_commitment` for this job.

    Returns:
        The commitment, every field of which agrees with the coinbase that will be hashed.

    Raises:
        CommitmentError: `field` says what does not agree.
    """
    try:
        said = msgspec.convert(reply, Commitment)
    except msgspec.ValidationError as error:
        raise CommitmentError("reply", f"is no commitment: {error}") from error
    if _bytes(said.miner) != address:
        raise CommitmentError(
            "miner", f"the pool has us work for {said.miner}, not 0x{address.hex()}"
        )
    work = work_id(_bytes(said.job), said.step, _bytes(said.head))
    if _bytes(said.work) != work:
        raise CommitmentError(
            "work", f"the pool states {said.work}, but its job, step and head make {work.hex()}"
        )
    if job.target != target(said.bits):
        raise CommitmentError(
            "bits",
            f"the pool states {said.bits}, difficulty 2^{said.bits - 32}, "
            f"but has set difficulty {job.difficulty}",
        )
    expected, found = marker(work, address, said.bits), _marker_in(job)
    if found != expected:
        raise CommitmentError(
            "marker",
            f"the coinbase has {found.hex()}, but work, address and bits make {expected.hex()}",
        )
    return said


def _marker_in(job: ClientJob) -> bytes:
    """The marker in the job's coinbase; that our extranonce is where a record needs it, too."""
    assembled = job.coinbase(bytes(job.extranonce2_size))
    try:
        form = coinbase_form(assembled)
    except InvalidCoinbase as error:
        raise CommitmentError("coinbase", f"has not the form shares have: {error}") from error
    ours_ends_at = len(assembled) - len(job.coinb2)
    if form.extranonce_at + EXTRANONCE_SIZE != ours_ends_at:
        raise CommitmentError(
            "extranonce",
            f"ends at byte {ours_ends_at} of the coinbase, "
            f"not with the scriptSig at byte {form.extranonce_at + EXTRANONCE_SIZE}",
        )
    return assembled[form.marker_at : form.marker_at + 32]


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))
