"""Datasets that need no freezing step."""

from __future__ import annotations

from pathlib import Path

import pytest

from potnode.data.catalog import Catalog
from potnode.data.errors import BadSource, UnknownDataset
from potnode.data.wellknown import in_folder, in_scikit_learn
from tests.data.readers.idx_files import write_mnist


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_mnists_test_file_is_split_four_to_one(tmp_path: Path, suffix: str) -> None:
    write_mnist(tmp_path, "t10k", 50, suffix=suffix)
    found = in_folder(tmp_path)
    assert list(found) == ["mnist-t10k"]
    header = found["mnist-t10k"].prepare().dataset.header
    assert (header.kind, header.train_count, header.held_out_count) == ("classes", 40, 10)
    assert (header.input_size, header.outputs) == (6, 10)


def test_packed_or_not_mnist_is_one_dataset(tmp_path: Path) -> None:
    for suffix in ("", ".gz"):
        (tmp_path / f"as{suffix}").mkdir()
        write_mnist(tmp_path / f"as{suffix}", "t10k", 20, suffix=suffix)
    roots = {
        in_folder(tmp_path / name)["mnist-t10k"].prepare().dataset.root for name in ("as", "as.gz")
    }
    assert len(roots) == 1


def test_all_of_mnist_keeps_its_own_split(tmp_path: Path) -> None:
    write_mnist(tmp_path, "t10k", 20, seed=1)
    write_mnist(tmp_path, "train", 30)
    found = in_folder(tmp_path)
    assert sorted(found) == ["mnist", "mnist-t10k"]
    frozen = found["mnist"].prepare()
    header = frozen.dataset.header
    assert (header.train_count, header.held_out_count) == (30, 20)
    assert frozen.dataset.targets.tolist() == [i % 10 for i in range(30)] + [
        i % 10 for i in range(20)
    ]
    assert len(found["mnist"].paths) == 4


def test_half_of_a_pair_is_nothing(tmp_path: Path) -> None:
    write_mnist(tmp_path, "t10k", 20)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    write_mnist(tmp_path, "train", 30)
    assert in_folder(tmp_path) == {}


def test_files_that_are_missing_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownDataset, match=r"put train-images-idx3-ubyte, .*-ubyte into /"):
        Catalog(tmp_path).by_name("mnist")
    with pytest.raises(UnknownDataset, match=r"put tinyshakespeare\.txt into /"):
        Catalog(tmp_path).by_name("tinyshakespeare")


def test_a_text(tmp_path: Path) -> None:
    (tmp_path / "tinyshakespeare.txt").write_bytes(b"To be, or not to be. " * 100)
    header = in_folder(tmp_path)["tinyshakespeare"].prepare().dataset.header
    assert (header.kind, header.input_size, header.outputs) == ("bytes", 65, 256)
    assert (header.train_count, header.held_out_count) == (29, 3)
    (tmp_path / "tinyshakespeare.txt").write_bytes(b"To be.")
    with pytest.raises(BadSource, match="shorter than one window"):
        in_folder(tmp_path)["tinyshakespeare"].prepare()


@pytest.mark.parametrize(
    ("name", "kind", "counts", "sizes"),
    [
        ("iris", "classes", (120, 30), (4, 3)),
        ("wine", "classes", (142, 36), (13, 3)),
        ("breast-cancer", "classes", (455, 114), (30, 2)),
        ("diabetes", "values", (353, 89), (10, 1)),
    ],
)
def test_bundled_sets_have_the_roots_they_are_known_by(
    name: str, kind: str, counts: tuple[int, int], sizes: tuple[int, int]
) -> None:
    known = in_scikit_learn()[name]
    frozen = known.prepare()
    header = frozen.dataset.header
    assert frozen.dataset.root == known.root
    assert (header.kind, header.train_count, header.held_out_count) == (kind, *counts)
    assert (header.input_size, header.outputs) == sizes
    assert "scikit-learn distributes" in str(frozen.document["attribution"])
