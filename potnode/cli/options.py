"""What every command shares: settings from options, output as text or JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from potnode.config import Loaded, Settings, load

ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="Configuration file (default: ./potnode.toml).")
]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Chain, database and keys of the node.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def settings(config: Path | None, data_dir: Path | None = None, **overrides: Any) -> Settings:
    """Settings with the command line's on top."""
    return loaded(config, data_dir, **overrides).settings


def loaded(config: Path | None, data_dir: Path | None = None, **overrides: Any) -> Loaded:
    """Settings and their sources; an override `stratum__port` is the setting `stratum.port`."""
    given = {name.replace("__", "."): value for name, value in overrides.items()}
    return load({"data_dir": data_dir, **given}, file=config)


def show(document: Any, *, as_json: bool, text: str) -> None:
    """Print a result: one JSON document, or lines for people."""
    sys.stdout.write((json.dumps(document, indent=2) if as_json else text) + "\n")
