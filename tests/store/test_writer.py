from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, event, text

from potnode.store import (
    StoreBusy,
    StoreClosed,
    StoreFull,
    StoreUnavailable,
    sqlite_url,
)
from potnode.store.engine import parse_url, writing_engine
from potnode.store.writer import MAX_BATCH, GroupWriter


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = writing_engine(parse_url(sqlite_url(tmp_path / "w.db")))
    with made.begin() as connection:
        connection.execute(text("CREATE TABLE t (n INTEGER PRIMARY KEY, filler BLOB)"))
    yield made
    made.dispose()


@pytest.fixture
def writer(engine: Engine) -> Iterator[GroupWriter]:
    made = GroupWriter(engine, "w.db")
    yield made
    made.close()


class Gate:
    """An operation that holds the writer's thread until it is opened."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __call__(self, _connection: Connection, items: Sequence[None]) -> list[None]:
        self.reached.set()
        assert self.opened.wait(60)
        return [None] * len(items)


def insert(connection: Connection, numbers: Sequence[int]) -> list[int]:
    for number in numbers:
        connection.execute(text("INSERT INTO t VALUES (:n, NULL)"), {"n": number})
    return [number * 10 for number in numbers]


def insert_and_fail(connection: Connection, numbers: Sequence[int]) -> list[int]:
    insert(connection, numbers)
    raise LookupError("after writing")


def insert_large(connection: Connection, numbers: Sequence[int]) -> list[int]:
    for number in numbers:
        statement = text("INSERT INTO t VALUES (:n, zeroblob(100000))")
        connection.execute(statement, {"n": number})
    return list(numbers)


def page_limit(connection: Connection, limits: Sequence[int]) -> list[None]:
    for limit in limits:
        connection.execute(text(f"PRAGMA max_page_count={limit}"))
    return [None] * len(limits)


def stored(engine: Engine) -> list[int]:
    with engine.begin() as connection:
        return list(connection.scalars(text("SELECT n FROM t ORDER BY n")))


def test_all_that_waits_is_committed_together(engine: Engine, writer: GroupWriter) -> None:
    commits: list[int] = []
    gate = Gate()
    held = writer.submit(gate, None)
    assert gate.reached.wait(60)
    event.listen(engine, "commit", lambda _connection: commits.append(1))
    futures = [writer.submit(insert, n) for n in range(500)]
    gate.opened.set()
    assert [future.result(60) for future in futures] == [n * 10 for n in range(500)]
    assert held.done()
    # The gate's own transaction and one for the five hundred.
    assert len(commits) == 2
    writer.close()
    assert stored(engine) == list(range(500))


def test_a_batch_is_bounded(engine: Engine, writer: GroupWriter) -> None:
    sizes: list[int] = []

    def measure(_connection: Connection, items: Sequence[int]) -> Sequence[int]:
        sizes.append(len(items))
        return items

    gate = Gate()
    writer.submit(gate, None)
    assert gate.reached.wait(60)
    futures = [writer.submit(measure, n) for n in range(MAX_BATCH + 5)]
    gate.opened.set()
    assert [future.result(60) for future in futures] == list(range(MAX_BATCH + 5))
    assert max(sizes) == MAX_BATCH
    assert sum(sizes) == MAX_BATCH + 5


def test_one_failing_operation_fails_alone_and_leaves_no_trace(
    engine: Engine, writer: GroupWriter
) -> None:
    gate = Gate()
    writer.submit(gate, None)
    assert gate.reached.wait(60)
    before = [writer.submit(insert, n) for n in (1, 2)]
    failing = writer.submit(insert_and_fail, 3)
    after = [writer.submit(insert, n) for n in (4, 5)]
    gate.opened.set()
    with pytest.raises(LookupError, match="after writing"):
        failing.result(60)
    assert [future.result(60) for future in before + after] == [10, 20, 40, 50]
    writer.close()
    assert stored(engine) == [1, 2, 4, 5]


def test_operations_run_in_order(engine: Engine, writer: GroupWriter) -> None:
    seen: list[int] = []

    def note(_connection: Connection, items: Sequence[int]) -> Sequence[int]:
        seen.extend(items)
        return items

    def note_too(connection: Connection, items: Sequence[int]) -> Sequence[int]:
        return note(connection, items)

    gate = Gate()
    writer.submit(gate, None)
    assert gate.reached.wait(60)
    futures = [writer.submit(note if n % 3 else note_too, n) for n in range(60)]
    gate.opened.set()
    for future in futures:
        future.result(60)
    assert seen == list(range(60))


def test_nothing_is_acknowledged_whose_commit_fails(engine: Engine, writer: GroupWriter) -> None:
    def refuse(_connection: Connection) -> None:
        raise StoreUnavailable("the disk is gone")

    event.listen(engine, "commit", refuse)
    futures = [writer.submit(insert, n) for n in range(3)]
    for future in futures:
        with pytest.raises(StoreUnavailable, match="gone"):
            future.result(60)
    event.remove(engine, "commit", refuse)
    assert writer.submit(insert, 7).result(60) == 70
    writer.close()
    assert stored(engine) == [7]


def test_a_full_disk_fails_the_batch_and_no_more(engine: Engine, writer: GroupWriter) -> None:
    assert writer.submit(insert, 1).result(60) == 10
    gate = Gate()
    writer.submit(gate, None)
    assert gate.reached.wait(60)
    writer.submit(page_limit, 10)
    futures = [writer.submit(insert_large, n) for n in (2, 3)]
    gate.opened.set()
    for future in futures:
        with pytest.raises(StoreFull, match="make room") as caught:
            future.result(60)
        assert "w.db" in str(caught.value)
    # Space returns, and the same operations succeed.
    assert writer.submit(page_limit, 100_000).result(60) is None
    assert [writer.submit(insert_large, n).result(60) for n in (2, 3)] == [2, 3]
    writer.close()
    assert stored(engine) == [1, 2, 3]


def test_a_cancelled_operation_is_not_run(engine: Engine, writer: GroupWriter) -> None:
    gate = Gate()
    writer.submit(gate, None)
    assert gate.reached.wait(60)
    first, second = writer.submit(insert, 1), writer.submit(insert, 2)
    assert first.cancel()
    gate.opened.set()
    assert second.result(60) == 20
    writer.close()
    assert stored(engine) == [2]


def test_more_may_not_wait_than_may(engine: Engine) -> None:
    writer = GroupWriter(engine, "w.db", max_waiting=3)
    gate = Gate()
    writer.submit(gate, None)
    assert gate.reached.wait(60)
    futures = [writer.submit(insert, n) for n in range(3)]
    with pytest.raises(StoreBusy, match="3 operations wait"):
        writer.submit(insert, 99)
    gate.opened.set()
    assert [future.result(60) for future in futures] == [0, 10, 20]
    assert writer.submit(insert, 3).result(60) == 30
    writer.close()


def test_closing_writes_what_waits_and_takes_no_more(engine: Engine, writer: GroupWriter) -> None:
    gate = Gate()
    writer.submit(gate, None)
    assert gate.reached.wait(60)
    futures = [writer.submit(insert, n) for n in range(20)]
    closing = threading.Thread(target=writer.close)
    closing.start()
    gate.opened.set()
    closing.join(60)
    assert all(future.done() for future in futures)
    with pytest.raises(StoreClosed):
        writer.submit(insert, 99)
    writer.close()
    assert stored(engine) == list(range(20))
