"""Text as bytes."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potnode.data.errors import BadSource
from potnode.data.readers.text import read_text


def test_windows_overlap_in_one_byte_and_the_end_is_held_out(tmp_path: Path) -> None:
    path = tmp_path / "made-up.txt"
    text = bytes(range(100))
    path.write_bytes(text)
    found = read_text(path, window=5, stride=4)
    train = [list(text[at : at + 5]) for at in range(0, 86, 4)]
    held_out = [list(text[at : at + 5]) for at in (90, 94)]
    assert found.inputs.tolist() == train + held_out
    assert found.train_count == len(train) == 22
    assert (found.targets, found.other) == (None, None)
    assert found.reader == {"format": "text", "window": 5, "stride": 4, "cut": 90}
    path.write_bytes(gzip.compress(text))
    assert read_text(path, window=5, stride=4).inputs.tolist() == train + held_out


@given(
    st.binary(min_size=1, max_size=200),
    st.integers(2, 12),
    st.integers(1, 15),
    st.none() | st.integers(1, 20),
)
def test_no_window_reaches_over_the_cut(
    tmp_path_factory: Any, text: bytes, window: int, stride: int, train: int | None
) -> None:
    path = tmp_path_factory.getbasetemp() / "windows.txt"
    path.write_bytes(b"." + text)  # never gzip
    text = b"." + text
    most = max(0, (len(text) - window) // stride + 1)
    nine_tenths = len(text) - len(text) // 10
    if nine_tenths < window if train is None else train > most:
        with pytest.raises(BadSource):
            read_text(path, window=window, stride=stride, train_count=train)
        return
    found = read_text(path, window=window, stride=stride, train_count=train)
    cut = found.reader["cut"]
    assert isinstance(cut, int)
    assert found.train_count is not None
    assert train in (None, found.train_count)
    for part, start in (
        (found.inputs[: found.train_count], 0),
        (found.inputs[found.train_count :], cut),
    ):
        for i, row in enumerate(part):
            assert row.tobytes() == text[start + i * stride :][:window]
    assert (found.train_count - 1) * stride + window <= cut <= len(text)
    left = len(text) - cut
    assert len(found.inputs) - found.train_count == max(0, (left - window) // stride + 1)


@pytest.mark.parametrize(
    ("text", "options", "problem"),
    [
        (b"", {}, "is empty"),
        (b"abc", {}, "3 bytes to train with are shorter than one window of 65 bytes"),
        (b"abc", {"window": 1}, "at least 2 bytes and a stride of at least 1, not 1 and 64"),
        (b"abc", {"stride": 0}, "not 65 and 0"),
        (b"abcdef", {"window": 2, "stride": 2, "train_count": 4}, "3 windows of 2 bytes, 4 can't"),
        (b"abcdef", {"window": 2, "stride": 2, "train_count": 0}, "0 can't train"),
        (b"a", {"window": 9, "stride": 1, "train_count": 1}, "0 windows of 9 bytes, 1 can't"),
    ],
)
def test_what_has_no_windows(
    tmp_path: Path, text: bytes, options: dict[str, int], problem: str
) -> None:
    path = tmp_path / "made-up.txt"
    path.write_bytes(text)
    with pytest.raises(BadSource, match=problem):
        read_text(path, **options)
