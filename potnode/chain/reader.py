"""Jobs and steps as the chain has them: everything an auditor starts from.

Events carry the bytes, views say how many there must be. Nothing a node answers is believed before
it fits the rest: ids, hashes and the chain of heads are recomputed here, and what does not fit is
BadChainData naming step and field. Losses, weights and work are `potnode.audit`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from potnode.chain.contract import (
    JobState,
    decode_job_created,
    decode_job_state,
    decode_result,
    decode_step_recorded,
    encode_call,
    event_topic,
)
from potnode.chain.errors import BadChainData, JobUnknown
from potnode.chain.ports import Ledger
from potnode.spec.hashing import be32
from potnode.spec.params import JobParams
from potnode.spec.record import VERSION
from potnode.spec.work import head_zero


@dataclass(frozen=True, slots=True)
class ChainJob:
    """A job of the contract. Hashes have 32 bytes; `manifest` is the exact bytes of the event."""

    job_id: bytes
    params: JobParams
    manifest: bytes
    block_number: int
    tx_hash: bytes


@dataclass(frozen=True, slots=True)
class ChainStep:
    """A recorded step, bound by `new_head`; `step_data` is as recorded, its content unchecked."""

    step: int
    prev_head: bytes
    new_head: bytes
    step_data: bytes
    tx_hash: bytes
    block_number: int


@dataclass(frozen=True, slots=True)
class StepInfo:
    """Block time (seconds) of a step's record, and whether it was paid out."""

    recorded_at: int
    settled: bool


def list_jobs(ledger: Ledger) -> Iterator[ChainJob]:
    """Every job of the contract, in order of creation. Raises BadChainData."""
    for log in ledger.logs([event_topic("JobCreated")]):
        created = decode_job_created(log, ledger.chain.chain_id, ledger.contract)
        yield ChainJob(
            created.job_id, created.params, created.manifest, log.block_number, log.transaction_hash
        )


def read_job(ledger: Ledger, job_id: bytes) -> ChainJob:
    """One job. Raises JobUnknown, BadChainData."""
    if job_state(ledger, job_id) is None:
        raise JobUnknown(f"the contract at 0x{ledger.contract.hex()} has no job 0x{job_id.hex()}")
    logs = list(ledger.logs([event_topic("JobCreated"), job_id]))
    if len(logs) != 1:
        raise BadChainData(
            f"job 0x{job_id.hex()} exists but the node shows {len(logs)} events of its creation: "
            "reading may begin after it, or the node is wrong",
            field="event",
        )
    created = decode_job_created(logs[0], ledger.chain.chain_id, ledger.contract)
    if created.job_id != job_id:
        raise BadChainData("the node answered with the event of another job", field="event")
    return ChainJob(
        job_id, created.params, created.manifest, logs[0].block_number, logs[0].transaction_hash
    )


def read_steps(
    ledger: Ledger, job: ChainJob, *, last_block: int | None = None
) -> Iterator[ChainStep]:
    """The recorded steps of a job in order, from step 0, as of `last_block` (None: now).

    Each is checked to continue the one before; at the end their number and the last head are held
    against the contract's own. Raises BadChainData.
    """
    last_block = ledger.chain.latest_block() if last_block is None else last_block
    expected, head = 0, head_zero(job.job_id)
    topics = [event_topic("StepRecorded"), job.job_id]
    for log in ledger.logs(topics, first_block=job.block_number, last_block=last_block):
        recorded = decode_step_recorded(log)
        if recorded.job_id != job.job_id or recorded.step != expected:
            raise BadChainData(
                f"the node shows step {recorded.step} of job 0x{recorded.job_id.hex()} "
                f"where step {expected} must stand",
                step=expected,
                field="step",
            )
        if recorded.prev_head != head:
            raise BadChainData(
                f"step {expected} does not continue the head of the step before",
                step=expected,
                field="prev_head",
            )
        if recorded.step_data[:37] != bytes([VERSION]) + job.job_id + be32(expected):
            raise BadChainData(
                f"the record of step {expected} names another version, job or step",
                step=expected,
                field="step_data",
            )
        yield ChainStep(
            expected,
            head,
            recorded.new_head,
            recorded.step_data,
            log.transaction_hash,
            log.block_number,
        )
        expected, head = expected + 1, recorded.new_head
    count = steps(ledger, job.job_id, block=last_block)
    if count != expected:
        raise BadChainData(
            f"the contract has {count} steps but the node shows {expected}",
            step=min(count, expected),
            field="steps",
        )
    if head_at(ledger, job.job_id, count, block=last_block) != head:
        raise BadChainData(
            f"the contract's head after {count} steps is not that of the events",
            step=max(count - 1, 0),
            field="head",
        )


