"""A job made ready for training: its model, dataset and past, and where its shares go.

Responsible for what has to be true before the first step here: the job costs no more than this node
gives one, its dataset is the one it names, what is on disk fits what is on chain. Which job is next
is `potnode.node`'s, the training itself `potnode.campaign`'s.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from potnode import access, jobs
from potnode.campaign import Campaign
from potnode.chain.reader import ChainJob, steps
from potnode.chain.rpc import RpcLedger
from potnode.clock import Clock
from potnode.config import Settings
from potnode.data.imported import imported_weights
from potnode.engine.cost import cost
from potnode.engine.engine import Engine
from potnode.engine.workers import available_cores
from potnode.feedback import Freezing, Intake
from potnode.mining import Mining
from potnode.pace import Pace
from potnode.pool import Reached, TrainingPool
from potnode.recording import RETRY_SECONDS, WAITED_OUT, Recording
from potnode.spec.manifest import Pairs
from potnode.spec.manifest_json import check_job
from potnode.spec.params import encode_params
from potnode.spec.record import Validation
from potnode.store.rows import JobRow
from potnode.store.store import Store

T = TypeVar("T")

log = logging.getLogger(__name__)

# Shares a second handed out before the first steps are measured: what two slow cores manage.
FIRST_FLOW = 300.0


async def prepare(
    job: ChainJob,
    *,
    settings: Settings,
    clock: Clock,
    ledger: RpcLedger,
    store: Store,
    recording: Recording,
    mining: Mining,
) -> tuple[Campaign, TrainingPool]:
    """A campaign at the job's next step, and the pool its shares come to.

    Raises:
        SpecError, DataError, EngineError, MachineCodeError, NodeError, MemoryError: the job cannot
            be trained here. ChainUnavailable, RpcError, BadChainData: its chain cannot be asked.
    """
    manifest = check_job(job.params, job.manifest)
    threads = settings.engine.threads or available_cores()
    access.job_limits(settings).check(cost(manifest, job.params, threads))
    catalog = access.catalog(settings)
    dataset = await asyncio.to_thread(catalog.by_root, job.params.data_root)
    jobs.check_dataset(job, dataset)
    imported = await asyncio.to_thread(imported_weights, catalog, manifest)
    engine_settings = settings.engine
    log.info("job %s: preparing the engine", job.job_id.hex())
    engine = await asyncio.to_thread(
        Engine, manifest, dataset, engine_settings.device, engine_settings.threads, imported
    )
    row = JobRow(
        job_id=job.job_id,
        chain_id=ledger.chain.chain_id,
        contract=ledger.contract,
        params=encode_params(job.params),
        manifest=job.manifest,
        created_at=clock.time_ns(),
        created_tx=job.tx_hash,
    )
    if await asyncio.to_thread(store.job, job.job_id) is None:
        await until_stored(lambda: store.add_job(row))
    recorded = await asyncio.to_thread(steps, ledger, job.job_id)
    trainer, lost = await asyncio.to_thread(jobs.resume, job, recorded, engine, store)
    feedback = None
    if isinstance(manifest.task, Pairs):
        when = Freezing(settings.feedback.batch, settings.feedback.steps)
        folder = access.feedback_folder(settings)
        feedback = Intake(job.job_id, manifest.input_size, store, engine, folder, clock, when)
        used = await asyncio.to_thread(jobs.resume_feedback, job, trainer.step, feedback, store)
        trainer.use_feedback(used)
    validation = await asyncio.to_thread(_last_validation, store, job.job_id, trainer.step)
    flow = FIRST_FLOW / job.params.candidates_per_share
    pace = Pace[int](shares=max(1, trainer.wanted), flow=flow)
    campaign: Campaign

    def on_share() -> None:
        campaign.wake()

    def hurry() -> None:
        campaign.hurry()

    pool = TrainingPool(
        trainer,
        pace,
        store,
        mining.source(job.job_id),
        clock,
        Reached(on_share, hurry, mining.server.refresh),
        mining.rules,
    )
    campaign = Campaign(
        trainer,
        pool,
        pace,
        store,
        recording,
        clock,
        miners=mining.server,
        validation=validation,
        refresh_seconds=settings.work.refresh_seconds,
        feedback=feedback,
    )
    campaign.expire([c.hash for c in lost])
    log.info(
        "job %s: %s, step %d of %d, %d shares waiting",
        job.job_id.hex(),
        manifest.dataset,
        trainer.step,
        job.params.step_limit,
        trainer.waiting,
    )
    return campaign, pool


async def until_stored(change: Callable[[], Future[T]]) -> T:
    """Make a change to the database, waiting out a full or absent disk."""
    while True:
        try:
            return await asyncio.wrap_future(change())
        except WAITED_OUT as error:
            log.error("the database cannot be written: %s", error)
            await asyncio.sleep(RETRY_SECONDS)


def _last_validation(store: Store, job_id: bytes, step: int) -> Validation | None:
    while step > 0:
        step -= 1
        view = store.step(job_id, step)
        if view is not None and view.validation_loss is not None and view.hits is not None:
            return Validation(view.validation_loss, view.hits)
    return None
