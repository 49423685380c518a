"""The durable store: whole transactions or nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potnode.chain.errors import ChainDirectoryInUse, ChainStorageFull, CorruptChain
from potnode.chain.kv import SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chain.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(path)
    yield opened
    opened.close()


def test_what_was_committed_is_there_after_reopening(path: Path) -> None:
    first = SqliteStore(path)
    with first.transaction():
        first[b"a"] = b"1"
        first[b"b"] = b"2"
        first.set_meta("name", "value")
    with first.transaction():
        del first[b"b"]
    first.close()
    second = SqliteStore(path)
    assert second[b"a"] == b"1"
    assert b"b" not in second
    assert second.meta("name") == "value"
    assert second.meta("other") is None
    second.close()


def test_a_failed_transaction_leaves_nothing(store: SqliteStore) -> None:
    def fail() -> None:
        with store.transaction():
            store[b"a"] = b"1"
            assert store[b"a"] == b"1"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert b"a" not in store


def test_a_failed_batch_leaves_the_transaction_alone(store: SqliteStore) -> None:
    def fail() -> None:
        with store.atomic_batch() as batch:
            batch[b"dropped"] = b"1"
            raise ZeroDivisionError

    with store.transaction():
        with store.atomic_batch() as batch:
            batch[b"kept"] = b"1"
            assert batch[b"kept"] == b"1"
            assert b"kept" not in store
        with pytest.raises(ZeroDivisionError):
            fail()
    assert b"kept" in store
    assert b"dropped" not in store


def test_missing_keys(store: SqliteStore) -> None:
    with pytest.raises(KeyError):
        store[b"a"]
    with store.transaction():
        store[b"a"] = b"1"
        del store[b"a"]
        with pytest.raises(KeyError):
            store[b"a"]
        with pytest.raises(KeyError):
            del store[b"a"]


def test_writing_needs_a_transaction(store: SqliteStore) -> None:
    with pytest.raises(RuntimeError):
        store[b"a"] = b"1"
    with pytest.raises(RuntimeError), store.transaction(), store.transaction():
        pass


def test_a_full_disk_is_typed_and_rolls_back(path: Path) -> None:
    store = SqliteStore(path)
    with store.transaction():
        store[b"before"] = b"1"
    store.limit_pages(12)

    def fill() -> None:
        with store.transaction():
            store[b"small"] = b"1"
            store[b"large"] = bytes(100_000)

    with pytest.raises(ChainStorageFull, match="nothing of this change was kept"):
        fill()
    assert b"small" not in store
    store.limit_pages(10_000)
    with store.transaction():
        store[b"large"] = bytes(100_000)
    store.close()
    reopened = SqliteStore(path)
    assert reopened[b"before"] == b"1"
    assert len(reopened[b"large"]) == 100_000
    reopened.close()


def test_only_one_at_a_time(store: SqliteStore, path: Path) -> None:
    with pytest.raises(ChainDirectoryInUse, match="in use by another process"):
        SqliteStore(path)
    program = (
        "import sys, pathlib; from potnode.chain.kv import SqliteStore;"
        "SqliteStore(pathlib.Path(sys.argv[1]))"
    )
    other = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False
    )
    assert other.returncode == 1
    assert "ChainDirectoryInUse" in other.stderr
    store.close()
    SqliteStore(path).close()


def test_a_file_that_is_no_database(path: Path) -> None:
    path.write_bytes(b"no database at all, but long enough to be looked at" * 100)
    with pytest.raises(CorruptChain, match="damaged"):
        SqliteStore(path)


def test_another_schema_is_refused(path: Path) -> None:
    store = SqliteStore(path)
    with store.transaction():
        store.set_meta("schema", "99")
    store.close()
    with pytest.raises(CorruptChain, match="schema 99"):
        SqliteStore(path)


@given(
    st.lists(
        st.tuples(st.binary(max_size=4), st.one_of(st.none(), st.binary(max_size=8))), max_size=30
    ),
    st.integers(1, 7),
)
def test_it_is_a_dictionary(operations: list[tuple[bytes, bytes | None]], every: int) -> None:
    store = SqliteStore(Path(":memory:"))
    model: dict[bytes, bytes] = {}
    for start in range(0, len(operations), every):
        with store.transaction():
            for key, value in operations[start : start + every]:
                if value is None:
                    model.pop(key, None)
                    store.delete(key)
                else:
                    model[key] = store[key] = value
        for key, _ in operations:
            assert store.exists(key) == (key in model)
            assert model.get(key) is None or store[key] == model[key]
    store.close()
