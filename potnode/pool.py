"""The pool: what this node answers the Stratum server's miners.

Responsible for jobs that commit to the current step, for the promise that `true` means on disk and
a step in the window, and for the bits of every connection. It implements `stratum.server.Pool`; all
of it runs on the event loop's thread. Training itself is `potnode.campaign`.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from potnode.clock import Clock
from potnode.pace import Pace
from potnode.rows import share_row
from potnode.spec.record import MinerRow, TemplateRow
from potnode.store.errors import StoreError
from potnode.store.rows import ShareRow
from potnode.trainer import Admission, Candidate, Trainer
from potnode.work.address import account_of, address_bytes
from potnode.work.jobs import Commitment, WorkTag, build_job, template_row
from potnode.work.template import Template, TemplateSource
from stratum.errors import Reject, RejectCode
from stratum.jobs import Job
from stratum.server import MinerView
from stratum.shares import Share

log = logging.getLogger(__name__)

# User agents of miners on a CPU: they start at the job's own minimum.
CPU_AGENTS = ("cpuminer", "bfgminer", "potnode")
ASIC_MIN_BITS = 38  # difficulty 64: an S9's chips return nothing easier (its ticket mask is 63)

Answer = Callable[[Reject | None], None]

_REFUSALS = {
    Admission.DUPLICATE: Reject(RejectCode.DUPLICATE, "Duplicate share"),
    Admission.STALE: Reject(
        RejectCode.JOB_NOT_FOUND, "Stale: no step in its window has room for it"
    ),
    Admission.FINISHED: Reject(RejectCode.JOB_NOT_FOUND, "The training job is finished"),
}
_OTHER_JOB = Reject(RejectCode.JOB_NOT_FOUND, "Job not found: another training job")
_NOT_STORED = Reject(RejectCode.OTHER, "The share could not be stored")


class ShareStore(Protocol):
    """What the pool needs of durable memory."""

    def add_share(self, share: ShareRow) -> Future[bool]:
        """Resolved once on disk: True new, False a hash that is stored already."""
        ...


@dataclass(slots=True)
class _Work:
    """What jobs are made of since the last refresh."""

    commitment: Commitment
    template: Template
    row: TemplateRow


class TrainingPool:
    """`stratum.server.Pool` for one training job.

    on_share is called for every share that was taken or came too late: there may be a step to
    close, or too many shares coming.
    """

    def __init__(
        self,
        trainer: Trainer[Any],
        pace: Pace,
        store: ShareStore,
        source: TemplateSource,
        clock: Clock,
        on_share: Callable[[], None],
    ) -> None:
        self._trainer = trainer
        self._pace = pace
        self._store = store
        self._source = source
        self._clock = clock
        self._on_share = on_share
        self._counter = itertools.count(secrets.randbits(32))
        self._loop = asyncio.get_running_loop()
        self._work = self._current_work()
        self._store_works = True
        self.acknowledged = 0
        self.refused: Counter[str] = Counter()

    # What the server asks.

    def account_of(self, user: str, password: str) -> str:
        """The payout address of a user name; Unauthorized with what to use instead."""
        return account_of(user)

    def connected(self, miner: MinerView) -> None:
        """A miner is authorised: its bits start at its floor."""
        agent = miner.user_agent.lower()
        on_cpu = agent.startswith(CPU_AGENTS)
        minimum = self._trainer.params.min_bits
        floor = minimum if on_cpu else max(minimum, ASIC_MIN_BITS)
        self._pace.join(miner.connection_id, floor, self._clock.monotonic())
        log.info(
            "miner %s.%s (%s) at bits %d", miner.account, miner.worker, miner.user_agent, floor
        )

    def disconnected(self, miner: MinerView) -> None:
        """A miner is gone."""
        self._pace.leave(miner.connection_id)

    def asked(self, miner: MinerView) -> None:
        """A miner's wishes changed: its bits follow its share rate alone."""

    def job_for(self, miner: MinerView) -> Job | None:
        """The current work for one miner; None once the training job is finished."""
        if self._trainer.finished:
            return None
        current = self._work
        return build_job(
            current.template,
            current.row,
            current.commitment,
            MinerRow(address_bytes(miner.account), self._pace.bits(miner.connection_id)),
            account=miner.account,
            counter=next(self._counter),
            clean=False,  # a share of an older step still counts; nothing is to be thrown away
        )

    def explain(self, tag: object) -> dict[str, Any] | None:
        """What a job commits to, for miners that check it."""
        return tag.explain() if isinstance(tag, WorkTag) else None

    def submit(self, share: Share, miner: MinerView, answer: Answer) -> None:
        """Take a checked share: a place in the queue first, then the disk, then the answer."""
        tag = share.job.tag
        if not isinstance(tag, WorkTag) or tag.commitment.job_id != self._trainer.job_id:
            self._refuse(_OTHER_JOB, "other job", answer)
            return
        candidate = Candidate(
            hash=share.hash,
            work_step=tag.commitment.step,
            template=tag.template,
            miner=tag.miner,
            extranonce=tag.counter + share.extranonce1 + share.extranonce2,
            version_le=share.version_le,
            ntime_le=share.ntime_le,
            nonce_le=share.nonce_le,
        )
        admission = self._trainer.admit(candidate)
        if admission is not Admission.DUPLICATE:
            # Refused for its age, it was hashed all the same: the miner's rate has to show it.
            self._pace.share(miner.connection_id, candidate.miner.bits)
        if admission is not Admission.ADMITTED:
            self._refuse(_REFUSALS[admission], admission.value, answer)
            self._on_share()
            return
        try:
            row = share_row(
                candidate,
                self._trainer.job_id,
                worker=share.worker,
                received_at=self._clock.time_ns(),
                is_block=share.is_block,
            )
            stored = self._store.add_share(row)
        except StoreError as error:
            self._not_stored(candidate, error, answer)
            return
        stored.add_done_callback(
            lambda done: self._loop.call_soon_threadsafe(
                self._stored, candidate, miner, done, answer
            )
        )

    def found_block(self, share: Share, miner: MinerView) -> None:
        """A block of the parent chain; standalone templates have a target of 0: there is none."""
        log.warning("miner %s found block %s", miner.account, share.hash[::-1].hex())

    # What the node asks.

    @property
    def step(self) -> int:
        """The step the current templates commit to."""
        return self._work.commitment.step

    def bits(self, connection_id: int) -> int | None:
        """Agreed bits of a connection; None for one that is not mining."""
        return self._pace.agreed(connection_id)

    def refresh(self) -> None:
        """Take the trainer's present step and a present template; jobs made from now carry them."""
        self._work = self._current_work()

    def _current_work(self) -> _Work:
        trainer = self._trainer
        template = self._source.current(int(self._clock.time()))
        if template is None:
            raise LookupError("a standalone source always has a template")
        commitment = Commitment(trainer.job_id, trainer.step, trainer.head, trainer.work())
        return _Work(commitment, template, template_row(template))

    def _stored(
        self, candidate: Candidate, miner: MinerView, done: Future[bool], answer: Answer
    ) -> None:
        error = done.exception()
        if error is not None:
            self._not_stored(candidate, error, answer)
            return
        if not done.result():
            self._trainer.forget(candidate.hash)
            self._refuse(_REFUSALS[Admission.DUPLICATE], Admission.DUPLICATE.value, answer)
            return
        if not self._store_works:
            self._store_works = True
            log.info("shares can be stored again")
        self._trainer.settle(candidate.hash)
        self.acknowledged += 1
        answer(None)
        self._on_share()

    def _not_stored(self, candidate: Candidate, error: BaseException, answer: Answer) -> None:
        if self._store_works:  # one line for all of them: a full disk may be the log's too
            self._store_works = False
            log.error("shares cannot be stored and are refused: %s", error)
        self._trainer.forget(candidate.hash)
        self._refuse(_NOT_STORED, "not stored", answer)

    def _refuse(self, reject: Reject, reason: str, answer: Answer) -> None:
        self.refused[reason] += 1
        answer(reject)


