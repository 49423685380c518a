"""The lock on a data directory: one node at a time.

Responsible for `<directory>/lock`, held with flock(2) for as long as the process lives; the kernel
lets go of it however the process ends, kill -9 included. The number in the file only serves the
message of whoever comes second.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from potnode.store.errors import StoreInUse, StoreUnavailable

LOCK_FILE = "lock"


class DirectoryLock:
    """Holds a data directory from construction until `release()` or the end of the process.

    Makes the directory (0700) if it is missing. Raises StoreInUse, naming directory and process, if
    another process holds it, and StoreUnavailable if the file system does not let us.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        path = directory / LOCK_FILE
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Never removed: a lock on a file that was unlinked meanwhile would keep nobody out.
            self._descriptor: int | None = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StoreUnavailable(f"can't open lock file {path}: {error}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = _read_pid(self._descriptor)
            self.release()
            raise StoreInUse(directory, pid) from error
        except OSError as error:
            self.release()
            raise StoreUnavailable(f"can't lock {path}: {error}") from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let go of the directory. May be called twice."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def _read_pid(descriptor: int) -> int | None:
    written = os.pread(descriptor, 32, 0).strip()
    return int(written) if written.isdigit() else None
