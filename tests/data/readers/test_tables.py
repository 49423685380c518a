"""CSV and Parquet."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from potnode.data.errors import BadSource
from potnode.data.readers.tables import FORMATS, read_table

COLUMNS: dict[str, list[Any]] = {
    "width": [1.5, -2.0, 0.25],
    "count": [3, 4, -5],
    "kind": ["b", "a", "b"],
    "price": [10, 20, 30],
}
Write = Callable[[dict[str, list[Any]]], Path]


@pytest.fixture(params=FORMATS)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Write]:
    """A format, and a function that writes columns in it."""

    def write(columns: dict[str, list[Any]]) -> Path:
        path = tmp_path / f"made-up.{request.param}"
        if request.param == "parquet":
            parquet.write_table(pa.table(columns), path)
        else:
            rows = zip(*columns.values(), strict=True)
            shown = [["" if cell is None else str(cell) for cell in row] for row in rows]
            path.write_text("\n".join(",".join(row) for row in [list(columns), *shown]) + "\n")
        return path

    return request.param, write


def test_features_are_all_other_columns_as_they_stand(written: tuple[str, Write]) -> None:
    format_, write = written
    path = write({k: v for k, v in COLUMNS.items() if k != "price"})
    found = read_table(path, format_, targets=["kind"])
    assert found.inputs.tolist() == [[1.5, 3.0], [-2.0, 4.0], [0.25, -5.0]]
    assert found.targets is not None
    assert found.targets.tolist() == ["b", "a", "b"]
    assert found.reader == {
        "format": format_,
        "features": ["width", "count"],
        "targets": ["kind"],
    }
    packed = path.with_suffix(".gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read_table(packed, format_, targets=["kind"]).inputs.tolist() == found.inputs.tolist()


def test_features_and_targets_by_name(written: tuple[str, Write]) -> None:
    format_, write = written
    path = write(COLUMNS)
    found = read_table(path, format_, targets=["price"], features=["count", "width"])
    assert found.inputs.tolist() == [[3.0, 1.5], [4.0, -2.0], [-5.0, 0.25]]
    assert found.targets is not None
    assert found.targets.dtype.kind == "i"
    both = read_table(path, format_, targets=["price", "width"], features=["count"])
    assert both.targets is not None
    assert both.targets.tolist() == [[10.0, 1.5], [20.0, -2.0], [30.0, 0.25]]


@pytest.mark.parametrize(
    ("change", "targets", "features", "problem"),
    [
        ({}, [], [], "name the target column; it has width, count, kind, price"),
        ({}, ["kin"], [], "no column 'kin'; it has width, count, kind, price"),
        ({}, ["price"], ["size"], "no column 'size'"),
        ({}, ["price"], [], "feature column 'kind' holds string, not numbers"),
        ({}, ["price", "kind"], ["count"], "target column 'kind' holds string, not numbers"),
        ({}, ["price"], ["price"], "the target itself"),
        ({"count": [3, None, 5]}, ["kind"], [], "column 'count' has no value in row 1"),
        ({"kind": ["a", "b", None]}, ["kind"], ["count"], "'kind' has no value in row 2"),
        ({"width": [1.0, 2.0, float("inf")]}, ["kind"], [], r"'width' has inf at \[2\]"),
        ({k: [] for k in COLUMNS}, ["kind"], ["count"], "has no rows"),
    ],
)
def test_tables_that_are_no_samples(
    written: tuple[str, Write],
    change: dict[str, list[Any]],
    targets: list[str],
    features: list[str],
    problem: str,
) -> None:
    format_, write = written
    with pytest.raises(BadSource, match=problem) as caught:
        read_table(write(COLUMNS | change), format_, targets=targets, features=features)
    assert "made-up" in str(caught.value)


def test_not_a_number_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "made-up.csv"
    path.write_text("a,y\n1,0\nNaN,1\n")
    with pytest.raises(BadSource, match="column 'a' has no value in row 1"):
        read_table(path, "csv", targets=["y"])
    path = tmp_path / "made-up.parquet"
    parquet.write_table(pa.table({"a": [1.0, float("nan")], "y": [0, 1]}), path)
    with pytest.raises(BadSource, match=r"'a' has nan at \[1\]"):
        read_table(path, "parquet", targets=["y"])


def test_one_word_among_numbers_is_named(tmp_path: Path) -> None:
    path = tmp_path / "made-up.csv"
    path.write_text("a,y\n" + "1,0\n" * 100_000 + "one,0\n")
    with pytest.raises(BadSource, match="feature column 'a' holds string"):
        read_table(path, "csv", targets=["y"])


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_first_line_says_what_parts_columns(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "made-up.csv"
    path.write_text(delimiter.join("ab") + "\n" + delimiter.join("12") + "\n")
    assert read_table(path, "csv", targets=["b"]).inputs.tolist() == [[1.0]]


def test_a_column_twice(tmp_path: Path) -> None:
    path = tmp_path / "made-up.csv"
    path.write_text("a,b,a\n1,2,3\n")
    with pytest.raises(BadSource, match="'a' is there twice"):
        read_table(path, "csv", targets=["b"])


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    path = tmp_path / "made-up"
    parquet.write_table(pa.table(COLUMNS), path)
    whole = path.read_bytes()
    for data in (whole[:-10], b"PAR1", b"something else"):
        path.write_bytes(data)
        with pytest.raises(BadSource, match="no parquet table, or damaged"):
            read_table(path, "parquet", targets=["kind"])
    path.write_text("a,b\n1,2\n1,2,3\n")
    with pytest.raises(BadSource, match=r"no csv table, or damaged: .*Expected 2 columns, got 3"):
        read_table(path, "csv", targets=["b"])
    path.write_bytes(b"")
    with pytest.raises(BadSource, match="is empty"):
        read_table(path, "csv", targets=["b"])


def test_columns_of_parquet_that_are_numbers_in_other_forms(tmp_path: Path) -> None:
    path = tmp_path / "made-up.parquet"
    decimals = pa.array([1.25, -3.5]).cast(pa.decimal128(5, 2))
    table = pa.table(
        {
            "yes": [True, False],
            "decimal": decimals,
            "kind": pa.array(["x", "y"]).dictionary_encode(),
        }
    )
    parquet.write_table(table, path)
    found = read_table(path, "parquet", targets=["kind"])
    assert found.inputs.tolist() == [[1.0, 1.25], [0.0, -3.5]]
    assert found.targets is not None
    assert found.targets.tolist() == ["x", "y"]


@given(
    st.lists(
        st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 9)), min_size=1
    )
)
def test_every_float_comes_back_from_csv(
    tmp_path_factory: Any, rows: list[tuple[float, int]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "floats.csv"
    path.write_text("a,y\n" + "".join(f"{a!r},{y}\n" for a, y in rows))
    found = read_table(path, "csv", targets=["y"])
    assert found.targets is not None
    assert list(zip(found.inputs[:, 0].tolist(), found.targets.tolist(), strict=True)) == rows
    assert found.inputs.dtype == np.float64


def test_names_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "made-up.csv"
    path.write_bytes(b"\xff\xfe,price\n1,2\n")
    with pytest.raises(BadSource, match="no csv table, or damaged"):
        read_table(path, "csv", targets=["price"])


def test_a_table_of_very_many_columns(tmp_path: Path) -> None:
    count = 12_000
    path = tmp_path / "made-up.csv"
    path.write_text("\n".join([",".join(f"c{i}" for i in range(count)), ",".join("1" * count)]))
    started = time.process_time()
    assert read_table(path, "csv", targets=["c0"]).inputs.shape == (1, count - 1)
    assert time.process_time() - started < 10
