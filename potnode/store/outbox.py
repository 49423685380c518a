"""The store as the recorder sees it.

Responsible for the port `potnode.chain.ports.Outbox`: every method returns once its change is on
disk. The items' type is the caller's (the store does not know the chain), made from rows by `make`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from potnode.store.rows import OutboxRow
from potnode.store.store import Store

T = TypeVar("T")


class StoreOutbox(Generic[T]):
    """Durable memory of the recorder. Methods block; errors are those of `Store`'s methods."""

    def __init__(self, store: Store, make: Callable[[OutboxRow], T]) -> None:
        self._store = store
        self._make = make

    def unfinished(self, limit: int) -> Sequence[T]:
        """Up to `limit` (1..1000) items neither final nor reverted, a job's in order of steps."""
        return [self._make(row) for row in self._store.unfinished(limit)]

    def mark_signed(
        self, job_id: bytes, step: int, *, nonce: int, raw_tx: bytes, tx_hash: bytes
    ) -> None:
        """Keep the transaction that is about to be sent, in place of an earlier one."""
        self._store.mark_signed(job_id, step, nonce=nonce, raw_tx=raw_tx, tx_hash=tx_hash).result()

    def mark_sent(self, job_id: bytes, step: int) -> None:
        """A node has the transaction; it is in no block."""
        self._store.mark_sent(job_id, step).result()

    def mark_mined(self, job_id: bytes, step: int, *, tx_hash: bytes, block_number: int) -> None:
        """The step is recorded in this block, by this transaction."""
        self._store.mark_mined(job_id, step, tx_hash=tx_hash, block_number=block_number).result()

    def mark_final(self, job_id: bytes, step: int) -> None:
        """The block is deep enough to stay."""
        self._store.mark_final(job_id, step).result()

    def mark_reverted(self, job_id: bytes, step: int) -> None:
        """The contract will never take this step."""
        self._store.mark_reverted(job_id, step).result()
