"""All literal searches of a node: one at a time, the others wait, and a restart loses nothing.

Responsible for the queue, for when a search is written to disk, and for stopping. What searching is
stands in `potnode.literal.rounds`.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from potnode.data.catalog import Catalog
from potnode.literal.errors import LiteralError, SearchesDown, TooManySearches, UnknownSearch
from potnode.literal.files import Search, SearchFiles
from potnode.literal.request import Request, check
from potnode.literal.rounds import Crew, Run
from potnode.machinecode.errors import MachineCodeError

log = logging.getLogger(__name__)

MAX_WAITING: Final = 16
"""Searches that wait or run."""

MAX_KEPT: Final = 256
"""Searches whose results are kept; the oldest that are over make room."""

CLOSE_SECONDS: Final = 2.0

CHECKPOINT_SECONDS: Final = 2.0
"""Work that a kill may cost."""


class Searches:
    """The searches of one folder. Safe to use from several threads; `start` and `close` once each.

    Without `start` nothing is searched, and all else works.
    """

    def __init__(
        self,
        folder: Path,
        catalog: Catalog,
        *,
        threads: int | None = None,
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
    ) -> None:
        """Read what the folder has.

        Args:
            threads: that search; one a core by default.
            checkpoint_seconds: between two times a running search is written to disk.

        Raises:
            OSError: the folder can't be made or read.
        """
        self._catalog, self._threads = catalog, threads
        self._checkpoint_seconds = checkpoint_seconds
        self._files = SearchFiles(folder)
        self._changed = threading.Condition()
        self._stopping = False
        self._searches = {search.id: search for search in self._files.read()}
        self._runner: threading.Thread | None = None
        self._written = 0.0
        self._counted = 0.0

    def start(self) -> None:
        """Begin with the oldest search that is not over."""
        self._runner = threading.Thread(target=self._run, name="potnode-literal", daemon=True)
        self._runner.start()

    def close(self, within: float = CLOSE_SECONDS) -> None:
        """Stop; what runs is written to disk as far as it is, and goes on at the next start.

        Args:
            within: seconds to wait for that. A search that is just compiling its code takes longer;
            it has nothing to lose.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._runner is not None:
            self._runner.join(within)

    def submit(self, request: Request) -> Search:
        """Take a search on, once it is on disk.

        Raises:
            BadSearch: it can't be searched. TooManySearches: too many wait. SearchesDown: the disk
            does not take it.
        """
        _, dataset, _ = check(request, self._catalog)
        with self._changed:
            if sum(search.waits for search in self._searches.values()) >= MAX_WAITING:
                raise TooManySearches(
                    f"{MAX_WAITING} searches wait already: cancel one, or try again later"
                )
            self._make_room()
            search = Search(
                id=secrets.token_hex(8),
                number=1 + max((each.number for each in self._searches.values()), default=0),
                created_at=time.time(),
                request=request,
                dataset_root=dataset.root.hex(),
            )
            try:
                self._files.write(search)
            except OSError as error:
                log.error("a search could not be written to disk: %s", error)
                raise SearchesDown("the search could not be written to disk") from error
            self._searches[search.id] = search
            self._changed.notify_all()
            return search.copy()

    def get(self, identity: str) -> Search:
        """A search as it is now, a copy. Raises UnknownSearch."""
        with self._changed:
            return self._known(identity).copy()

    def page(self, limit: int, cursor: int | None) -> tuple[list[Search], int | None]:
        """Searches, newest first, and the cursor of the next page."""
        with self._changed:
            numbered = sorted(self._searches.values(), key=lambda each: -each.number)
            found = [each for each in numbered if cursor is None or each.number < cursor]
            items = [search.copy() for search in found[:limit]]
            return items, items[-1].number if len(found) > limit else None

    def cancel(self, identity: str) -> Search:
        """End a search, unless it is over. Raises UnknownSearch."""
        with self._changed:
            search = self._known(identity)
            if search.waits:
                search.status = "cancelled"
                self._write(search)
            return search.copy()

    def _known(self, identity: str) -> Search:
        search = self._searches.get(identity)
        if search is None:
            raise UnknownSearch(f"there is no search {identity!r}, or it was so long ago")
        return search

    def _make_room(self) -> None:
        """Forget the oldest searches that are over, so that one more can be kept."""
        over = sorted(
            (each for each in self._searches.values() if not each.waits),
            key=lambda each: each.number,
        )
        for search in over[: max(0, len(self._searches) - MAX_KEPT + 1)]:
            try:
                self._files.remove(search)
            except OSError as error:
                log.error("search %s could not be removed: %s", search.id, error)
            del self._searches[search.id]

    # The runner's thread.

    def _run(self) -> None:
        crew = Crew(self._threads)
        try:
            while (search := self._next()) is not None:
                self._search(search, crew)
        finally:
            crew.close()

    def _next(self) -> Search | None:
        """Wait for a search; None when it is time to stop."""
        with self._changed:
            while not self._stopping:
                waiting = [each for each in self._searches.values() if each.waits]
                if waiting:
                    search = min(waiting, key=lambda each: each.number)
                    search.status = "running"
                    self._counted = time.monotonic()
                    self._write(search)
                    return search
                self._changed.wait()
            return None

    def _search(self, search: Search, crew: Crew) -> None:
        def report(change: Callable[[], None]) -> bool:
            with self._changed:
                if search.status != "running":
                    return False
                change()
                self._count(search)
                if time.monotonic() - self._written >= self._checkpoint_seconds:
                    self._write(search)
                return not self._stopping

        error, done = None, False
        try:
            net, dataset, first = check(search.request, self._catalog)
            if dataset.root.hex() != search.dataset_root:
                raise LiteralError(
                    f"dataset {search.request.dataset!r} is another than when the search began"
                )
            done = Run(search, net, dataset, first, crew, report).go()
        except (LiteralError, MachineCodeError) as failure:
            error = str(failure)
        except Exception:
            log.exception("search %s failed", search.id)
            error = "a fault of the node: see its log"
        with self._changed:
            if search.status == "running":
                self._count(search)
                if error is not None:
                    search.status, search.error = "failed", error
                elif done:
                    search.status = "finished"
            self._write(search)

    def _count(self, search: Search) -> None:
        now = time.monotonic()
        search.seconds += now - self._counted
        self._counted = now

    def _write(self, search: Search) -> None:
        """Where the disk does not take it, the search goes on: a restart begins at what it took."""
        self._written = time.monotonic()
        try:
            self._files.write(search)
        except OSError as error:
            log.error("search %s could not be written to disk: %s", search.id, error)
