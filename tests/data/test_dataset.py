"""Canonical files in memory, and arrays made into such files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from potnode.data.dataset import Dataset
from potnode.data.errors import BadDataset, CannotFreeze, DataError, WrongRoot
from potnode.data.freeze import (
    freeze,
    freeze_bytes,
    freeze_pairs,
    freeze_values,
    shuffled_order,
)
from potnode.spec.dataset import (
    HEADER_SIZE,
    DatasetHeader,
    Sample,
    dataset_root,
    decode_header,
    encode_header,
    read_sample,
)
from potnode.spec.errors import InvalidDataset

INPUTS = np.array([[1, -127, 127], [0, 5, -1], [2, 2, 2]])
TARGETS = np.array([0, 1, 1])
FILE = freeze(INPUTS, TARGETS, train_count=2, classes=2)
VALUES = np.array([[-32768, 0], [32767, -1], [5, 6]])


def table(data: st.DataObject, shape: tuple[int, int], least: int, most: int) -> Any:
    return data.draw(arrays.arrays(np.int32, shape, elements=st.integers(least, most)))


def check(file: bytes, samples: list[Sample]) -> Dataset:
    """The file read at speed and by the specification: both have these samples."""
    dataset = Dataset.from_bytes("made-up", file)
    assert dataset.header == decode_header(file)
    assert dataset.root == dataset_root(file)
    assert dataset.inputs.dtype == np.int8
    assert dataset.targets.dtype == np.int32
    assert [dataset.sample(i) for i in range(dataset.header.count)] == samples
    assert [read_sample(file, dataset.header, i) for i in range(len(samples))] == samples
    return dataset


@given(st.data(), st.tuples(st.integers(1, 7), st.integers(1, 5)))
def test_classes_come_back(data: st.DataObject, shape: tuple[int, int]) -> None:
    classes = data.draw(st.sampled_from([2, 10, 300]))
    inputs = table(data, shape, -127, 127)
    targets = table(data, (shape[0], 1), 0, classes - 1)[:, 0]
    train_count = data.draw(st.integers(1, shape[0]))
    file = freeze(inputs, targets, train_count=train_count, classes=classes)
    rows = zip(inputs.tolist(), targets.tolist(), strict=True)
    dataset = check(file, [Sample(tuple(x), (t,)) for x, t in rows])
    assert dataset.header.train_count == train_count
    assert (dataset.targets == targets).all()


@given(st.data(), st.tuples(st.integers(1, 7), st.integers(2, 5)))
def test_bytes_come_back(data: st.DataObject, shape: tuple[int, int]) -> None:
    windows = table(data, shape, 0, 255)
    dataset = check(
        freeze_bytes(windows, train_count=1), [Sample(tuple(w), ()) for w in windows.tolist()]
    )
    assert (dataset.inputs.view(np.uint8) == windows).all()
    assert dataset.targets.shape == (shape[0], 0)


@given(st.data(), st.tuples(st.integers(1, 7), st.integers(1, 5)), st.integers(1, 3))
def test_values_come_back(data: st.DataObject, shape: tuple[int, int], outputs: int) -> None:
    inputs = table(data, shape, -127, 127)
    targets = table(data, (shape[0], outputs), -32768, 32767)
    rows = zip(inputs.tolist(), targets.tolist(), strict=True)
    dataset = check(
        freeze_values(inputs, targets, train_count=1), [Sample(tuple(x), tuple(t)) for x, t in rows]
    )
    assert (dataset.targets == targets).all()


@given(st.data(), st.tuples(st.integers(1, 7), st.integers(1, 5)))
def test_pairs_come_back(data: st.DataObject, shape: tuple[int, int]) -> None:
    preferred, other = table(data, shape, -127, 127), table(data, shape, -127, 127)
    rows = zip(preferred.tolist(), other.tolist(), strict=True)
    dataset = check(
        freeze_pairs(preferred, other, train_count=1), [Sample((*x, *y), ()) for x, y in rows]
    )
    assert dataset.header.input_size == shape[1]
    assert dataset.inputs.shape == (shape[0], 2 * shape[1])
    assert dataset.targets.shape == (shape[0], 0)


def test_arrays_are_read_only() -> None:
    dataset = Dataset.from_bytes("made-up", FILE)
    with pytest.raises(ValueError, match="read-only"):
        dataset.inputs[0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        dataset.targets[0] = 1


PAIRS = freeze_pairs(INPUTS, INPUTS, train_count=1)


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        (b"", "POTDATA1"),
        (FILE[:-1], "bytes"),
        (FILE + b"\0", "bytes"),
        (FILE[: HEADER_SIZE + 8] + b"\x80" + FILE[HEADER_SIZE + 9 :], "sample 1 .* -128"),
        (FILE[:-1] + b"\2", "sample 2 .* target 2"),
        (FILE[:-4] + b"\x80\0\0\0", "sample 2 .* target 2147483648"),
        (PAIRS[:-1] + b"\x80", "sample 2 .* -128"),
        (encode_header(DatasetHeader("classes", 0, 0, 1, 2)), "training sample"),
    ],
)
def test_broken_files_are_refused(file: bytes, problem: str) -> None:
    with pytest.raises(BadDataset, match=problem) as caught:
        Dataset.from_bytes("made-up", file)
    assert "made-up" in str(caught.value)
    assert isinstance(caught.value, InvalidDataset)


def test_files_are_held_against_the_root_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "made-up.potdata"
    path.write_bytes(FILE)
    assert Dataset.load(path, expected_root=dataset_root(FILE)).name == "made-up"
    with pytest.raises(WrongRoot, match=dataset_root(FILE).hex()):
        Dataset.load(path, expected_root=bytes(32))
    with pytest.raises(DataError, match="No such file"):
        Dataset.load(tmp_path / "missing.potdata")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"inputs": INPUTS * 2}, "-254..254"),
        ({"inputs": INPUTS - 1}, "-128..126"),
        ({"inputs": INPUTS[0]}, "must be"),
        ({"inputs": INPUTS[:2]}, "must be"),
        ({"inputs": INPUTS[:, :0]}, "must be"),
        ({"inputs": INPUTS / 2}, "float64"),
        ({"targets": TARGETS + 1}, "1..2"),
        ({"targets": TARGETS - 1}, "-1..0"),
        ({"targets": TARGETS > 0}, "bool"),
        ({"train_count": 0}, "can't train"),
        ({"train_count": 4}, "can't train"),
        ({"classes": 1}, "classes"),
        ({"classes": 65_536}, "classes"),
    ],
)
def test_what_no_file_of_classes_can_hold_is_refused(
    change: dict[str, object], problem: str
) -> None:
    arguments = {"inputs": INPUTS, "targets": TARGETS, "train_count": 2, "classes": 2} | change
    with pytest.raises(CannotFreeze, match=problem):
        freeze(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"inputs": INPUTS - 1}, "-128..126"),
        ({"targets": VALUES + 1}, r"-32768\.\.32767, not -32767\.\.32768"),
        ({"targets": VALUES - 1}, r"not -32769\.\."),
        ({"targets": VALUES[:2]}, "must be"),
        ({"targets": VALUES[:, 0]}, "must be"),
        ({"targets": VALUES[:, :0]}, "not 0"),
        ({"targets": VALUES / 2}, "float64"),
        ({"train_count": 4}, "can't train"),
    ],
)
def test_what_no_file_of_values_can_hold_is_refused(
    change: dict[str, object], problem: str
) -> None:
    arguments = {"inputs": INPUTS, "targets": VALUES, "train_count": 2} | change
    with pytest.raises(CannotFreeze, match=problem):
        freeze_values(**arguments)  # type: ignore[arg-type]


def test_what_no_file_of_bytes_can_hold_is_refused() -> None:
    for windows, problem in (
        (np.array([[0, 256]]), r"0\.\.255"),
        (np.array([[-1, 0]]), r"0\.\.255"),
        (np.array([[1]]), "two bytes"),
        (np.array([[0.5, 1]]), "integers"),
    ):
        with pytest.raises(CannotFreeze, match=problem):
            freeze_bytes(windows, train_count=1)


def test_what_no_file_of_pairs_can_hold_is_refused() -> None:
    for other, problem in ((INPUTS * 2, "-127..127"), (INPUTS[:2], "one shape"), (INPUTS[0], "n")):
        with pytest.raises(CannotFreeze, match=problem):
            freeze_pairs(INPUTS, other, train_count=1)


def test_the_order_is_a_fixed_permutation() -> None:
    assert sorted(shuffled_order(100)) == list(range(100))
    assert shuffled_order(8).tolist() == [6, 2, 1, 7, 3, 0, 5, 4]
