"""Writes every golden file into a folder: `python -m potnode.spec.vectors tests/vectors`."""

from __future__ import annotations

import sys
from pathlib import Path

from potnode.spec.vectors.files import documents


def main(arguments: list[str]) -> int:
    """Write the files; the exit status, 2 where the folder is not named."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m potnode.spec.vectors DIR\n")
        return 2
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in documents().items():
        (folder / name).write_text(content, encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
