"""Which reader reads what."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from potnode.data.errors import BadSource
from potnode.data.readers.request import Request, format_of, read
from tests.data.readers.idx_files import write_mnist


@pytest.mark.parametrize(
    ("source", "format_"),
    [
        ("a/t10k-images-idx3-ubyte.gz", "idx"),
        ("images.idx", "idx"),
        ("a.npz", "npz"),
        ("a.csv", "csv"),
        ("a.csv.gz", "csv"),
        ("a.parquet", "parquet"),
        ("a.pq", "parquet"),
        ("a.txt.gz", "text"),
    ],
)
def test_the_name_says_the_format(source: str, format_: str) -> None:
    assert format_of(source) == format_


def test_each_format_is_read_by_its_reader(tmp_path: Path) -> None:
    write_mnist(tmp_path, "some", 3)
    np.savez(tmp_path / "some.npz", x=[[1]], y=[0])
    (tmp_path / "some.csv").write_text("a,y\n1,0\n")
    (tmp_path / "some.txt").write_bytes(b"x" * 100)
    images, labels = (str(p) for p in sorted(tmp_path.glob("*ubyte*")))
    for sources, request_format, shape in (
        ((images, labels), "idx", (3, 2, 3)),
        ((str(tmp_path / "some.npz"),), "npz", (1, 1)),
        ((str(tmp_path / "some.txt"),), "text", (1, 65)),
        (("sklearn:iris",), "sklearn", (150, 4)),
    ):
        found = read(Request(sources))
        assert found.reader["format"] == request_format
        assert found.inputs.shape == shape
    assert read(Request((str(tmp_path / "some.csv"),), targets=("y",))).inputs.shape == (1, 1)
    as_text = Request((str(tmp_path / "some.csv"),), format="text", window=2, stride=1)
    assert read(as_text).inputs[0].tobytes() == b"a,"


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        (Request(("a.tar",)), "what is it"),
        (Request(("a.csv",), format="xlsx"), "formats are idx, npz, csv, parquet, text, not"),
        (Request(("a.csv", "b.csv"), targets=("y",)), "from 1 file, not 2"),
        (Request(("a.csv",), window=9), "csv has no --window"),
        (Request(("a.csv",), stride=9), "csv has no --stride"),
        (Request(("a.txt",), targets=("y",)), "text has no --target"),
        (Request(("a-ubyte", "b-ubyte"), features=("y",)), "idx has no --feature"),
        (Request(("a.npz",), targets=("y", "z")), "one array as --target"),
        (Request(("sklearn:iris",), targets=("y",)), "sklearn has no --target"),
        (Request(("sklearn:iris", "sklearn:wine")), "from 1 file, not 2"),
        (Request(("sklearn:iris",), format="csv"), "leave --format away"),
    ],
)
def test_no_option_is_ignored(request_: Request, problem: str) -> None:
    with pytest.raises(BadSource, match=problem):
        read(request_)