class PoolSwitch:
    """`stratum.server.Pool` of a node that trains job after job: the present job's, or none.

    Miners stay connected between jobs; they are introduced to each new pool.
    """

    def __init__(self) -> None:
        self._pool: TrainingPool | None = None

    def use(self, pool: TrainingPool | None, miners: Iterable[MinerView]) -> None:
        """Serve this pool from now on; `miners` are those connected already."""
        self._pool = pool
        if pool is not None:
            for miner in miners:
                pool.connected(miner)

    def bits(self, connection_id: int) -> int | None:
        """Agreed bits of a connection; None while no job is served."""
        return self._pool.bits(connection_id) if self._pool else None

    def account_of(self, user: str, password: str) -> str:
        """As of the port."""
        return account_of(user)

    def connected(self, miner: MinerView) -> None:
        """As of the port."""
        if self._pool:
            self._pool.connected(miner)

    def disconnected(self, miner: MinerView) -> None:
        """As of the port."""
        if self._pool:
            self._pool.disconnected(miner)

    def asked(self, miner: MinerView) -> None:
        """As of the port."""
        if self._pool:
            self._pool.asked(miner)

    def job_for(self, miner: MinerView) -> Job | None:
        """As of the port."""
        return self._pool.job_for(miner) if self._pool else None

    def explain(self, tag: object) -> dict[str, Any] | None:
        """As of the port."""
        return tag.explain() if isinstance(tag, WorkTag) else None

    def submit(self, share: Share, miner: MinerView, answer: Answer) -> None:
        """As of the port."""
        if self._pool:
            self._pool.submit(share, miner, answer)
        else:
            answer(_REFUSALS[Admission.FINISHED])

    def found_block(self, share: Share, miner: MinerView) -> None:
        """As of the port."""
        if self._pool:
            self._pool.found_block(share, miner)
