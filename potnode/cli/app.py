"""The command tree."""

from __future__ import annotations

import typer

from potnode import __version__
from potnode.cli import bench, datasets, jobs, keep, mine, run
from potnode.cli.options import AsJson, show

app = typer.Typer(
    name="potnode",
    help=(
        "Train neural networks with shares of SHA-256 miners; every number recomputable, on chain."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)
for module in (run, mine, jobs, keep):
    app.add_typer(module.commands)
app.add_typer(datasets.commands, name="dataset")
app.add_typer(bench.commands, name="bench", help="Measure this machine.")


@app.command()
def version(as_json: AsJson = False) -> None:
    """Print the version."""
    show({"version": __version__}, as_json=as_json, text=__version__)
