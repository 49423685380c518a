"""Finding datasets by name or by root: the built-in digits, and the files of one folder.

A name is what a manifest says; the root is what a job is bound to. Whoever asks by name must still
compare the root with the job's.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from threading import Lock

from potnode.data import digits
from potnode.data.dataset import Dataset
from potnode.data.errors import DataError, UnknownDataset

SUFFIX = ".potdata"


class Catalog:
    """The datasets a node can work with. Safe to use from several threads."""

    def __init__(self, folder: Path | None = None) -> None:
        """folder: where NAME.potdata files lie; None for the built-in dataset alone."""
        self._folder = folder
        self._lock = Lock()
        self._loaded: dict[Path, tuple[tuple[int, int], Dataset]] = {}  # by path: stamp, dataset

    def names(self) -> list[str]:
        """Names of all datasets, sorted.

        Raises:
            DataError: the folder can't be read, or one of its files has the built-in's name.
        """
        return sorted([digits.NAME, *self._files()])

    def by_name(self, name: str) -> Dataset:
        """The dataset of this name.

        Raises:
            UnknownDataset: there is none. DataError: its file can't be used.
        """
        if name == digits.NAME:
            return digits.digits()
        files = self._files()
        if name not in files:
            close = difflib.get_close_matches(name, [digits.NAME, *files], n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise UnknownDataset(f"no dataset {name!r}{hint}: {self._where(name)}")
        return self._load(files[name])

    def by_root(self, root: bytes) -> Dataset:
        """The dataset with this root (32 bytes), whatever its name.

        Raises:
            UnknownDataset: there is none. DataError: a file that was looked into can't be used.
        """
        if root == digits.ROOT:
            return digits.digits()
        for path in self._files().values():
            dataset = self._load(path)
            if dataset.root == root:
                return dataset
        raise UnknownDataset(f"no dataset with the root {root.hex()}: {self._where('NAME')}")

    def _where(self, name: str) -> str:
        if self._folder is None:
            return "set datasets.path to the folder that holds it"
        return f"put it at {self._folder / (name + SUFFIX)}"

    def _files(self) -> dict[str, Path]:
        if self._folder is None:
            return {}
        try:
            paths = sorted(p for p in self._folder.iterdir() if p.suffix == SUFFIX)
        except OSError as error:
            raise DataError(
                f"can't read the folder of datasets {self._folder}: {error.strerror}; "
                "set datasets.path to one that exists"
            ) from error
        files = {p.stem: p for p in paths}
        if digits.NAME in files:
            raise DataError(
                f"{files[digits.NAME]}: {digits.NAME!r} is the name of the built-in dataset; "
                "rename the file"
            )
        return files

    def _load(self, path: Path) -> Dataset:
        """The file's dataset, read again only when the file has changed."""
        try:
            status = path.stat()
        except OSError as error:
            raise DataError(f"can't read dataset {path}: {error.strerror}") from error
        stamp = (status.st_mtime_ns, status.st_size)
        with self._lock:
            known = self._loaded.get(path)
            if known is None or known[0] != stamp:
                known = (stamp, Dataset.load(path))
                self._loaded[path] = known
            return known[1]
