"""Canonical files in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from potnode.data.dataset import Dataset
from potnode.data.errors import BadDataset, CannotFreeze, DataError, WrongRoot
from potnode.data.freeze import freeze, shuffled_order
from potnode.spec.dataset import (
    HEADER_SIZE,
    DatasetHeader,
    dataset_root,
    decode_header,
    encode_header,
    read_sample,
)
from potnode.spec.errors import InvalidDataset

INPUTS = np.array([[1, -127, 127], [0, 5, -1], [2, 2, 2]])
TARGETS = np.array([0, 1, 1])
FILE = freeze(INPUTS, TARGETS, train_count=2, classes=2)


@given(st.data())
def test_arrays_come_back_as_the_specification_reads_them(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 7), st.integers(1, 5)))
    classes = data.draw(st.sampled_from([2, 10, 300]))
    inputs = data.draw(arrays.arrays(np.int16, shape, elements=st.integers(-127, 127)))
    targets = data.draw(arrays.arrays(np.int64, shape[0], elements=st.integers(0, classes - 1)))
    train_count = data.draw(st.integers(1, shape[0]))
    file = freeze(inputs, targets, train_count=train_count, classes=classes)
    dataset = Dataset.from_bytes("made-up", file)
    assert dataset.header == decode_header(file)
    assert dataset.root == dataset_root(file)
    assert dataset.inputs.dtype == np.int8
    assert dataset.targets.dtype == np.int32
    for i in range(shape[0]):
        sample = (dataset.inputs[i].tolist(), int(dataset.targets[i]))
        assert (
            sample == (inputs[i].tolist(), int(targets[i])) == read_sample(file, dataset.header, i)
        )


def test_arrays_are_read_only() -> None:
    dataset = Dataset.from_bytes("made-up", FILE)
    with pytest.raises(ValueError, match="read-only"):
        dataset.inputs[0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        dataset.targets[0] = 1


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        (b"", "POTDATA1"),
        (FILE[:-1], "bytes"),
        (FILE + b"\0", "bytes"),
        (FILE[: HEADER_SIZE + 8] + b"\x80" + FILE[HEADER_SIZE + 9 :], "sample 1 "),
        (FILE[:-1] + b"\2", "sample 2 "),
        (FILE[:-4] + b"\x80\0\0\0", "sample 2 "),
        (encode_header(DatasetHeader(0, 0, 1, 2)), "training sample"),
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
def test_what_no_file_can_hold_is_refused(change: dict[str, object], problem: str) -> None:
    arguments = {"inputs": INPUTS, "targets": TARGETS, "train_count": 2, "classes": 2} | change
    with pytest.raises(CannotFreeze, match=problem):
        freeze(**arguments)  # type: ignore[arg-type]


def test_the_order_is_a_fixed_permutation() -> None:
    assert sorted(shuffled_order(100)) == list(range(100))
    assert shuffled_order(8).tolist() == [6, 2, 1, 7, 3, 0, 5, 4]
