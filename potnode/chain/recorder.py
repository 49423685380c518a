"""Brings closed steps onto the chain, each exactly once, whatever fails in between.

The order never changes: sign, keep the signed bytes, send them, see them mined, keep that. A crash
at any point is resumed from what was kept: the same bytes are sent again, which a chain takes at
most once; and if they can't be (another transaction took the nonce), the contract itself compares
the previous head, so a second record of a step reverts. Before anything is signed again, the
contract's heads say whether the step is there already.

Steps go one at a time and in order; a mined one is watched until it is `confirmations` blocks deep,
while the next are on their way. Time is an argument; `drive` is the asynchronous loop around it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import NoReturn

from potnode.chain.contract import encode_create_job, encode_record, event_topic, head_after
from potnode.chain.errors import (
    BadChainData,
    ChainStorageFull,
    ChainUnavailable,
    FeeTooLow,
    HeadConflict,
    NonceTooLow,
    RecordRefused,
    RpcError,
)
from potnode.chain.ports import Ledger, Outbox, OutboxItem, OutboxStatus, Receipt
from potnode.chain.reader import head_at, job_state, steps
from potnode.chain.retry import Backoff
from potnode.chain.sender import Sender, Signed
from potnode.spec.params import JobParams, job_id

WINDOW = 64
"""Unfinished steps looked at in one go."""
MOST = 1000
"""Unfinished steps looked at where more than a window of them may be concerned."""
MAX_REVERTS = 3
"""A record that passes a dry run but reverts this often when mined is given up."""

_log = logging.getLogger(__name__)


class Progress(Enum):
    """What `step_once` achieved: nothing to do; something is under way; something is done, look
    again.
    """

    IDLE = "idle"
    WAITING = "waiting"
    ADVANCED = "advanced"


@dataclass(frozen=True, slots=True)
class RecorderSettings:
    """confirmations: blocks on top of a record's before it is final; 0 where there are no
    reorganisations. resend_after: seconds until a transaction that is in no block is sent again.
    replace_after: seconds until it is replaced by one with higher fees."""

    confirmations: int = 0
    resend_after: float = 30.0
    replace_after: float = 180.0


@dataclass(slots=True)
class _InFlight:
    """The transaction this process sent last, and when. A crash forgets it, which does no harm."""

    tx_hash: bytes
    first_sent: float
    last_sent: float


class Recorder:
    """Works through an outbox. One per key and chain; `step_once` is not to be called by two
    threads at once.
    """

    def __init__(
        self,
        ledger: Ledger,
        sender: Sender,
        outbox: Outbox,
        *,
        settings: RecorderSettings | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._chain = ledger.chain
        self._sender = sender
        self._outbox = outbox
        self._settings = settings or RecorderSettings()
        self._monotonic = monotonic
        self._in_flight: _InFlight | None = None
        self._reverts: dict[tuple[bytes, int], int] = {}

    def create_job(self, params: JobParams, manifest: bytes) -> bytes:
        """Create a job with the recorder's key; see the function of this name."""
        return create_job(self._ledger, self._sender, params, manifest)

    def step_once(self) -> Progress:
        """Do what can be done now, without waiting.

        Raises ChainUnavailable, RpcError, BadChainData or ChainStorageFull: nothing is lost, call
        again later. Raises RecordRefused (the item and all after it of its job are marked as
        reverted: that job is over) and HeadConflict: this job can't go on without a person.
        """
        items = self._outbox.unfinished(WINDOW)
        if len(items) == WINDOW and all(item.status is OutboxStatus.MINED for item in items):
            # Many steps wait to become final; those that are on no chain yet stand behind them.
            items = self._outbox.unfinished(MOST)
        if not items:
            return Progress.IDLE
        advanced = False
        latest = self._chain.latest_block() if items[0].status is OutboxStatus.MINED else 0
        for item in items:
            if item.status is not OutboxStatus.MINED:
                return self._bring(item)
            confirmed = self._confirm(item, latest)
            if confirmed is None:
                _log.warning("step %d left its block: sending it again", item.step)
                self._outbox.mark_sent(item.job_id, item.step)
                return Progress.ADVANCED
            advanced |= confirmed
        return Progress.ADVANCED if advanced else Progress.WAITING

    def _confirm(self, item: OutboxItem, latest: int) -> bool | None:
        """Whether a mined item became final; None if its transaction is in no block any more."""
        receipt = self._chain.receipt(item.tx_hash) if item.tx_hash is not None else None
        if receipt is None or not receipt.succeeded:
            return None
        if latest - receipt.block_number >= self._settings.confirmations:
            self._outbox.mark_final(item.job_id, item.step)
            return True
        if receipt.block_number != item.block_number:
            self._mark_mined(item, receipt.transaction_hash, receipt.block_number)
        return False

    def _bring(self, item: OutboxItem) -> Progress:
        if item.tx_hash is not None:
            receipt = self._chain.receipt(item.tx_hash)
            if receipt is not None:
                return self._conclude(item, receipt)
        # Asked before every signature and whenever there is no receipt: another transaction may
        # have recorded the step (one that this one replaced, or one sent before a crash).
        if self._found_recorded(item):
            return Progress.ADVANCED
        with self._sender.lock:
            if item.raw_tx is None:
                item = self._sign(item)
            elif self._is_overdue(item):
                item = self._sign(item, nonce=item.nonce, replaces=item.raw_tx)
            if not self._hand_over(item):
                return Progress.WAITING
        receipt = self._chain.receipt(item.tx_hash or b"")
        return Progress.WAITING if receipt is None else self._conclude(item, receipt)

    def _sign(
        self, item: OutboxItem, *, nonce: int | None = None, replaces: bytes | None = None
    ) -> OutboxItem:
        """Sign the item's transaction and keep it, before anyone else can see it."""
        what = _named(item)
        count = steps(self._ledger, item.job_id)
        head = head_at(self._ledger, item.job_id, item.step)
        if count < item.step or not any(head):
            raise BadChainData(
                f"{what} waits: the step before it was seen in a block, but the node answers as if "
                "it were not there (another replica, or a reorganisation)",
                step=item.step,
            )
        if count != item.step or head != item.prev_head:
            raise HeadConflict(
                f"{what} can't be recorded: the contract is at step {count}, its head there is "
                f"0x{head.hex()}, the record continues 0x{item.prev_head.hex()}; somebody else "
                "records this job with the operator's key, or this node's data are of another chain"
            )
        to, data = self._ledger.contract, encode_record(item.prev_head, item.step_data)
        try:
            gas = self._sender.gas_for(what, to, data)
        except RecordRefused as refusal:
            self._give_up(item, refusal)
        signed = self._sender.sign(to, data, gas=gas, nonce=nonce, replaces=replaces)
        return self._keep(item, signed)

    def _keep(self, item: OutboxItem, signed: Signed) -> OutboxItem:
        self._outbox.mark_signed(
            item.job_id, item.step, nonce=signed.nonce, raw_tx=signed.raw, tx_hash=signed.hash
        )
        return replace(
            item,
            status=OutboxStatus.SIGNED,
            nonce=signed.nonce,
            raw_tx=signed.raw,
            tx_hash=signed.hash,
        )

    def _hand_over(self, item: OutboxItem) -> bool:
        """Send the kept transaction unless that was done lately; False if it was signed anew."""
        now = self._monotonic()
        flying = self._in_flight
        if flying is not None and flying.tx_hash == item.tx_hash:
            if now - flying.last_sent < self._settings.resend_after:
                return True
        else:
            flying = None
        try:
            self._chain.send_raw_transaction(item.raw_tx or b"")
        except NonceTooLow:
            if self._chain.receipt(item.tx_hash or b"") is not None or self._found_recorded(item):
                return True
            # The nonce went to a transaction that is none of this step's.
            self._sign(item)
            return False
        except FeeTooLow:
            self._sign(item, nonce=item.nonce, replaces=item.raw_tx)
            return False
        # Noted only now: what did not leave is sent at the next look, not after `resend_after`.
        if flying is None:
            self._in_flight = _InFlight(item.tx_hash or b"", now, now)
        else:
            flying.last_sent = now
        if item.status is not OutboxStatus.SENT:
            self._outbox.mark_sent(item.job_id, item.step)
        return True

    def _is_overdue(self, item: OutboxItem) -> bool:
        flying = self._in_flight
        return (
            flying is not None
            and flying.tx_hash == item.tx_hash
            and self._monotonic() - flying.first_sent >= self._settings.replace_after
        )

    def _conclude(self, item: OutboxItem, receipt: Receipt) -> Progress:
        """A transaction of the item is in a block: the step is recorded, or it reverted."""
        if receipt.succeeded:
            self._mark_mined(item, receipt.transaction_hash, receipt.block_number)
            if self._settings.confirmations == 0:
                self._outbox.mark_final(item.job_id, item.step)
            return Progress.ADVANCED
        if self._found_recorded(item):
            return Progress.ADVANCED
        what, key = _named(item), (item.job_id, item.step)
        self._reverts[key] = self._reverts.get(key, 0) + 1
        try:
            self._sender.dry_run(
                what, self._ledger.contract, encode_record(item.prev_head, item.step_data)
            )
            if self._reverts[key] >= MAX_REVERTS:
                raise RecordRefused(
                    what, f"reverted {MAX_REVERTS} times when mined, though a dry run passes"
                )
        except RecordRefused as refusal:
            self._give_up(item, refusal)
        # It came into its block before what it builds on, or out of gas: with a new nonce it can
        # pass.
        with self._sender.lock:
            self._sign(item)
        return Progress.ADVANCED

    def _give_up(self, item: OutboxItem, refusal: RecordRefused) -> NoReturn:
        """The contract will not take a step, so none after it: mark them all, and say so."""
        for waiting in self._outbox.unfinished(MOST):
            if waiting.job_id == item.job_id and waiting.status is not OutboxStatus.MINED:
                self._outbox.mark_reverted(waiting.job_id, waiting.step)
        raise RecordRefused(refusal.what, refusal.reason, item.job_id) from refusal

    def _found_recorded(self, item: OutboxItem) -> bool:
        """Whether the contract has this step; then it is kept as mined. Raises HeadConflict if it
        is another's.
        """
        head = head_at(self._ledger, item.job_id, item.step + 1)
        if not any(head):
            return False
        if head != head_after(item.prev_head, item.step_data):
            raise HeadConflict(
                f"{_named(item)} is recorded with head 0x{head.hex()}, "
                "which is not that of this node's record: "
                "somebody else records this job with the operator's key"
            )
        topics = [event_topic("StepRecorded"), item.job_id, item.step.to_bytes(32, "big")]
        for log in self._ledger.logs(topics):
            self._mark_mined(item, log.transaction_hash, log.block_number)
            return True
        raise BadChainData(
            f"{_named(item)} is recorded but the node shows no event of it", step=item.step
        )

    def _mark_mined(self, item: OutboxItem, tx_hash: bytes, block_number: int) -> None:
        self._outbox.mark_mined(item.job_id, item.step, tx_hash=tx_hash, block_number=block_number)
        self._reverts.pop((item.job_id, item.step), None)


