"""Searches on disk: one JSON file each, replaced as a whole, so a kill leaves the old or the new.

Responsible for what a file holds and for reading all of them at start. Not for when they are
written (`potnode.literal.searches`).
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec

from potnode.literal.ledger import Ledger
from potnode.literal.request import Request

log = logging.getLogger(__name__)

Status = Literal["queued", "running", "finished", "cancelled", "failed"]
STATUSES: tuple[Status, ...] = get_args(Status)


class Round(msgspec.Struct, kw_only=True):
    """One round. nonce_range is half-open; hashes: digests of one candidate.

    held_out_loss (nats), held_out_accuracy (0 to 1): of the net with the round's best, once it is
    over.
    """

    layer: str
    nonce_range: tuple[int, int]
    hashes: int
    ledger: Ledger
    held_out_loss: float | None = None
    held_out_accuracy: float | None = None

    @property
    def candidates(self) -> int:
        """How many the range has."""
        return self.nonce_range[1] - self.nonce_range[0]


class Search(msgspec.Struct, kw_only=True):
    """A search and all that is known of it.

    id: 16 hex digits, a part of the file's name. number: rising, for the order. created_at: Unix
    seconds. dataset_root: 64 hex digits of the data it began with. seconds: spent on it. error: why
    it failed. rounds: begun so far.
    """

    id: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}\Z")]
    number: int
    created_at: Annotated[float, msgspec.Meta(ge=0, lt=1e11)]
    request: Request
    dataset_root: str
    status: Status = "queued"
    seconds: float = 0.0
    error: str | None = None
    rounds: list[Round] = []

    @property
    def waits(self) -> bool:
        """Whether it is still to be searched, or to go on."""
        return self.status in ("queued", "running")

    @property
    def hashes(self) -> int:
        """Digests computed so far."""
        return sum(each.ledger.evaluated * each.hashes for each in self.rounds)

    def copy(self) -> Search:
        """One that nobody else changes."""
        return msgspec.json.decode(msgspec.json.encode(self), type=Search)


class SearchFiles:
    """A folder of searches."""

    def __init__(self, folder: Path) -> None:
        """Make the folder if it is not there. Raises OSError."""
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def read(self) -> list[Search]:
        """All searches, the oldest first. A file that is none is left as it is, and logged."""
        found = []
        for path in self._folder.glob("*.json.tmp"):
            path.unlink()  # a write that was cut off; what it was to replace is whole
        for path in self._folder.glob("*.json"):
            try:
                search = msgspec.json.decode(path.read_bytes(), type=Search)
            except (OSError, ValueError, RecursionError, msgspec.DecodeError) as error:
                # ValueError: bytes that are no UTF-8. RecursionError: brackets without end.
                log.error("%s is no search of this version and is left as it is: %s", path, error)
                continue
            found.append(search)
        return sorted(found, key=lambda search: search.number)

    def write(self, search: Search) -> None:
        """Replace a search's file by one that is whole on disk. Raises OSError."""
        path = self._path(search)
        temporary = path.with_name(path.name + ".tmp")
        try:
            with temporary.open("wb") as file:
                file.write(msgspec.json.encode(search))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        self._sync_folder()

    def remove(self, search: Search) -> None:
        """Remove a search's file. Raises OSError."""
        self._path(search).unlink(missing_ok=True)

    def _path(self, search: Search) -> Path:
        return self._folder / f"{search.number}-{search.id}.json"

    def _sync_folder(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
