"""Feedback of a job in training: the pairs that came become parts of its data.

Responsible for when pairs are frozen, and for the order of things: a part is a file, then a row of
the database, then data of the engine; a step that uses it can only come after that. So whatever a
record names is on disk, and a restart finds it again. `potnode.api.feedback` takes the pairs in.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from potnode.clock import Clock
from potnode.data.feedback import Pairs, Part, Roots, part_name, write_part
from potnode.errors import NodeError
from potnode.recording import WAITED_OUT
from potnode.spec.feedback import NO_FEEDBACK
from potnode.store.feedback import FeedbackView, PartRow
from potnode.trainer import Feedback

log = logging.getLogger(__name__)

# Of one part: its file is sent whole, and inputs may be long. What is left makes the next part.
MAX_PART_BYTES = 4 << 20


class FeedbackEngine(Protocol):
    """What takes the pairs in."""

    def add_feedback(self, inputs: Pairs) -> None:
        """Append pairs; no step is being computed meanwhile."""
        ...


class FeedbackStore(Protocol):
    """Where pairs and parts are kept."""

    def feedback(self, job_id: bytes) -> FeedbackView:
        """How much there is, and up to where it is frozen."""
        ...

    def feedback_parts(self, job_id: bytes) -> tuple[PartRow, ...]:
        """Every part in order."""
        ...

    def feedback_pairs(self, job_id: bytes, first: int, count: int) -> bytes:
        """The values of these pairs."""
        ...

    def freeze_feedback(self, part: PartRow) -> Future[None]:
        """Keep a part."""
        ...


@dataclass(frozen=True, slots=True)
class Freezing:
    """When pairs are frozen: as soon as `batch` wait, and after `steps` steps at the latest."""

    batch: int
    steps: int


class Intake:
    """The feedback of one job. One caller at a time, between steps; every method blocks."""

    def __init__(
        self,
        job_id: bytes,
        input_size: int,
        store: FeedbackStore,
        engine: FeedbackEngine,
        folder: Path,
        clock: Clock,
        when: Freezing,
    ) -> None:
        """Args: input_size: values of one input. folder: where files of parts go."""
        self._job_id = job_id
        self._input_size = input_size
        self._store = store
        self._engine = engine
        self._folder = folder
        self._clock = clock
        self._when = when
        self._roots = Roots()
        self._waiting_since: int | None = None  # the step before which the oldest pair was seen

    def resume(self, last_root: bytes) -> Feedback:
        """Give the engine what was frozen before; `last_root` is the data_root of the last step.

        Files of parts that were lost meanwhile are written again.

        Raises:
            NodeError: the database does not have the pairs its own steps used.
        """
        parts = self._store.feedback_parts(self._job_id)
        known = {NO_FEEDBACK}
        found: list[Pairs] = []
        for row in parts:
            part = self._read(row.first, row.count)
            for pair in part.pairs:
                self._roots.add(pair.tobytes())
            if self._roots.data_root != row.data_root:
                raise NodeError(
                    f"job {self._job_id.hex()}: the stored feedback does not have its own root"
                )
            known.add(row.data_root)
            self._restore(part)
            found.append(part.pairs)
        if last_root not in known:
            raise NodeError(
                f"job {self._job_id.hex()}: its last step used feedback that the database lacks: "
                "restore the database from its backup"
            )
        if found:
            self._engine.add_feedback(np.concatenate(found))
        return Feedback(self._roots.count, self._roots.data_root)

    def _restore(self, part: Part) -> None:
        """Write a part's file again where it is lost. Nothing here needs it, an auditor will."""
        if not (self._folder / part_name(self._job_id, part.first)).exists():
            try:
                write_part(self._folder, self._job_id, part)
            except OSError as error:
                log.error("a part of feedback that was lost can't be written: %s", error)

    def freeze(self, step: int) -> Feedback | None:
        """Make waiting pairs a part before `step`, if it is time; None where nothing changes.

        A full or absent disk is no reason to stop: the pairs are tried again after the next step.
        """
        view = self._store.feedback(self._job_id)
        waiting = view.total - view.frozen
        if not waiting:
            self._waiting_since = None
            return None
        if self._waiting_since is None:
            self._waiting_since = step
        if waiting < self._when.batch and step - self._waiting_since < self._when.steps:
            return None
        most = max(1, MAX_PART_BYTES // (2 * self._input_size))
        part = self._read(view.frozen, min(waiting, most))
        try:
            used = self._keep(part)
        except (OSError, *WAITED_OUT) as error:
            log.error("%d pairs of feedback wait to be stored: %s", waiting, error)
            return None
        self._waiting_since = None
        log.info("step %d: %d pairs of feedback, %d new", step, used.count, len(part.pairs))
        return used

    def _keep(self, part: Part) -> Feedback:
        grown = self._roots.copy()
        for pair in part.pairs:
            grown.add(pair.tobytes())
        write_part(self._folder, self._job_id, part)
        row = PartRow(
            job_id=self._job_id,
            first=part.first,
            count=len(part.pairs),
            data_root=grown.data_root,
            frozen_at=self._clock.time_ns(),
        )
        self._store.freeze_feedback(row).result()
        self._engine.add_feedback(part.pairs)
        self._roots = grown
        return Feedback(grown.count, grown.data_root)

    def _read(self, first: int, count: int) -> Part:
        values = self._store.feedback_pairs(self._job_id, first, count)
        if len(values) != count * 2 * self._input_size:
            raise NodeError(
                f"job {self._job_id.hex()}: the database lacks pairs {first}..{first + count - 1}: "
                "restore it from its backup"
            )
        return Part(first, np.frombuffer(values, np.int8).reshape(count, 2 * self._input_size))
