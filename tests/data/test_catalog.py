"""Datasets by name and by root."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from potnode.data import digits
from potnode.data.catalog import Catalog
from potnode.data.errors import BadDataset, DataError, UnknownDataset
from potnode.data.freeze import freeze
from potnode.spec.dataset import dataset_root


def file(value: int) -> bytes:
    """A dataset of one sample."""
    return freeze(np.array([[value]]), np.array([0]), train_count=1, classes=2)


def test_the_built_in_needs_no_folder() -> None:
    catalog = Catalog()
    assert catalog.names() == ["digits"]
    assert catalog.by_name("digits") is catalog.by_root(digits.ROOT) is digits.digits()
    with pytest.raises(UnknownDataset, match=r"datasets\.path"):
        catalog.by_name("other")


def test_files_are_found_and_read_again_when_they_change(tmp_path: Path) -> None:
    (tmp_path / "one.potdata").write_bytes(file(1))
    (tmp_path / "two.potdata").write_bytes(file(2))
    (tmp_path / "notes.txt").write_text("not a dataset")
    catalog = Catalog(tmp_path)
    assert catalog.names() == ["digits", "one", "two"]
    assert catalog.by_name("one").inputs.tolist() == [[1]]
    assert catalog.by_root(dataset_root(file(2))).name == "two"
    assert catalog.by_name("one") is catalog.by_name("one")
    (tmp_path / "one.potdata").write_bytes(file(3))
    os.utime(tmp_path / "one.potdata", ns=(1, 1))
    assert catalog.by_name("one").inputs.tolist() == [[3]]


def test_what_is_not_there_is_said_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "mnist.potdata").write_bytes(file(1))
    catalog = Catalog(tmp_path)
    with pytest.raises(UnknownDataset, match="did you mean 'mnist'"):
        catalog.by_name("mnits")
    with pytest.raises(UnknownDataset, match="root ff"):
        catalog.by_root(b"\xff" * 32)
    with pytest.raises(DataError, match="No such file"):
        Catalog(tmp_path / "missing").names()


def test_a_bad_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.potdata").write_bytes(b"?")
    with pytest.raises(BadDataset, match="'bad'"):
        Catalog(tmp_path).by_name("bad")


def test_the_built_ins_name_is_taken(tmp_path: Path) -> None:
    (tmp_path / "digits.potdata").write_bytes(file(1))
    with pytest.raises(DataError, match="rename the file"):
        Catalog(tmp_path).names()
