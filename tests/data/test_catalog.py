"""Datasets by name and by root, and blobs of weights by hash."""

from __future__ import annotations

import json
import os
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from potnode.data import digits
from potnode.data.catalog import Catalog
from potnode.data.errors import BadDataset, BadSource, DataError, UnknownDataset, UnknownWeights
from potnode.data.freeze import freeze
from potnode.data.readers.bundled import read_bundled
from potnode.data.recipe import Recipe, prepare, write
from potnode.spec.dataset import dataset_root
from tests.data.readers.idx_files import write_mnist

BUNDLED = ["breast-cancer", "diabetes", "iris", "wine"]


def file(value: int) -> bytes:
    """A dataset of one sample."""
    return freeze(np.array([[value]]), np.array([0]), train_count=1, classes=2)


def test_some_need_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = Catalog()
    assert catalog.names() == sorted(["digits", *BUNDLED])
    assert catalog.by_name("digits") is catalog.by_root(digits.ROOT) is digits.digits()
    iris = catalog.by_name("iris")
    assert catalog.by_root(iris.root) is iris
    with pytest.raises(UnknownDataset, match=r"datasets\.path"):
        catalog.by_name("other")
    monkeypatch.setitem(sys.modules, "sklearn", None)  # how Python says that it isn't there
    assert catalog.names() == ["digits"]


def test_files_are_found_and_read_again_when_they_change(tmp_path: Path) -> None:
    (tmp_path / "one.potdata").write_bytes(file(1))
    (tmp_path / "two.potdata").write_bytes(file(2))
    (tmp_path / "notes.txt").write_text("not a dataset")
    catalog = Catalog(tmp_path)
    assert catalog.names() == sorted(["digits", "one", "two", *BUNDLED])
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


def test_well_known_files_need_no_freezing(tmp_path: Path) -> None:
    write_mnist(tmp_path, "t10k", 50)
    (tmp_path / "tinyshakespeare.txt").write_bytes(b"To be, or not to be. " * 100)
    before = sorted(tmp_path.iterdir())
    tmp_path.chmod(0o555)
    catalog = Catalog(tmp_path)
    assert catalog.names() == sorted(["digits", "mnist-t10k", "tinyshakespeare", *BUNDLED])
    mnist = catalog.by_name("mnist-t10k")
    assert catalog.by_name("mnist-t10k") is mnist
    assert Catalog(tmp_path).by_root(mnist.root).header == mnist.header
    assert sorted(tmp_path.iterdir()) == before
    tmp_path.chmod(0o755)
    write_mnist(tmp_path, "t10k", 40)
    assert catalog.by_name("mnist-t10k").header.count == 40


def test_a_frozen_file_goes_before_a_well_known_one(tmp_path: Path) -> None:
    (tmp_path / "iris.potdata").write_bytes(file(7))
    assert Catalog(tmp_path).by_name("iris").inputs.tolist() == [[7]]


def test_a_bad_file_does_not_hide_a_good_one(tmp_path: Path) -> None:
    (tmp_path / "bad.potdata").write_bytes(b"?")
    (tmp_path / "good.potdata").write_bytes(file(1))
    (tmp_path / "tinyshakespeare.txt").write_bytes(b"")
    catalog = Catalog(tmp_path)
    assert catalog.by_root(dataset_root(file(1))).name == "good"
    with pytest.raises(BadDataset, match="'bad'"):
        catalog.by_root(bytes(32))
    with pytest.raises(BadSource, match="is empty"):
        catalog.by_name("tinyshakespeare")


def test_an_entry_says_where_a_dataset_comes_from(tmp_path: Path) -> None:
    frozen = prepare("mine", read_bundled("iris"), Recipe(attribution="R. A. Fisher"))
    path = write(frozen, tmp_path)
    (tmp_path / "bare.potdata").write_bytes(file(1))
    write_mnist(tmp_path, "t10k", 10)
    catalog = Catalog(tmp_path)
    entry = catalog.entry("mine")
    assert (entry.origin, entry.manifest) == (str(path), frozen.document)
    assert catalog.entry("bare").manifest == {}
    assert catalog.entry("digits").origin == "built in"
    assert "Kaynak" in str(catalog.entry("digits").manifest["attribution"])
    assert catalog.entry("iris").origin == "scikit-learn"
    assert catalog.entry("mnist-t10k").origin.count(str(tmp_path)) == 2
    for other in (b"not json", b"[]", json.dumps({"root": "00" * 32}).encode()):
        (tmp_path / "mine.json").write_bytes(other)
        assert Catalog(tmp_path).entry("mine").manifest == {}, "a manifest of something else"


def test_weights_are_found_by_their_hash(tmp_path: Path) -> None:
    blob = b"some weights"
    name = sha256(blob).hexdigest()
    path = tmp_path / f"{name}.potweights"
    catalog = Catalog(tmp_path)
    with pytest.raises(UnknownWeights, match=f"put them at {path}"):
        catalog.weights(name)
    path.write_bytes(blob)
    assert catalog.weights(name) == blob
    path.write_bytes(blob + b"!")
    with pytest.raises(UnknownWeights, match=sha256(blob + b"!").hexdigest()):
        catalog.weights(name)
    with pytest.raises(UnknownWeights, match=r"datasets\.path"):
        Catalog().weights(name)
    for wrong in ("../" + name, name.upper(), name[:-1]):
        with pytest.raises(UnknownWeights, match="64 lower-case hex digits"):
            catalog.weights(wrong)
    path.unlink()
    path.mkdir()
    with pytest.raises(DataError, match="Is a directory"):
        catalog.weights(name)
