"""Commands on datasets: list, show, and freezing files of other formats."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from potnode.cli.options import AsJson, ConfigFile, settings, show
from potnode.errors import PotnodeError

if TYPE_CHECKING:
    from potnode.data.catalog import Entry

commands = typer.Typer(help="Datasets to train on.", no_args_is_help=True)

Folder = Annotated[
    Path | None, typer.Option("--folder", help="Folder of datasets; default datasets.path.")
]


@commands.command("list")
def dataset_list(folder: Folder = None, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """List the datasets that jobs can name."""
    from potnode.data.catalog import Catalog
    from potnode.data.errors import DataError

    catalog = Catalog(folder or settings(config).datasets.path)
    rows: list[dict[str, Any]] = []
    lines = []
    for name in catalog.names():
        try:
            row = _row(name, catalog.entry(name))
            lines.append(
                f"{name}  {row['kind']}  {row['train_count']} + {row['held_out_count']}  "
                f"{row['input_size']} -> {row['outputs']}  {row['origin']}"
            )
        except DataError as error:  # one bad file hides no other
            row = {"name": name, "problem": str(error)}
            lines.append(f"{name}  can't be used: {error}")
        rows.append(row)
    show({"items": rows, "next": None}, as_json=as_json, text="\n".join(lines))


@commands.command("show")
def dataset_show(
    name: Annotated[str, typer.Argument(help="A name that `dataset list` shows.")],
    folder: Folder = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show one dataset: its root, its shape, and how it was made."""
    from potnode.data.catalog import Catalog

    entry = Catalog(folder or settings(config).datasets.path).entry(name)
    row = _row(name, entry)
    more = {key: value for key, value in entry.manifest.items() if key not in row}
    document = {**row, "manifest": entry.manifest or None}
    width = max(map(len, (*row, *more)))
    lines = (f"{key:<{width}}  {_short(value)}" for key, value in (row | more).items())
    show(document, as_json=as_json, text="\n".join(lines))


@commands.command("freeze")
def dataset_freeze(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Files to freeze: IDX images and labels, .npz, .csv, .parquet, .txt; "
            "or sklearn:iris, sklearn:wine, ...",
            metavar="SOURCE...",
        ),
    ],
    name: Annotated[str, typer.Option(help="Name of the dataset.")],
    format_: Annotated[
        str | None,
        typer.Option("--format", help="idx, npz, csv, parquet, text; default by the file's name."),
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option(help="Column or array to predict; several for values.")
    ] = None,
    feature: Annotated[
        list[str] | None,
        typer.Option(help="Column or array to predict from; default all others."),
    ] = None,
    kind: Annotated[
        str | None, typer.Option(help="classes or values, where targets could be either.")
    ] = None,
    classes: Annotated[
        int | None, typer.Option(help="Number of classes; default the highest class + 1.")
    ] = None,
    train: Annotated[
        int | None, typer.Option(help="Samples to train on; default four fifths.")
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option(help="Of inputs: standard, pixels, centred, none; see docs/datasets.md."),
    ] = None,
    target_scale: Annotated[
        str | None, typer.Option(help="Of target values: standard, none.")
    ] = None,
    window: Annotated[int, typer.Option(help="Bytes of a sample of text.")] = 65,
    stride: Annotated[int, typer.Option(help="Bytes from one window to the next.")] = 64,
    attribution: Annotated[
        str | None, typer.Option(help="Whose data they are, for the manifest.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to; default datasets.path.")
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a dataset file, NAME.potdata, and its manifest, NAME.json."""
    from potnode.data import digits
    from potnode.data.readers.request import Request, read
    from potnode.data.recipe import Recipe, prepare, write

    folder = out or settings(config).datasets.path
    if folder is None:
        raise PotnodeError("where to? name the folder with --out or in POTNODE_DATASETS")
    if name == digits.NAME:
        raise PotnodeError(f"{name} is the built-in dataset: choose another name")
    wanted = Request(
        tuple(sources),
        format_,
        targets=tuple(target or ()),
        features=tuple(feature or ()),
        window=window,
        stride=stride,
        train_count=train,
    )
    recipe = Recipe(kind, train, scale, target_scale, classes, attribution)
    frozen = prepare(name, read(wanted), recipe)
    path = write(frozen, folder)
    header = frozen.dataset.header
    show(
        {"file": str(path), **frozen.document},
        as_json=as_json,
        text=(
            f"{path}: {header.kind}, {header.train_count} + {header.held_out_count} samples, "
            f"{header.input_size} -> {header.outputs}, root {frozen.dataset.root.hex()}"
        ),
    )


def _row(name: str, entry: Entry) -> dict[str, Any]:
    header = entry.dataset.header
    return {
        "name": name,
        "kind": header.kind,
        "train_count": header.train_count,
        "held_out_count": header.held_out_count,
        "input_size": header.input_size,
        "outputs": header.outputs,
        "root": entry.dataset.root.hex(),
        "origin": entry.origin,
    }


def _short(value: object, most: int = 160) -> str:
    """A value of a manifest on one line."""
    text = str(value)
    return text if len(text) <= most else text[: most - 3] + "..."
