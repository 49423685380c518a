"""NumPy archives."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from potnode.data.errors import BadSource
from potnode.data.readers.npz import read_npz

X = np.arange(12).reshape(4, 3)
Y = np.array([0, 1, 1, 0])


def archive(folder: Path, **arrays: Any) -> Path:
    path = folder / "made-up.npz"
    np.savez(path, **arrays)
    return path


def test_x_and_y(tmp_path: Path) -> None:
    found = read_npz(archive(tmp_path, x=X, y=Y))
    assert found.inputs.tolist() == X.tolist()
    assert found.targets is not None
    assert found.targets.tolist() == Y.tolist()
    assert (found.maximum, found.train_count) == (None, None)
    assert found.reader == {"format": "npz", "inputs": "x", "target": "y"}


def test_arrays_of_other_names(tmp_path: Path) -> None:
    path = archive(tmp_path, pictures=X.astype(np.uint8), kinds=np.array(["a", "b", "b", "a"]))
    found = read_npz(path, inputs="pictures", target="kinds")
    assert found.maximum == 255
    assert found.targets is not None
    assert found.targets.tolist() == ["a", "b", "b", "a"]
    with pytest.raises(BadSource, match="no array 'x'; it has kinds, pictures"):
        read_npz(path)
    with pytest.raises(BadSource, match="kinds has the type <U1, not numbers"):
        read_npz(path, inputs="kinds", target="kinds")


def test_a_split_of_the_archive(tmp_path: Path) -> None:
    arrays = {"x_train": X[:3], "y_train": Y[:3], "x_test": X[3:], "y_test": Y[3:]}
    found = read_npz(archive(tmp_path, **arrays))
    assert found.train_count == 3
    assert found.inputs.tolist() == X.tolist()
    for change in ({"x_test": X[3:, :2]}, {"x_test": X[3:] / 2}):
        with pytest.raises(BadSource, match="must be alike"):
            read_npz(archive(tmp_path, **arrays | change))
    with pytest.raises(BadSource, match="x_test has 1 samples, y_test has 2"):
        read_npz(archive(tmp_path, **arrays | {"y_test": Y[2:]}))


def test_pairs(tmp_path: Path) -> None:
    found = read_npz(archive(tmp_path, preferred=X, other=X + 1))
    assert found.targets is None
    assert found.other is not None
    assert found.other.tolist() == (X + 1).tolist()
    with pytest.raises(BadSource, match="must be alike"):
        read_npz(archive(tmp_path, preferred=X, other=X[:3]))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"y": Y[:3]}, "x has 4 samples, y has 3"),
        ({"x": X + np.inf}, r"x has inf at \[0, 0\]"),
        ({"y": np.array([0, 1, np.nan, 0])}, r"y has nan at \[2\]"),
        ({"x": np.array(5)}, r"shape \(\)"),
        ({"x": X[:0]}, r"shape \(0, 3\)"),
        ({"x": X.astype(complex)}, "complex128, not numbers"),
        ({"x": np.array([[{}]])}, "no archive of plain arrays"),
    ],
)
def test_arrays_that_are_no_samples(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadSource, match=problem) as caught:
        read_npz(archive(tmp_path, **{"x": X, "y": Y} | change))
    assert "made-up.npz" in str(caught.value)


def test_files_that_are_no_archives(tmp_path: Path) -> None:
    path = archive(tmp_path, x=X, y=Y)
    whole = path.read_bytes()
    for data in (whole[:-30], whole[:100], b"something else", b"\x93NUMPY"):
        path.write_bytes(data)
        with pytest.raises(BadSource, match="no archive of plain arrays, or damaged"):
            read_npz(path)
    with path.open("wb") as file:
        np.save(file, X)
    with pytest.raises(BadSource, match="one array without a name"):
        read_npz(path)


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("{'descr':'<f8','fortran_order':False,'shape':(10**18,8)}", "damaged"),
        (f"{{'descr':'<f8','fortran_order':False,'shape':({10**14},8)}}", "more memory than there"),
        (f"{{'descr':'<f8','fortran_order':False,'shape':({10**23},0)}}", "damaged"),
        ("{'descr':'<f8','fortran_order':False,'shape':(-5,)}", "damaged"),
        ("[" * 3000, "damaged"),
        ("[" * 60_000, "damaged"),
        (None, "has no array 'x'; it has y"),
    ],
    ids=range(7),
)
def test_members_that_are_no_arrays(tmp_path: Path, header: str | None, problem: str) -> None:
    path = archive(tmp_path, y=Y)
    member = b"no array"
    if header is not None:
        member = b"\x93NUMPY\1\0" + (len(header) + 1).to_bytes(2, "little")
        member += header.encode() + b"\n"
    with zipfile.ZipFile(path, "a") as packed:
        packed.writestr("x.npy", member)
    with pytest.raises(BadSource, match=problem):
        read_npz(path)
