"""The pool: what this node answers the Stratum server's miners.

Responsible for jobs that commit to the current step, for the promise that `true` means on disk and
a step in the window, and for the bits of every connection. Which pool miners are served by, and
what becomes of blocks, is `potnode.switch`'s; training itself is `potnode.campaign`.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from potnode.clock import Clock
from potnode.handover import Handover
from potnode.pace import Pace
from potnode.rows import share_row
from potnode.store.errors import StoreError
from potnode.store.rows import ShareRow
from potnode.terms import PoolTerms, Terms, terms_for
from potnode.trainer import Admission, Trainer, TrainingShare
from potnode.work.address import miner_row
from potnode.work.jobs import Commitment, JobMaker, WorkTag, extranonce
from potnode.work.template import TemplateSource
from stratum.difficulty import difficulty_from_bits
from stratum.errors import Reject, RejectCode
from stratum.jobs import Job
from stratum.server import Answer, MinerView
from stratum.shares import Share

log = logging.getLogger(__name__)

STALE_GRACE: Final = 5.0
"""Seconds after a new parent block in which shares of the one before are still answered true: what
a miner needs to hear of it and change its work."""

AT_ONCE_BITS: Final = 2
"""A change of bits that a miner asked for and that is sent at once, not with the next refresh."""

AT_ONCE_SECONDS: Final = 10.0
"""Between such jobs of one miner: wishes cost it nothing, and each job is made, sent and kept."""

_REFUSALS: Final = {
    Admission.DUPLICATE: Reject(RejectCode.DUPLICATE, "Duplicate share"),
    Admission.STALE: Reject(
        RejectCode.JOB_NOT_FOUND, "Stale: no step in its window has room for it"
    ),
    Admission.FINISHED: Reject(RejectCode.JOB_NOT_FOUND, "The training job is finished"),
}
FINISHED: Final = _REFUSALS[Admission.FINISHED]
_OTHER_JOB: Final = Reject(RejectCode.JOB_NOT_FOUND, "Job not found: another training job")
_NOT_STORED: Final = Reject(RejectCode.OTHER, "The share could not be stored")
_OLD_PARENT: Final = Reject(
    RejectCode.JOB_NOT_FOUND, "Stale: there is a new block; the share still trains and is paid"
)


class ShareStore(Protocol):
    """What the pool needs of durable memory."""

    def add_share(self, share: ShareRow) -> Future[bool]:
        """Resolved once on disk: True new, False a hash that is stored already."""
        ...


@dataclass(frozen=True, slots=True)
class PoolRules:
    """What the operator has decided: terms of difficulty, and the stale grace in seconds."""

    terms: PoolTerms = field(default_factory=PoolTerms)
    stale_grace: float = STALE_GRACE


@dataclass(frozen=True, slots=True)
class Reached:
    """How a pool reaches back.

    on_share: a share was taken or came too late; there may be a step to close, or too many coming.
    hurry: a miner's bits should not wait for the next refresh. send_job: gives one connection a new
    job.
    """

    on_share: Callable[[], object]
    hurry: Callable[[], object]
    send_job: Callable[[int], object]


class TrainingPool:
    """`stratum.server.Pool` for one training job, except for accounts and blocks.

    Attributes to read: acknowledged, refused (shares by reason), refreshed_at (monotonic seconds).
    """

    def __init__(
        self,
        trainer: Trainer[Any],
        pace: Pace[int],
        store: ShareStore,
        source: TemplateSource,
        clock: Clock,
        reached: Reached,
        rules: PoolRules,
    ) -> None:
        self._trainer = trainer
        self._pace = pace
        self._store = store
        self._source = source
        self._clock = clock
        self._reached = reached
        self._rules = rules
        self._counter = itertools.count(secrets.randbits(32))
        self._handover = Handover(asyncio.get_running_loop())
        self._work = self._current_work()
        self.refreshed_at = clock.monotonic()
        self._tip_since = self.refreshed_at - rules.stale_grace
        self._store_works = True
        self._sent_at_once: dict[int, float] = {}
        self.acknowledged = 0
        self.refused: Counter[str] = Counter()

    # What the server asks.

    def connected(self, miner: MinerView, before: int | None = None) -> None:
        """A miner is authorised: its bits start at what its machine and its wishes say.

        Args:
            before: bits it had with another pool of this node.
        """
        terms = self._terms(miner)
        bits = self._pace.join(miner.connection_id, terms, self._clock.monotonic(), before)
        difficulty = difficulty_from_bits(bits)
        log.debug("connection %d starts at difficulty %g", miner.connection_id, difficulty)

    def disconnected(self, miner: MinerView) -> None:
        """A miner is gone."""
        self._pace.leave(miner.connection_id)
        self._sent_at_once.pop(miner.connection_id, None)

    def asked(self, miner: MinerView) -> None:
        """A miner's wishes have changed: followed with its next job, a large change at once."""
        now = self._clock.monotonic()
        number = miner.connection_id
        before = self._pace.ask(number, self._terms(miner), now)
        if before is None or abs(self._pace.bits(number) - before) < AT_ONCE_BITS:
            return
        last = self._sent_at_once.get(number)
        if last is None or now - last >= AT_ONCE_SECONDS:
            self._sent_at_once[number] = now
            self._reached.send_job(number)

    def job_for(self, miner: MinerView) -> Job | None:
        """The current work for one miner; None once the job is finished, or without a template."""
        if self._trainer.finished or self._work is None:
            return None
        bits = self._pace.bits(miner.connection_id)
        return self._work.job(
            miner_row(miner.account, bits, pays_script=self._work.template.script_at != 0),
            account=miner.account,
            counter=next(self._counter),
            clean=False,  # a share of an older step still counts; nothing is to be thrown away
        )

    def submit(self, share: Share, miner: MinerView, answer: Answer) -> None:
        """Take a checked share: a place in the queue first, then the disk, then the answer."""
        tag = share.job.tag
        if (
            not isinstance(tag, WorkTag)
            or tag.commitment is None
            or tag.commitment.job_id != self._trainer.job_id
        ):
            self._refuse(_OTHER_JOB, "other job", answer)
            return
        ours = TrainingShare(
            hash=share.hash,
            work_step=tag.commitment.step,
            template=tag.row,
            miner=tag.miner,
            extranonce=extranonce(share.job.coinb1, share.extranonce1, share.extranonce2),
            version_le=share.version_le,
            ntime_le=share.ntime_le,
            nonce_le=share.nonce_le,
        )
        admission = self._trainer.admit(ours)
        if admission is not Admission.DUPLICATE:
            # Refused for its age, it was hashed all the same: the miner's rate has to show it.
            now = self._clock.monotonic()
            if self._pace.share(miner.connection_id, ours.miner.bits, now):
                self._reached.hurry()
        if admission is not Admission.ADMITTED:
            self._refuse(_REFUSALS[admission], admission.value, answer)
            self._reached.on_share()
            return
        # Judged now: the disk may take longer than the grace.
        verdict = _OLD_PARENT if self._is_stale(tag) else None
        try:
            row = share_row(
                ours,
                self._trainer.job_id,
                worker=share.worker,
                received_at=self._clock.time_ns(),
                is_block=share.is_block,
            )
            stored = self._store.add_share(row)
        except StoreError as error:
            self._not_stored(ours, error, answer)
            return
        stored.add_done_callback(
            lambda done: self._handover.call(lambda: self._stored(ours, done, answer, verdict))
        )

    # What the node asks.

    @property
    def step(self) -> int | None:
        """The step the current templates commit to; None without a template."""
        work = self._work
        return work.commitment.step if work is not None and work.commitment is not None else None

    def bits(self, connection_id: int) -> int | None:
        """Agreed bits of a connection; None for one that is not mining."""
        return self._pace.agreed(connection_id)

    def refresh(self) -> None:
        """Take the trainer's present step and a present template; jobs made from now carry them."""
        before, self._work = self._work, self._current_work()
        self.refreshed_at = self._clock.monotonic()
        if before is None or self._work is None:
            return
        if before.template.prev_hash_le != self._work.template.prev_hash_le:
            self._tip_since = self.refreshed_at

    def _current_work(self) -> JobMaker | None:
        trainer = self._trainer
        template = self._source.current(int(self._clock.time()))
        if template is None:
            return None
        return JobMaker(
            template, Commitment(trainer.job_id, trainer.step, trainer.head, trainer.work())
        )

    def _terms(self, miner: MinerView) -> Terms:
        return terms_for(
            miner,
            self._rules.terms,
            min_bits=self._trainer.params.min_bits,
            network_target=0 if self._work is None else self._work.template.network_target,
        )

    def _is_stale(self, tag: WorkTag) -> bool:
        """Whether a share's parent block is not the newest one, and has not been for a while.

        It can be no block any more; as a draw it is as good as any (docs/protocol.md section 2).
        """
        if self._work is None or tag.row.prev_hash_le == self._work.template.prev_hash_le:
            return False
        return self._clock.monotonic() - self._tip_since > self._rules.stale_grace

    def _stored(
        self,
        ours: TrainingShare,
        done: Future[bool],
        answer: Answer,
        verdict: Reject | None,
    ) -> None:
        error = done.exception()
        if error is not None:
            self._not_stored(ours, error, answer)
            return
        if not done.result():
            self._trainer.forget(ours.hash)
            self._refuse(_REFUSALS[Admission.DUPLICATE], Admission.DUPLICATE.value, answer)
            return
        if not self._store_works:
            self._store_works = True
            log.info("shares can be stored again")
        self._trainer.settle(ours.hash)
        if verdict is None:
            self.acknowledged += 1
            answer(None)
        else:
            self._refuse(verdict, "old parent", answer)
        self._reached.on_share()

    def _not_stored(self, ours: TrainingShare, error: BaseException, answer: Answer) -> None:
        if self._store_works:  # one line for all of them: a full disk may be the log's too
            self._store_works = False
            log.error("shares cannot be stored and are refused: %s", error)
        self._trainer.forget(ours.hash)
        self._refuse(_NOT_STORED, "not stored", answer)

    def _refuse(self, reject: Reject, reason: str, answer: Answer) -> None:
        self.refused[reason] += 1
        answer(reject)
