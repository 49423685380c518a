"""Tables with named columns: CSV and Parquet, either packed by gzip or not.

A CSV file's first line has the names; commas, semicolons or tabs part columns, whichever that line
has most of.
Every column that is not a target is a feature, unless features are named. A column that is no
number, or a cell without one, is an error rather than left out: nobody notices what is missing.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from potnode.data.errors import BadSource
from potnode.data.source import Arrays, Numbers, SourceFile, check_numbers, read_source

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = ("csv", "parquet")
_DELIMITERS = ",;\t"


def read_table(
    path: Path, format_: str, *, targets: Sequence[str], features: Sequence[str] = ()
) -> Arrays:
    """Features and targets of a table.

    Args:
        format_: one of FORMATS. targets: columns to be predicted, at least one; several must be
            numbers. features: columns to predict from, in this order; default all others, as they
            stand.

    Raises:
        BadSource: no such table, a column is missing or not numbers, a cell is empty, NaN or
            infinite.
    """
    file = read_source(path)
    table = _load(file, format_)
    if not targets:
        raise BadSource(f"{path}: name the target column; it has {_listed(table.column_names)}")
    if table.num_rows < 1:
        raise BadSource(f"{path} has no rows")
    repeated = sorted(n for n, count in Counter(table.column_names).items() if count > 1)
    if repeated:
        raise BadSource(f"{path}: column {repeated[0]!r} is there twice; rename one")
    for name in (*targets, *features):
        if name not in table.column_names:
            raise BadSource(f"{path} has no column {name!r}; it has {_listed(table.column_names)}")
    chosen = list(features) or [n for n in table.column_names if n not in targets]
    if not chosen or set(chosen) & set(targets):
        raise BadSource(f"{path}: no column, or the target itself, is left to predict from")
    columns = [_numbers(file, table, name, "feature") for name in chosen]
    return Arrays(
        inputs=np.stack([column.astype(np.float64) for column in columns], axis=1),
        targets=_targets(file, table, targets),
        origins=(file.origin,),
        reader={"format": format_, "features": chosen, "targets": list(targets)},
    )


def _load(file: SourceFile, format_: str) -> pa.Table:
    import pyarrow as pa

    try:
        if format_ == "parquet":
            from pyarrow import parquet

            return _named(parquet.read_table(io.BytesIO(file.data)))
        from pyarrow import csv

        # One thread, one block: a column's type is then judged by all of its cells.
        reading = csv.ReadOptions(use_threads=False, block_size=min(len(file.data) + 1, 1 << 30))
        names = file.data.split(b"\n", 1)[0].decode("utf-8", "replace")
        parsing = csv.ParseOptions(delimiter=max(_DELIMITERS, key=names.count))
        converting = csv.ConvertOptions(strings_can_be_null=True)
        return _named(csv.read_csv(io.BytesIO(file.data), reading, parsing, converting))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise BadSource(f"{file.path} is no {format_} table, or damaged: {reason}") from error


def _named(table: pa.Table) -> pa.Table:
    """The table, whose names are text. Raises UnicodeDecodeError."""
    _ = table.column_names  # decoded when asked for
    return table


def _targets(file: SourceFile, table: pa.Table, names: Sequence[str]) -> Numbers:
    import pyarrow as pa

    if len(names) > 1:
        columns = [_numbers(file, table, name, "target") for name in names]
        return np.stack([column.astype(np.float64) for column in columns], axis=1)
    column = table.column(names[0])
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        _check_filled(file, names[0], column)
        return np.array(column.to_pylist(), np.str_)
    return _numbers(file, table, names[0], "target")


def _numbers(file: SourceFile, table: pa.Table, name: str, role: str) -> Numbers:
    import pyarrow as pa

    column = table.column(name)
    _check_filled(file, name, column)
    kind = column.type
    if pa.types.is_decimal(kind):
        column, kind = column.cast(pa.float64()), pa.float64()
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise BadSource(
            f"{file.path}: {role} column {name!r} holds {kind}, not numbers: "
            "name the features that do, or turn it into numbers"
        )
    array = column.to_numpy()
    check_numbers(array, f"{file.path}: column {name!r}")
    return np.asarray(array)


def _check_filled(file: SourceFile, name: str, column: pa.ChunkedArray) -> None:
    if column.null_count:
        row = column.is_null().index(True).as_py()
        raise BadSource(
            f"{file.path}: column {name!r} has no value in row {row} (counted from 0, without the "
            "names): fill it in or leave the row out"
        )


def _listed(names: Sequence[str], most: int = 12) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
