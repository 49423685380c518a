"""Jobs as a node sees them: describing one for the chain, finding the next to train, resuming it.

The rules of a job are `potnode.spec`'s, a researcher's file of it is `potnode.jobfile`'s.
"""

from __future__ import annotations

import secrets
from collections.abc import Container, Sequence
from dataclasses import dataclass

from potnode.chain.contract import head_after
from potnode.chain.reader import ChainJob, job_state, list_jobs
from potnode.chain.rpc import RpcLedger
from potnode.data import digits
from potnode.data.dataset import Dataset
from potnode.engine import state as states
from potnode.engine.engine import Engine, check_fit
from potnode.engine.state import EngineState
from potnode.errors import NodeError
from potnode.feedback import Intake
from potnode.jobfile import JobFile, Pay, file_words, preset_job
from potnode.rows import training_share
from potnode.spec import work
from potnode.spec.errors import InvalidJob
from potnode.spec.feedback import NO_FEEDBACK
from potnode.spec.hashing import sha256
from potnode.spec.manifest import Manifest, check_manifest
from potnode.spec.manifest_json import check_job, encode_manifest
from potnode.spec.params import JobParams
from potnode.spec.record import decode_record
from potnode.store.store import Store
from potnode.trainer import Feedback, Trainer, TrainingShare


@dataclass(frozen=True, slots=True)
class JobDraft:
    """A job that is on no chain yet: what `createJob` is called with."""

    params: JobParams
    manifest: bytes


def draft(
    file: JobFile,
    dataset: Dataset,
    *,
    owner: bytes,
    operator: bytes,
    manifest: Manifest | None = None,
    imported: bytes | None = None,
) -> JobDraft:
    """A job as a file describes it, with fresh seed and salt.

    Args:
        manifest: another than the file's. imported: the file of initial weights that it names.

    Raises:
        JobFileError: the file doesn't fit the dataset. InvalidJob: the rules forbid it.
        EngineError: no node could train the model on the dataset.
    """
    try:
        return _draft(file, dataset, owner, operator, manifest, imported)
    except InvalidJob as error:
        raise InvalidJob(file_words(str(error))) from error


def _draft(
    file: JobFile,
    dataset: Dataset,
    owner: bytes,
    operator: bytes,
    manifest: Manifest | None,
    imported: bytes | None,
) -> JobDraft:
    manifest = manifest or file.manifest(dataset, secrets.token_bytes(32))
    check_manifest(manifest)  # before its weights are made: a wrong one may ask for gigabytes
    check_fit(manifest, dataset)  # before it is on the chain, where it could only be closed
    encoded = encode_manifest(manifest)
    search, pay = file.search, file.pay
    params = JobParams(
        owner=owner,
        operator=operator,
        manifest_hash=sha256(encoded),
        initial_root=states.root(states.initial(manifest, imported), manifest.weights),
        data_root=dataset.root,
        train_count=dataset.header.train_count,
        held_out_count=dataset.header.held_out_count,
        population=search.population[1],
        population_start=search.population[0],
        candidates_per_share=search.candidates_per_share,
        batch_size=search.batch_size[1],
        min_bits=search.min_bits,
        window=search.window,
        step_limit=search.steps,
        validate_every=search.validate_every,
        pot_per_step=pay.pot_per_step,
        operator_fee=pay.operator_fee,
        token=bytes.fromhex(pay.token[2:]),
        challenge_window=pay.challenge_window,
        stall_timeout=pay.stall_timeout,
        salt=secrets.token_bytes(32),
    )
    check_job(params, encoded)
    return JobDraft(params, encoded)


def digits_draft(operator: bytes, *, steps: int | None = None) -> JobDraft:
    """The job a node opens when there is none: handwritten digits, owned by its operator.

    Miners are credited 10^15 wei a step of the embedded chain's coin, which has no value.
    """
    file = preset_job("digits-mlp")
    search = file.search.model_copy(update={"steps": steps or file.search.steps})
    file = file.model_copy(update={"search": search, "pay": Pay(pot_per_step=10**15)})
    return draft(file, digits.digits(), owner=operator, operator=operator)


