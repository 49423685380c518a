"""Which reader reads a source: by the format that is named, or by the file's name.

Responsible for refusing options that the format doesn't have, so that none is ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from potnode.data.errors import BadSource
from potnode.data.readers import bundled, tables
from potnode.data.readers.idx import read_idx
from potnode.data.readers.npz import read_npz
from potnode.data.readers.text import STRIDE, WINDOW, read_text
from potnode.data.source import Arrays

FORMATS = ("idx", "npz", *tables.FORMATS, "text")
_SUFFIXES = {
    ".npz": "npz",
    ".csv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".txt": "text",
    ".idx": "idx",
}


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be read.

    sources: files, or one `sklearn:NAME`. format: one of FORMATS, or None to go by the name.
    targets, features: columns or arrays. window, stride, train_count: of text; other formats leave
    train_count to the recipe.
    """

    sources: tuple[str, ...]
    format: str | None = None
    targets: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    window: int = WINDOW
    stride: int = STRIDE
    train_count: int | None = None


def read(request: Request) -> Arrays:
    """Read the sources.

    Raises:
        BadSource: no format is known, the format takes no such options or another number of files,
            or a file is not sound. MissingPackage: see `read_bundled`.
    """
    first = request.sources[0]
    if first.startswith(bundled.PREFIX):
        _check(request, "sklearn", options=())
        if request.format is not None:
            raise BadSource(f"{first} is no file: leave --format away")
        return bundled.read_bundled(first.removeprefix(bundled.PREFIX))
    format_ = request.format or format_of(first)
    if format_ not in FORMATS:
        raise BadSource(f"the formats are {', '.join(FORMATS)}, not {format_!r}")
    if format_ == "idx":
        _check(request, format_, options=(), files=None)
        return read_idx([Path(source) for source in request.sources])
    if format_ == "npz":
        _check(request, format_, options=("target", "feature"), columns=1)
        inputs, target = (next(iter(n), None) for n in (request.features, request.targets))
        return read_npz(Path(first), inputs=inputs, target=target)
    if format_ == "text":
        _check(request, format_, options=("window", "stride"))
        return read_text(
            Path(first),
            window=request.window,
            stride=request.stride,
            train_count=request.train_count,
        )
    _check(request, format_, options=("target", "feature"))
    return tables.read_table(
        Path(first), format_, targets=request.targets, features=request.features
    )


def format_of(source: str) -> str:
    """The format a file's name stands for; BadSource where it stands for none."""
    path = Path(source)
    name = path.name.removesuffix(".gz")
    format_ = _SUFFIXES.get(Path(name).suffix)
    if format_ is None and "ubyte" in name:
        format_ = "idx"
    if format_ is None:
        raise BadSource(f"{source}: what is it? name --format, one of {', '.join(FORMATS)}")
    return format_


def _check(
    request: Request,
    format_: str,
    *,
    options: tuple[str, ...],
    files: int | None = 1,
    columns: int | None = None,
) -> None:
    """Only options the format has may be given, and as many files and columns as it takes."""
    given = {
        "target": request.targets != (),
        "feature": request.features != (),
        "window": request.window != WINDOW,
        "stride": request.stride != STRIDE,
    }
    for option, is_given in given.items():
        if is_given and option not in options:
            raise BadSource(f"{format_} has no --{option}")
    if files is not None and len(request.sources) != files:
        raise BadSource(f"{format_} is read from {files} file, not {len(request.sources)}")
    if columns is not None and max(len(request.targets), len(request.features)) > columns:
        raise BadSource(f"{format_} takes one array as --target and one as --feature")
