"""What the store takes and gives: one frozen record per kind of row.

Responsible for the shape of every value (lengths, ranges, byte order in the names) and for the
identity of templates. Not responsible for protocol rules: whether a share is valid work is decided
before it comes here. Hashes are digest bytes; the reversed display order exists only at the API.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

from potnode.store.errors import InvalidRow

T = TypeVar("T")

MAX_SCRIPT = 252
MAX_WORKER = 128
MAX_BRANCH = 16
MAX_COINBASE = 755
MAX_CANDIDATES = 64  # of a share
LOSS_BYTES = 5


class JobStatus(StrEnum):
    """`open`: shares are taken; `finished`: the last step is recorded; `closed`: given up."""

    OPEN = "open"
    CLOSED = "closed"
    FINISHED = "finished"


class ShareStatus(StrEnum):
    """`pending`: on disk, not yet on chain; `recorded`: its step is in a block; `final`: and that
    block is deep enough; `expired`: its window passed before a step took it; `reverted`: its step
    was refused."""

    PENDING = "pending"
    RECORDED = "recorded"
    FINAL = "final"
    EXPIRED = "expired"
    REVERTED = "reverted"


class TxStatus(StrEnum):
    """Of a step's transaction. `new`: to be signed; `signed`: bytes are on disk, perhaps sent;
    `sent`: a node took it; `mined`: in a block; `final`: deep enough; `reverted`: refused for good.
    """

    NEW = "new"
    SIGNED = "signed"
    SENT = "sent"
    MINED = "mined"
    FINAL = "final"
    REVERTED = "reverted"


def require_length(name: str, value: bytes, length: int) -> None:
    """Raise InvalidRow unless `value` has `length` bytes."""
    if len(value) != length:
        raise InvalidRow(name, f"has {len(value)} bytes, not {length}")


def require_range(name: str, value: int, bits: int) -> None:
    """Raise InvalidRow unless 0 <= value < 2^bits."""
    if not 0 <= value < 1 << bits:
        raise InvalidRow(name, f"is {value}, outside 0..2^{bits} - 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """A job this node works for. `job_id` 32 bytes, `contract` 20, `created_tx` 32 or None.

    `params` is the ABI-encoded static struct, `manifest` the exact bytes whose sha256 is in it;
    `created_at` is in ns since 1970 UTC.
    """

    job_id: bytes
    chain_id: int
    contract: bytes
    params: bytes
    manifest: bytes
    created_at: int
    created_tx: bytes | None = None
    status: JobStatus = JobStatus.OPEN

    def __post_init__(self) -> None:
        require_length("job.job_id", self.job_id, 32)
        require_length("job.contract", self.contract, 20)
        require_range("job.chain_id", self.chain_id, 63)
        require_range("job.created_at", self.created_at, 63)
        if self.created_tx is not None:
            require_length("job.created_tx", self.created_tx, 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateRecord:
    """What the shares of one block template have in common (docs/protocol.md section 7).

    `prev_hash_le` 32 bytes and `nbits_le` 4 as in the header; `coinbase` is the stripped form with
    its holes zero and the script taken out at offset `script_at` (0: no script); `branch` holds up
    to 16 hashes of 32 bytes. `template_id` is sha256 of `prev_hash_le | nbits_le | be16 script_at |
    be16 coinbase length | coinbase | branch hashes`.
    """

    prev_hash_le: bytes
    nbits_le: bytes
    script_at: int
    coinbase: bytes
    branch: tuple[bytes, ...]
    template_id: bytes = field(init=False)

    def __post_init__(self) -> None:
        require_length("template.prev_hash_le", self.prev_hash_le, 32)
        require_length("template.nbits_le", self.nbits_le, 4)
        require_range("template.script_at", self.script_at, 16)
        if len(self.coinbase) > MAX_COINBASE:
            raise InvalidRow(
                "template.coinbase", f"has {len(self.coinbase)} bytes, more than {MAX_COINBASE}"
            )
        if len(self.branch) > MAX_BRANCH:
            raise InvalidRow(
                "template.branch", f"has {len(self.branch)} hashes, more than {MAX_BRANCH}"
            )
        for sibling in self.branch:
            require_length("template.branch", sibling, 32)
        row = (
            self.prev_hash_le
            + self.nbits_le
            + self.script_at.to_bytes(2, "big")
            + len(self.coinbase).to_bytes(2, "big")
            + self.coinbase
            + b"".join(self.branch)
        )
        object.__setattr__(self, "template_id", hashlib.sha256(row).digest())


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareRow:
    """An accepted share: everything a step record needs of it, and who sent it.

    `hash` is sha256d of the header (32 digest bytes) and the share's identity. `work_step` is the
    step its marker commits to, `miner` the 20 address bytes, `bits` the agreed difficulty (0..255),
    `script` the payout script (0..252 bytes), `extranonce` the 16 bytes counter4 | extranonce1_4 |
    extranonce2_8; the three header fields have 4 bytes each, after rolling. `received_at` is in ns
    since 1970 UTC; `worker` is printable, at most 128 characters, "" if the miner gave none.
    `is_block`: the hash also met the parent chain's target when it came.
    """

    hash: bytes
    job_id: bytes
    work_step: int
    miner: bytes
    worker: str
    bits: int
    script: bytes
    template: TemplateRecord
    extranonce: bytes
    version_le: bytes
    ntime_le: bytes
    nonce_le: bytes
    received_at: int
    is_block: bool = False

    def __post_init__(self) -> None:
        require_length("share.hash", self.hash, 32)
        require_length("share.job_id", self.job_id, 32)
        require_range("share.work_step", self.work_step, 32)
        require_length("share.miner", self.miner, 20)
        require_range("share.bits", self.bits, 8)
        require_length("share.extranonce", self.extranonce, 16)
        require_length("share.version_le", self.version_le, 4)
        require_length("share.ntime_le", self.ntime_le, 4)
        require_length("share.nonce_le", self.nonce_le, 4)
        require_range("share.received_at", self.received_at, 63)
        if len(self.script) > MAX_SCRIPT:
            raise InvalidRow(
                "share.script", f"has {len(self.script)} bytes, more than {MAX_SCRIPT}"
            )
        # Not printable are also NUL, which PostgreSQL refuses in text, and lone surrogates, which
        # have no UTF-8 form.
        if len(self.worker) > MAX_WORKER or not self.worker.isprintable():
            raise InvalidRow(
                "share.worker", f"is not printable text of at most {MAX_WORKER} characters"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryResult:
    """What evaluating one share gave: `index` is its place in the step's record. Of each of its
    candidates, 1 to 64, `losses` has the integer sum (u40), `coefficients` the weight -127..127.
    """

    hash: bytes
    index: int
    losses: tuple[int, ...]
    coefficients: tuple[int, ...]

    def __post_init__(self) -> None:
        require_length("entry.hash", self.hash, 32)
        require_range("entry.index", self.index, 16)
        if not 1 <= len(self.losses) <= MAX_CANDIDATES:
            raise InvalidRow("entry.losses", f"are {len(self.losses)}, not 1..{MAX_CANDIDATES}")
        if len(self.coefficients) != len(self.losses):
            raise InvalidRow(
                "entry.coefficients", f"are {len(self.coefficients)}, losses {len(self.losses)}"
            )
        for i, (loss, coefficient) in enumerate(zip(self.losses, self.coefficients, strict=True)):
            require_range(f"entry.losses[{i}]", loss, 40)
            if not -127 <= coefficient <= 127:
                raise InvalidRow(f"entry.coefficients[{i}]", f"is {coefficient}, outside -127..127")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """A closed step. `step_data` is the canonical record; heads and `state_root` have 32 bytes.

    `validation_loss` (u40) and `hits` (u32) are None except on validation steps. `closed_at` is in
    ns since 1970 UTC.
    """

    job_id: bytes
    step: int
    prev_head: bytes
    head: bytes
    step_data: bytes
    state_root: bytes
    closed_at: int
    validation_loss: int | None = None
    hits: int | None = None

    def __post_init__(self) -> None:
        require_length("step.job_id", self.job_id, 32)
        require_range("step.step", self.step, 32)
        require_length("step.prev_head", self.prev_head, 32)
        require_length("step.head", self.head, 32)
        require_length("step.state_root", self.state_root, 32)
        require_range("step.closed_at", self.closed_at, 63)
        if (self.validation_loss is None) != (self.hits is None):
            raise InvalidRow("step.hits", "and validation_loss must both be given or both be None")
        require_range("step.validation_loss", self.validation_loss or 0, 40)
        require_range("step.hits", self.hits or 0, 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The model after `step`: where training goes on after a restart.

    `masters_le` and `momenta_le` are all tensors' int32 values, little-endian, in manifest order,
    of equal length; `head` is the step's new head and `state_root` its root.
    """

    job_id: bytes
    step: int
    head: bytes
    state_root: bytes
    masters_le: bytes
    momenta_le: bytes

    def __post_init__(self) -> None:
        require_length("checkpoint.job_id", self.job_id, 32)
        require_length("checkpoint.head", self.head, 32)
        require_length("checkpoint.state_root", self.state_root, 32)
        require_range("checkpoint.step", self.step, 32)
        if len(self.masters_le) % 4 or len(self.masters_le) != len(self.momenta_le):
            raise InvalidRow(
                "checkpoint.masters_le", "and momenta_le must be int32 arrays of one length"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRow:
    """A step on its way to the chain, with what has to get there.

    `nonce`, `raw_tx` and `tx_hash` (32 bytes) are None until it is signed, `block_number` until it
    is mined.
    """

    job_id: bytes
    step: int
    prev_head: bytes
    step_data: bytes
    status: TxStatus
    nonce: int | None
    raw_tx: bytes | None
    tx_hash: bytes | None
    block_number: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofView:
    """One share as readers see it. `prev_hash_le` is its template's, `is_block` as in `ShareRow`.
    From `step` on, None until it is known; `tx_hash` and `block_number` belong to the transaction
    that records the step."""

    hash: bytes
    job_id: bytes
    work_step: int
    miner: bytes
    worker: str
    bits: int
    script: bytes
    template_id: bytes
    prev_hash_le: bytes
    extranonce: bytes
    version_le: bytes
    ntime_le: bytes
    nonce_le: bytes
    received_at: int
    is_block: bool
    status: ShareStatus
    step: int | None
    index: int | None
    losses: tuple[int, ...] | None
    coefficients: tuple[int, ...] | None
    tx_hash: bytes | None
    block_number: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepView:
    """One step as readers see it, without its record; `proofs` is the number of entries."""

    job_id: bytes
    step: int
    prev_head: bytes
    head: bytes
    state_root: bytes
    validation_loss: int | None
    hits: int | None
    closed_at: int
    proofs: int
    status: TxStatus
    tx_hash: bytes | None
    block_number: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSummary:
    """What one worker of one miner has delivered: share counts by status, `work` as the exact sum
    of 2^bits, and when its last share came (ns)."""

    miner: bytes
    worker: str
    shares: int
    work: int
    by_status: dict[ShareStatus, int]
    last_received_at: int


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list. `next` is the cursor of the following page, None on the last."""

    items: tuple[T, ...]
    next: int | None
