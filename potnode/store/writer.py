"""The one thread that writes.

Responsible for group commit: whatever is queued when a transaction ends goes into the next one
together, and an operation's future is resolved only after the commit that holds it is on disk.
Each operation is atomic. If a transaction fails for lack of space or of the database, exactly its
operations fail, and the thread goes on with the next ones; if it fails through what one operation
wants, the others are repeated without it.

Not responsible for what operations do: they are functions of a connection, given by `Store`.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from itertools import groupby
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, Engine

from potnode.store.engine import store_errors
from potnode.store.errors import StoreBusy, StoreClosed, StoreFull, StoreUnavailable

I = TypeVar("I")  # noqa: E741
R = TypeVar("R")

# Operations in one transaction at most: bounds how long the first of them waits for the others.
MAX_BATCH = 4_096
# Operations waiting at most. Beyond it the disk can't follow, and saying so is better than growing.
MAX_WAITING = 65_536


class _Operation(NamedTuple):
    """An item for a handler, and who waits for the result."""

    handler: Callable[[Connection, Sequence[Any]], Sequence[Any]]
    item: Any
    future: Future[Any]


class GroupWriter:
    """Runs operations on `engine` in the order in which they were submitted, from any thread.

    `where` names the database in messages. The thread starts with the object and ends with
    `close()`.
    """

    def __init__(self, engine: Engine, where: str, *, max_waiting: int = MAX_WAITING) -> None:
        self._engine = engine
        self._where = where
        self._max_waiting = max_waiting
        self._queue: queue.SimpleQueue[_Operation | None] = queue.SimpleQueue()
        # Guards `_closed` against submissions, so that none comes after the end mark.
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="potnode-store-writer", daemon=True)
        self._thread.start()

    def submit(
        self, handler: Callable[[Connection, Sequence[I]], Sequence[R]], item: I
    ) -> Future[R]:
        """Queue an operation; never blocks on the disk.

        `handler` gets the items of consecutive operations that share it, in order, and returns one
        result for each; it may be called again with fewer of them after a failed transaction, so it
        keeps nothing outside the database. The future is resolved in the writer's thread.

        Raises StoreClosed, or StoreBusy if too many operations are waiting.
        """
        future: Future[R] = Future()
        with self._lock:
            if self._closed:
                raise StoreClosed(f"database {self._where} was closed")
            if self._queue.qsize() >= self._max_waiting:
                raise StoreBusy(
                    f"database {self._where}: {self._max_waiting} operations wait for the disk; "
                    "submit more slowly or give it a faster disk"
                )
            self._queue.put(_Operation(handler, item, future))
        return future

    def close(self) -> None:
        """Finish what is queued, then end the thread. May be called twice."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        open_ = True
        while open_:
            batch: list[_Operation] = []
            operation = self._queue.get()
            while operation is not None:
                # A future that was cancelled while it waited is left out; from here on none can be.
                if operation.future.set_running_or_notify_cancel():
                    batch.append(operation)
                if len(batch) == MAX_BATCH or self._queue.empty():
                    break
                operation = self._queue.get()
            else:
                open_ = False
            if batch:
                self._commit(batch)

    def _commit(self, batch: list[_Operation]) -> None:
        try:
            results = self._transact(batch)
        except (StoreFull, StoreUnavailable) as error:
            for operation in batch:
                operation.future.set_exception(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to who submitted it
            if len(batch) == 1:
                batch[0].future.set_exception(error)
            else:
                for operation in batch:
                    self._commit([operation])
        else:
            for operation, result in zip(batch, results, strict=True):
                operation.future.set_result(result)

    def _transact(self, batch: list[_Operation]) -> list[Any]:
        results: list[Any] = []
        with store_errors(self._where), self._engine.begin() as connection:
            for handler, operations in groupby(batch, key=lambda operation: operation.handler):
                results += handler(connection, [operation.item for operation in operations])
        return results
