"""Recording as the node sees it: how far the chain is behind, a step's time, what was sent last.

Wraps `potnode.chain.recorder`, which does the work; this module only watches the outbox go by.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence

from potnode.chain.errors import RecordRefused
from potnode.chain.ports import Outbox, OutboxItem, OutboxStatus
from potnode.chain.recorder import Recorder, RecorderSettings, drive
from potnode.chain.rpc import RpcLedger
from potnode.chain.sender import Sender
from potnode.clock import Clock
from potnode.store.errors import StoreBusy, StoreFull, StoreUnavailable
from potnode.store.outbox import StoreOutbox
from potnode.store.rows import OutboxRow
from potnode.store.store import Store

log = logging.getLogger(__name__)

COUNTED_AT_START = 1000
RETRY_SECONDS = 2.0
# Between looks at a transaction under way: steps go one at a time, and some chains take no longer.
POLL_SECONDS = 0.5
# What a database may say while its disk is full, away, or slower than the shares come.
WAITED_OUT = (StoreBusy, StoreFull, StoreUnavailable)


class WatchedOutbox:
    """An outbox that keeps count. Used by the recorder's thread; any may read the figures."""

    def __init__(self, outbox: Outbox, monotonic: Callable[[], float]) -> None:
        self._outbox = outbox
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._waiting = {
            (item.job_id, item.step)
            for item in outbox.unfinished(COUNTED_AT_START)
            if item.status is not OutboxStatus.MINED
        }
        self._signed_at: float | None = None
        self.mean_seconds: float | None = None
        self.last_transaction: bytes | None = None
        self.recorded = 0

    @property
    def lag(self) -> int:
        """Steps in the outbox that are in no block."""
        return len(self._waiting)

    def added(self, job_id: bytes, step: int) -> None:
        """A step was put into the outbox."""
        with self._lock:
            self._waiting.add((job_id, step))

    def unfinished(self, limit: int) -> Sequence[OutboxItem]:
        """As of the port."""
        return self._outbox.unfinished(limit)

    def mark_signed(
        self, job_id: bytes, step: int, *, nonce: int, raw_tx: bytes, tx_hash: bytes
    ) -> None:
        """As of the port; the clock of this step starts."""
        self._signed_at = self._monotonic()
        self._outbox.mark_signed(job_id, step, nonce=nonce, raw_tx=raw_tx, tx_hash=tx_hash)

    def mark_sent(self, job_id: bytes, step: int) -> None:
        """As of the port."""
        self._outbox.mark_sent(job_id, step)
        self.added(job_id, step)

    def mark_mined(self, job_id: bytes, step: int, *, tx_hash: bytes, block_number: int) -> None:
        """As of the port; the clock of this step stops."""
        self._outbox.mark_mined(job_id, step, tx_hash=tx_hash, block_number=block_number)
        if self._signed_at is not None:
            taken = self._monotonic() - self._signed_at
            old = self.mean_seconds
            self.mean_seconds = taken if old is None else 0.9 * old + 0.1 * taken
            self._signed_at = None
        self.last_transaction = tx_hash
        self.recorded += 1
        self._done(job_id, step)

    def mark_final(self, job_id: bytes, step: int) -> None:
        """As of the port."""
        self._outbox.mark_final(job_id, step)
        self._done(job_id, step)

    def mark_reverted(self, job_id: bytes, step: int) -> None:
        """As of the port."""
        self._outbox.mark_reverted(job_id, step)
        self._done(job_id, step)

    def _done(self, job_id: bytes, step: int) -> None:
        with self._lock:
            self._waiting.discard((job_id, step))


class Recording:
    """The recorder with its loop; `run` until cancelled."""

    def __init__(
        self, ledger: RpcLedger, sender: Sender, store: Store, clock: Clock, confirmations: int
    ) -> None:
        outbox = StoreOutbox(store, _item)
        self.outbox = WatchedOutbox(outbox, clock.monotonic)
        self.recorder = Recorder(
            ledger,
            sender,
            self.outbox,
            settings=RecorderSettings(confirmations=confirmations),
            monotonic=clock.monotonic,
        )
        self._wake = asyncio.Event()
        self._refused: dict[bytes, str] = {}

    @property
    def lag(self) -> int:
        """Closed steps that are not on chain yet."""
        return self.outbox.lag

    @property
    def mean_seconds(self) -> float | None:
        """Seconds from signature to block, decaying mean."""
        return self.outbox.mean_seconds

    def expect(self, job_id: bytes, step: int) -> None:
        """A step is about to be stored: from then on the recorder's thread may see it."""
        self.outbox.added(job_id, step)

    def wake(self) -> None:
        """A step was stored."""
        self._wake.set()

    def refused(self, job_id: bytes) -> str | None:
        """Why the contract will take no more steps of a job; None while it does."""
        return self._refused.get(job_id)

    async def run(self) -> None:
        """Record until cancelled; HeadConflict ends it, it needs a person.

        A full or absent disk is waited out: what the chain took meanwhile is found there. A job
        whose step the contract refuses is over; the others go on.
        """
        while True:
            try:
                await drive(self.recorder, self._wake, poll_seconds=POLL_SECONDS)
            except RecordRefused as error:
                log.error("%s", error)
                if error.job_id is None:
                    raise
                self._refused[error.job_id] = str(error)
            except WAITED_OUT as error:
                log.error("recording waits for the database: %s", error)
                await asyncio.sleep(RETRY_SECONDS)

    async def drained(self) -> None:
        """Returns once every closed step is on chain."""
        while self.lag:  # noqa: ASYNC110 - the count changes in the recorder's thread
            await asyncio.sleep(0.05)


def _item(row: OutboxRow) -> OutboxItem:
    return OutboxItem(
        job_id=row.job_id,
        step=row.step,
        prev_head=row.prev_head,
        step_data=row.step_data,
        status=OutboxStatus(row.status.value),
        nonce=row.nonce,
        raw_tx=row.raw_tx,
        tx_hash=row.tx_hash,
        block_number=row.block_number,
    )
