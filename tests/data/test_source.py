"""Reading files, packed or not."""

from __future__ import annotations

import gzip
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potnode.data import source
from potnode.data.errors import BadSource
from potnode.data.source import Origin, check_numbers, read_source

CONTENT = b"some content, some content, some content"


def test_a_file_plain_and_packed(tmp_path: Path) -> None:
    path = tmp_path / "made-up"
    for raw in (CONTENT, gzip.compress(CONTENT)):
        path.write_bytes(raw)
        file = read_source(path)
        assert file.data == CONTENT
        assert file.origin == Origin("made-up", sha256(raw).hexdigest(), len(raw))


def test_a_gzip_that_is_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "_MAX_UNPACKED", 1 << 20)
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(bytes(1 << 20)))
    assert len(read_source(path).data) == 1 << 20
    path.write_bytes(gzip.compress(bytes(1 << 19)) * 1000)
    with pytest.raises(BadSource, match="unpacks to more than 1048576 bytes"):
        read_source(path)


@given(st.integers(3, len(gzip.compress(CONTENT)) - 1))
def test_a_gzip_that_is_cut_off(tmp_path_factory: pytest.TempPathFactory, length: int) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.gz"
    path.write_bytes(gzip.compress(CONTENT)[:length])
    with pytest.raises(BadSource, match="cut off or damaged"):
        read_source(path)


@given(st.integers(10, len(gzip.compress(CONTENT)) - 1), st.integers(1, 255))
def test_a_gzip_that_is_damaged_never_gives_other_content(
    tmp_path_factory: pytest.TempPathFactory, at: int, flip: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.gz"
    raw = bytearray(gzip.compress(CONTENT))
    raw[at] ^= flip
    path.write_bytes(raw)
    try:
        assert read_source(path).data == CONTENT, "packed in another way, which gzip allows"
    except BadSource as error:
        assert "cut off or damaged" in str(error)  # noqa: PT017
    raw = bytearray(gzip.compress(CONTENT))
    raw[-8] ^= flip  # the checksum
    path.write_bytes(raw)
    with pytest.raises(BadSource, match="cut off or damaged"):
        read_source(path)


def test_files_that_are_not_there_or_empty(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match="No such file"):
        read_source(tmp_path / "missing")
    with pytest.raises(BadSource, match="Is a directory"):
        read_source(tmp_path)
    for raw in (b"", gzip.compress(b"")):
        (tmp_path / "empty").write_bytes(raw)
        with pytest.raises(BadSource, match="empty is empty"):
            read_source(tmp_path / "empty")


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=3),
    st.sampled_from([np.nan, np.inf, -np.inf]),
    st.data(),
)
def test_what_is_no_number_is_found(shape: list[int], value: float, data: st.DataObject) -> None:
    array = np.zeros(shape)
    check_numbers(array, "it")
    place = tuple(data.draw(st.integers(0, size - 1)) for size in shape)
    array[place] = value
    where = ", ".join(map(str, place))
    with pytest.raises(BadSource, match=rf"it has {value} at \[{where}\]"):
        check_numbers(array, "it")


def test_what_is_not_of_numbers_at_all() -> None:
    for array in (np.array(["a"]), np.array([None]), np.array([1j])):
        with pytest.raises(BadSource, match="not numbers"):
            check_numbers(array, "it")