def create_job(ledger: Ledger, sender: Sender, params: JobParams, manifest: bytes) -> bytes:
    """Create a job, unless it exists; its 32-byte id. The sender must be its owner.

    Repeating is safe: the id follows from the parameters, and the contract creates it once. The
    escrow goes along in the native coin; for a token the contract must have been approved
    before. Raises RecordRefused, ChainUnavailable, TransactionRejected.
    """
    identity = job_id(ledger.chain.chain_id, ledger.contract, params)
    if job_state(ledger, identity) is not None:
        return identity
    native = not any(params.token)
    escrow = params.step_limit * (params.pot_per_step + params.operator_fee) if native else 0
    try:
        sender.execute(
            "the job", ledger.contract, encode_create_job(params, manifest), value=escrow
        )
    except RecordRefused:
        # An earlier attempt's transaction may have come first.
        if job_state(ledger, identity) is None:
            raise
    return identity


def _named(item: OutboxItem) -> str:
    return f"step {item.step} of job 0x{item.job_id.hex()}"


async def drive(
    recorder: Recorder,
    wake: asyncio.Event,
    *,
    poll_seconds: float = 2.0,
    grace_seconds: float = 3.0,
    backoff: Backoff | None = None,
) -> None:
    """Run `step_once` in a thread for ever; set `wake` when a step was closed.

    A node that does not answer, or answers with an error or nonsense (too many requests, fees that
    rose, an empty account, a replica that lags), is waited out: giving up would help nobody, and
    nothing is lost. Ends by RecordRefused or HeadConflict, or by cancellation, which waits at most
    `grace_seconds` for the call under way.
    """
    backoff = backoff or Backoff()
    failures = 0
    while True:
        call = asyncio.ensure_future(asyncio.to_thread(recorder.step_once))
        try:
            progress = await asyncio.shield(call)
        except asyncio.CancelledError:
            await asyncio.wait({call}, timeout=grace_seconds)
            if call.done() and not call.cancelled():
                call.exception()  # told to nobody: whoever cancels does not want to know
            raise
        except (ChainUnavailable, RpcError, BadChainData, ChainStorageFull) as error:
            pause = max(backoff.wait(failures), 0.05)
            _log.warning("recording waits %.1f s: %s", pause, error)
            failures += 1
            await asyncio.sleep(pause)
            continue
        failures = 0
        if progress is not Progress.ADVANCED:
            try:
                async with asyncio.timeout(poll_seconds):
                    await wake.wait()
            except TimeoutError:
                continue
            wake.clear()
