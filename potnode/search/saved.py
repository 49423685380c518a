"""The file of a saved search: one line of JSON, then masters and momenta, le32 each.

The line holds the SHA-256 of all else that the file says. Written beside its place and moved there,
so a crash leaves the old file or the new one.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from potnode.search.errors import BadSearchFile, SearchError

_FORMAT = "potnode-search-1"


@dataclass(frozen=True, slots=True)
class Header:
    """Everything of a search but its state; hashes and roots in hexadecimal."""

    manifest: str
    data_root: str
    seed: str
    population: tuple[int, int]
    candidates_per_share: int
    batch_size: int
    steps: int
    steps_done: int
    evaluations: int
    state_root: str


def write(path: Path, header: Header, state: bytes) -> None:
    """Write the file. SearchError where the system doesn't let us."""
    document = asdict(header)
    line = json.dumps(
        {"format": _FORMAT, "sha256": _digest(document, state)} | document, sort_keys=True
    )
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with new.open("wb") as file:
            file.write(line.encode("ascii") + b"\n" + state)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise SearchError(f"can't write {path}: {error.strerror}") from error


def read(path: Path) -> tuple[Header, bytes]:
    """Header and state of a file.

    Raises:
        BadSearchFile: it is none, of another version, or damaged. SearchError: it can't be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SearchError(f"can't read {path}: {error.strerror}") from error
    line, _, state = data.partition(b"\n")
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or document.pop("format", None) != _FORMAT:
        raise BadSearchFile(f"{path} is no saved search of this version")
    if document.pop("sha256", None) != _digest(document, state):
        raise BadSearchFile(f"{path} is damaged: it is not what was written")
    document["population"] = tuple(document["population"])
    return Header(**document), state


def _digest(document: dict[str, Any], state: bytes) -> str:
    return sha256(json.dumps(document, sort_keys=True).encode("ascii") + state).hexdigest()
