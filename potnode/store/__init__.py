"""The node's database: shares, steps, checkpoints, and the outbox of transactions.

`Store` is the way in; `DirectoryLock` keeps a data directory for one node; `upgrade` migrates.
"""

from __future__ import annotations

from potnode.store.engine import sqlite_url
from potnode.store.errors import (
    DatabaseTooNew,
    DatabaseTooOld,
    DatabaseUnreadable,
    FeedbackRefused,
    InvalidRow,
    InvalidUrl,
    StoreBusy,
    StoreClosed,
    StoreConflict,
    StoreError,
    StoreFull,
    StoreInUse,
    StoreUnavailable,
)
from potnode.store.feedback import FeedbackRow, FeedbackView, PartRow
from potnode.store.lock import DirectoryLock
from potnode.store.outbox import StoreOutbox
from potnode.store.rows import (
    Checkpoint,
    EntryResult,
    JobRow,
    JobStatus,
    OutboxRow,
    Page,
    ProofView,
    ShareRow,
    ShareStatus,
    StepRow,
    StepView,
    TemplateRecord,
    TxStatus,
    WorkerSummary,
)
from potnode.store.schema import upgrade
from potnode.store.store import Store

__all__ = [
    "Checkpoint",
    "DatabaseTooNew",
    "DatabaseTooOld",
    "DatabaseUnreadable",
    "DirectoryLock",
    "EntryResult",
    "FeedbackRefused",
    "FeedbackRow",
    "FeedbackView",
    "InvalidRow",
    "InvalidUrl",
    "JobRow",
    "JobStatus",
    "OutboxRow",
    "Page",
    "PartRow",
    "ProofView",
    "ShareRow",
    "ShareStatus",
    "StepRow",
    "StepView",
    "Store",
    "StoreBusy",
    "StoreClosed",
    "StoreConflict",
    "StoreError",
    "StoreFull",
    "StoreInUse",
    "StoreOutbox",
    "StoreUnavailable",
    "TemplateRecord",
    "TxStatus",
    "WorkerSummary",
    "sqlite_url",
    "upgrade",
]
