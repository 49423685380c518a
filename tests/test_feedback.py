"""The intake of feedback: when pairs are frozen, in which order, and what a restart finds."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from potnode.clock import SystemClock
from potnode.data.feedback import Pairs, part_name, read_feedback
from potnode.errors import NodeError
from potnode.feedback import Freezing, Intake
from potnode.spec import feedback as rules
from potnode.spec.feedback import NO_FEEDBACK
from potnode.store import FeedbackRow, PartRow, Store, sqlite_url
from potnode.trainer import Feedback
from tests.store.samples import JOB_ID, job

SIZE = 3
EVERY = np.random.default_rng(1).integers(-127, 128, (60, 2 * SIZE)).astype(np.int8)


@dataclass
class World:
    """A store, the folder of parts, and what the engine was given."""

    store: Store
    folder: Path
    given: list[Pairs] = field(default_factory=list)
    sent: int = 0

    def add_feedback(self, inputs: Pairs) -> None:
        self.given.append(inputs)

    def intake(self, batch: int = 4, steps: int = 3) -> Intake:
        """A node that starts; what an engine had before is gone."""
        self.given.clear()
        when = Freezing(batch, steps)
        return Intake(JOB_ID, SIZE, self.store, self, self.folder, SystemClock(), when)

    def send(self, count: int) -> None:
        """So many of `EVERY` come, in a call each."""
        for pair in EVERY[self.sent : self.sent + count]:
            row = FeedbackRow(job_id=JOB_ID, count=1, pairs=pair.tobytes(), received_at=1)
            self.store.add_feedback(row).result()
        self.sent += count

    @property
    def engine_has(self) -> list[list[int]]:
        return [pair for part in self.given for pair in part.tolist()]

    def audited(self) -> list[list[int]]:
        """What an auditor reads from the files."""
        found: list[list[int]] = read_feedback(JOB_ID, SIZE, [self.folder]).pairs.tolist()
        return found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with Store(sqlite_url(tmp_path / "node.sqlite")) as store:
        store.add_job(job()).result()
        yield World(store, tmp_path / "feedback")


def used(count: int) -> Feedback:
    leaves = [rules.leaf(i, pair.tobytes()) for i, pair in enumerate(EVERY[:count])]
    return Feedback(count, rules.data_root(leaves))


def test_pairs_wait_for_a_batch_or_for_some_steps(world: World) -> None:
    intake = world.intake()
    assert intake.resume(NO_FEEDBACK) == Feedback(0, NO_FEEDBACK)
    assert intake.freeze(0) is None
    world.send(3)
    assert intake.freeze(1) is None
    world.send(2)
    assert intake.freeze(2) == used(5)
    assert intake.freeze(3) is None
    world.send(1)
    assert [intake.freeze(step) for step in (7, 8, 9)] == [None] * 3
    assert intake.freeze(10) == used(6)
    world.send(1)
    assert [intake.freeze(step) for step in (11, 12, 13)] == [None] * 3
    assert intake.freeze(14) == used(7)
    assert world.engine_has == world.audited() == EVERY[:7].tolist()
    assert [(p.first, p.count) for p in world.store.feedback_parts(JOB_ID)] == [
        (0, 5),
        (5, 1),
        (6, 1),
    ]


def test_a_restart_finds_what_records_name(world: World) -> None:
    intake = world.intake(batch=1)
    intake.resume(NO_FEEDBACK)
    for _ in range(3):
        world.send(2)
        assert intake.freeze(0) is not None
    world.send(1)  # not frozen before the end
    lost = world.folder / part_name(JOB_ID, 2)
    before = lost.read_bytes()
    lost.unlink()
    for last in (0, 2, 4, 6):
        assert world.intake().resume(used(last).data_root) == used(6)
        assert world.engine_has == world.audited() == EVERY[:6].tolist()
    assert lost.read_bytes() == before
    with pytest.raises(NodeError, match="feedback that the database lacks"):
        world.intake().resume(used(5).data_root)


def test_a_crash_before_the_database_knows_a_part_leaves_nothing_wrong(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def power_cut(_: PartRow) -> None:
        raise KeyboardInterrupt

    intake = world.intake(batch=1)
    intake.resume(NO_FEEDBACK)
    world.send(2)
    with monkeypatch.context() as patched:
        patched.setattr(world.store, "freeze_feedback", power_cut)
        with pytest.raises(KeyboardInterrupt):
            intake.freeze(0)
    assert world.audited() == EVERY[:2].tolist()  # the file alone; no step uses it
    world.send(1)
    again = world.intake(batch=1)
    assert again.resume(NO_FEEDBACK) == used(0)
    assert world.engine_has == []
    assert again.freeze(0) == used(3)
    assert world.engine_has == world.audited() == EVERY[:3].tolist()


def test_a_disk_that_takes_no_file_is_waited_out(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    intake = world.intake(batch=1)
    intake.resume(NO_FEEDBACK)
    world.send(2)
    world.folder.write_bytes(b"where the folder should be")
    with caplog.at_level(logging.ERROR):
        assert intake.freeze(0) is None
    assert "2 pairs of feedback wait to be stored" in caplog.text
    assert world.engine_has == []
    world.folder.unlink()
    assert intake.freeze(1) == used(2)
    assert world.engine_has == EVERY[:2].tolist()


def test_a_part_is_only_so_long(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("potnode.feedback.MAX_PART_BYTES", 4 * 2 * SIZE + 1)
    intake = world.intake()
    intake.resume(NO_FEEDBACK)
    world.send(10)
    assert [intake.freeze(step) for step in range(3)] == [used(4), used(8), None]


def test_a_database_without_its_pairs_is_refused(world: World) -> None:
    world.send(2)
    root = used(1).data_root
    part = PartRow(job_id=JOB_ID, first=0, count=2, data_root=root, frozen_at=1)
    world.store.freeze_feedback(part).result()
    with pytest.raises(NodeError, match="does not have its own root"):
        world.intake().resume(root)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(world.store, "feedback_pairs", lambda *_: EVERY[:1].tobytes())
        with pytest.raises(NodeError, match=r"lacks pairs 0\.\.1"):
            world.intake().resume(root)
