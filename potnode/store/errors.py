"""Every error this package raises on purpose, under one root.

    StoreError
    ├── InvalidUrl            the database URL can't be used
    ├── StoreInUse            another process holds the data directory
    ├── DatabaseTooOld        the database needs `potnode db upgrade`
    ├── DatabaseTooNew        a newer potnode wrote the database
    ├── DatabaseUnreadable    the file is no database, or a damaged one
    ├── StoreUnavailable      the database can't be reached, is locked, or its disk fails
    ├── StoreFull             no space left; nothing of the operation was written
    ├── StoreBusy             more operations are waiting than may wait
    ├── StoreClosed           the store was closed
    ├── StoreConflict         what was to be written contradicts what is stored
    │   └── FeedbackRefused   a call's key was used before, or a job has pairs enough
    └── InvalidRow            a value does not fit its column

Messages say what is wrong, where, and what to do. No message contains a database password.
"""

from __future__ import annotations

from pathlib import Path


class StoreError(Exception):
    """Root of the errors of `potnode.store`."""


class InvalidUrl(StoreError):
    """The database URL is malformed, names an unknown driver, or no file."""


class StoreInUse(StoreError):
    """Another process holds the data directory. `pid` is None if it has not written it yet."""

    def __init__(self, directory: Path, pid: int | None) -> None:
        holder = "another process" if pid is None else f"process {pid}"
        super().__init__(
            f"data directory {directory} is in use by {holder}: "
            "stop that node, or give this one a directory of its own"
        )
        self.directory = directory
        self.pid = pid


class DatabaseTooOld(StoreError):
    """The database was never migrated, or not to this version. `found` is its revision, if any."""

    def __init__(self, where: str, found: str | None, expected: str) -> None:
        state = "has no schema of potnode" if found is None else f"has schema {found}"
        super().__init__(
            f"database {where} {state}, but schema {expected} is needed: "
            "back it up, then run `potnode db upgrade`"
        )
        self.found = found
        self.expected = expected


class DatabaseTooNew(StoreError):
    """A newer version of potnode migrated the database. `found` is its revision."""

    def __init__(self, where: str, found: str, expected: str) -> None:
        super().__init__(
            f"database {where} has schema {found}, newer than this potnode's {expected}: "
            "run the potnode version that upgraded it, or a newer one"
        )
        self.found = found
        self.expected = expected


class DatabaseUnreadable(StoreError):
    """The file is not a SQLite database, or its pages are damaged."""


class StoreUnavailable(StoreError):
    """The database can't be reached, stays locked, or its disk fails. Retrying may help."""


class StoreFull(StoreError):
    """The database has no space left. The operation left no trace; it can be repeated."""


class StoreBusy(StoreError):
    """As many operations are waiting for the disk as may wait. The operation was not queued."""


class StoreClosed(StoreError):
    """The store was closed; nothing was written."""


class StoreConflict(StoreError):
    """The operation contradicts what is stored: an unknown job, a step out of order, a share that
    is not pending. Nothing of it was written."""


class FeedbackRefused(StoreConflict):
    """Feedback that is not taken. The message is for whoever sent it."""


class InvalidRow(StoreError):
    """A value does not fit its column. `field` names the place."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field} {problem}")
        self.field = field
        self.problem = problem