def next_job(
    ledger: RpcLedger, operator: bytes, *, from_anyone: bool = False, skip: Container[bytes] = ()
) -> ChainJob | None:
    """The oldest job this operator is to train: open on chain, steps missing.

    Args:
        from_anyone: also jobs of other owners; naming an operator costs a stranger nothing.
        skip: ids of jobs that cannot be trained here.
    """
    for job in list_jobs(ledger):
        wanted = job.params.operator == operator and job.job_id not in skip
        if not wanted or not (from_anyone or job.params.owner == operator):
            continue
        state = job_state(ledger, job.job_id)
        if state is not None and not state.closed and state.steps < job.params.step_limit:
            return job
    return None


def check_dataset(job: ChainJob, dataset: Dataset) -> None:
    """The job must count the samples its dataset has. NodeError otherwise."""
    header = dataset.header
    if (job.params.train_count, job.params.held_out_count) != (
        header.train_count,
        header.held_out_count,
    ):
        raise NodeError(
            f"job {job.job_id.hex()} counts {job.params.train_count} + {job.params.held_out_count} "
            f"samples, its dataset has {header.train_count} + {header.held_out_count}"
        )


def resume(
    job: ChainJob, recorded: int, engine: Engine, store: Store
) -> tuple[Trainer[EngineState], Sequence[TrainingShare]]:
    """A trainer at the job's next step, its waiting shares queued again.

    Args:
        recorded: steps the chain has; the store may be ahead, never behind.

    Returns:
        The trainer, and the acknowledged shares that can no longer count.

    Raises:
        NodeError: the store lacks steps that are on the chain, or contradicts itself.
    """
    checkpoint = store.checkpoint(job.job_id)
    closed = 0 if checkpoint is None else checkpoint.step + 1
    if closed < recorded:
        raise NodeError(
            f"job {job.job_id.hex()}: the chain has {recorded} steps, the database {closed}: "
            "restore the database from its backup, or train this job with the data directory it "
            "was begun in"
        )
    if checkpoint is None:
        trainer = Trainer(job.job_id, job.params, engine.manifest, engine, next_head=head_after)
    else:
        state = states.from_bytes(engine.manifest, checkpoint.masters_le + checkpoint.momenta_le)
        if engine.root(state) != checkpoint.state_root:
            raise NodeError(f"job {job.job_id.hex()}: the stored model does not have its own root")
        heads, counted = _past(store, job, closed)
        if heads[closed] != checkpoint.head:
            raise NodeError(f"job {job.job_id.hex()}: stored model and stored steps disagree")
        trainer = Trainer(
            job.job_id,
            job.params,
            engine.manifest,
            engine,
            state=state,
            heads=heads,
            counted=counted,
            next_head=head_after,
        )
    return trainer, trainer.restore(map(training_share, store.pending_shares(job.job_id)))


def resume_feedback(job: ChainJob, step: int, intake: Intake, store: Store) -> Feedback:
    """The pairs of a job of preferences that steps from `step` on use, given to its engine.

    Raises:
        NodeError: the store does not have the pairs its own steps used.
    """
    data_root = NO_FEEDBACK
    if step > 0:
        step_data = store.step_data(job.job_id, step - 1)
        if step_data is None:
            raise NodeError(f"job {job.job_id.hex()}: the database lacks step {step - 1}")
        data_root = decode_record(step_data, job.params).data_root
    return intake.resume(data_root)


def _past(store: Store, job: ChainJob, closed: int) -> tuple[dict[int, bytes], dict[bytes, int]]:
    """Heads and counted shares of the last window + 1 steps."""
    first = max(0, closed - job.params.window - 1)
    heads: dict[int, bytes] = {0: work.head_zero(job.job_id)} if first == 0 else {}
    counted: dict[bytes, int] = {}
    for step in range(first, closed):
        view = store.step(job.job_id, step)
        if view is None:
            raise NodeError(f"job {job.job_id.hex()}: the database lacks step {step}")
        heads[step + 1] = view.head
        counted.update((proof.hash, step) for proof in store.step_proofs(job.job_id, step))
    return heads, counted