def read_step(ledger: Ledger, job: ChainJob, step: int) -> ChainStep | None:
    """One recorded step, held against the contract's heads, or None if it is not recorded. Raises
    BadChainData.
    """
    topics = [event_topic("StepRecorded"), job.job_id, step.to_bytes(32, "big")]
    logs = list(ledger.logs(topics, first_block=job.block_number))
    if not logs:
        return None
    recorded = decode_step_recorded(logs[0])
    heads = (head_at(ledger, job.job_id, step), head_at(ledger, job.job_id, step + 1))
    if len(logs) != 1 or (recorded.job_id, recorded.step) != (job.job_id, step):
        raise BadChainData(
            f"the node's events of step {step} contradict each other", step=step, field="event"
        )
    if heads != (recorded.prev_head, recorded.new_head):
        raise BadChainData(
            f"the event of step {step} is not bound by the contract's heads",
            step=step,
            field="head",
        )
    return ChainStep(
        step,
        recorded.prev_head,
        recorded.new_head,
        recorded.step_data,
        logs[0].transaction_hash,
        logs[0].block_number,
    )


def job_state(ledger: Ledger, job_id: bytes) -> JobState | None:
    """What the contract keeps of a job, or None if there is no such job."""
    state = decode_job_state(ledger.call(encode_call("jobs", job_id)))
    return state if any(state.owner) else None


def steps(ledger: Ledger, job_id: bytes, *, block: int | None = None) -> int:
    """Number of recorded steps."""
    return int(_view(ledger, "steps", job_id, block=block))


def head_at(ledger: Ledger, job_id: bytes, step: int, *, block: int | None = None) -> bytes:
    """The head before `step`, which is the head after the step before; 32 zero bytes if not
    reached.
    """
    return bytes(_view(ledger, "heads", job_id, step, block=block))


def state_root(ledger: Ledger, job_id: bytes) -> bytes:
    """Root of the model's state after the last recorded step."""
    return bytes(_view(ledger, "stateRoot", job_id))


def proof_count(ledger: Ledger, job_id: bytes) -> int:
    """Number of recorded training proofs: one for each share of each recorded step."""
    return int(_view(ledger, "proofCount", job_id))


def step_info(ledger: Ledger, job_id: bytes, step: int) -> StepInfo:
    """When a recorded step was recorded, and whether it is settled."""
    recorded_at, settled = decode_result(
        "stepInfo", ledger.call(encode_call("stepInfo", job_id, step))
    )
    return StepInfo(recorded_at, settled)


def credits_of(ledger: Ledger, token: bytes, account: bytes) -> int:
    """What an account may withdraw in a token (20 zero bytes: the native coin)."""
    return int(_view(ledger, "credits", token, account))


def escrow(ledger: Ledger, job_id: bytes) -> int:
    """What is held for the job's steps that are not settled."""
    return int(_view(ledger, "escrow", job_id))


def _view(
    ledger: Ledger, function: str, *arguments: object, block: int | None = None
) -> bytes | int:
    (value,) = decode_result(function, ledger.call(encode_call(function, *arguments), block=block))
    found: bytes | int = value
    return found
