"""Finding datasets by name or by root: the built-in digits, the files of one folder, bundled sets.

A name is what a manifest says; the root is what a job is bound to. Whoever asks by name must still
compare the root with the job's. Blobs of initial weights lie in the same folder.
"""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Lock

from potnode.data import digits
from potnode.data.dataset import Dataset
from potnode.data.errors import DataError, UnknownDataset, UnknownWeights
from potnode.data.recipe import MANIFEST_SUFFIX, SUFFIX
from potnode.data.wellknown import WellKnown, files_of, in_folder, in_scikit_learn

WEIGHTS_SUFFIX = ".potweights"
_SHA256 = re.compile(r"[0-9a-f]{64}")

Stamp = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A dataset of the catalogue. manifest: where it comes from; empty where nobody wrote it down.

    origin: "built in", "scikit-learn", or the file or files it is made of.
    """

    dataset: Dataset
    origin: str
    manifest: dict[str, object]


class Catalog:
    """The datasets a node can work with. Safe to use from several threads."""

    def __init__(self, folder: Path | None = None) -> None:
        """folder: where files lie, read and never written; None for what needs no file."""
        self._folder = folder
        self._lock = Lock()
        self._loaded: dict[str, tuple[Stamp, Entry]] = {}  # by name

    def names(self) -> list[str]:
        """Names of all datasets, sorted.

        Raises:
            DataError: the folder can't be read, or one of its files has the built-in's name.
        """
        return sorted([digits.NAME, *self._sources()])

    def by_name(self, name: str) -> Dataset:
        """The dataset of this name.

        Raises:
            UnknownDataset: there is none. DataError: its file can't be used.
        """
        return self.entry(name).dataset

    def by_root(self, root: bytes) -> Dataset:
        """The dataset with this root (32 bytes), whatever its name.

        Raises:
            UnknownDataset: there is none. DataError: there is none, and a file that was looked into
                can't be used.
        """
        if root == digits.ROOT:
            return digits.digits()
        sources, problem = self._sources(), None
        for name, source in sources.items():
            known = source.root if isinstance(source, WellKnown) else None
            if known not in (None, root):
                continue
            try:
                dataset = self._load(name, source).dataset
            except DataError as error:  # another file may be the right one
                problem = problem or error
                continue
            if dataset.root == root:
                return dataset
        if problem is not None:
            raise problem
        raise UnknownDataset(f"no dataset with the root {root.hex()}: {self._where('NAME')}")

    def entry(self, name: str) -> Entry:
        """The dataset of this name with where it comes from.

        Raises:
            UnknownDataset: there is none. DataError: its file can't be used.
        """
        if name == digits.NAME:
            manifest: dict[str, object] = {"attribution": digits.ATTRIBUTION}
            return Entry(digits.digits(), "built in", manifest)
        sources = self._sources()
        if name not in sources:
            close = difflib.get_close_matches(name, [digits.NAME, *sources], n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise UnknownDataset(f"no dataset {name!r}{hint}: {self._where(name)}")
        return self._load(name, sources[name])

    def weights(self, sha256_hex: str) -> bytes:
        """The blob of initial weights with this SHA-256 (64 lower-case hex digits).

        Raises:
            UnknownWeights: there is none, or the file of this name has another hash.
            DataError: the file can't be read.
        """
        if not _SHA256.fullmatch(sha256_hex):
            raise UnknownWeights(f"weights are named by 64 lower-case hex digits: {sha256_hex!r}")
        if self._folder is None:
            raise UnknownWeights(
                f"no weights {sha256_hex}: set datasets.path to the folder that holds "
                f"{sha256_hex}{WEIGHTS_SUFFIX}"
            )
        path = self._folder / (sha256_hex + WEIGHTS_SUFFIX)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise UnknownWeights(f"no weights {sha256_hex}: put them at {path}") from None
        except OSError as error:
            raise DataError(f"can't read weights {path}: {error.strerror}") from error
        found = sha256(data).hexdigest()
        if found != sha256_hex:
            raise UnknownWeights(f"{path} has the SHA-256 {found}: fetch the file again")
        return data

    def _where(self, name: str) -> str:
        if self._folder is None:
            return "set datasets.path to the folder that holds it"
        if files := files_of(name):
            return f"put {', '.join(files)} into {self._folder}"
        return f"put it at {self._folder / (name + SUFFIX)}"

    def _sources(self) -> dict[str, Path | WellKnown]:
        """All but the built-in. Frozen files go first: they are quick to load."""
        if self._folder is None:
            return {**in_scikit_learn()}
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
        ready = {**in_scikit_learn(), **in_folder(self._folder)}
        return {**files, **{name: found for name, found in ready.items() if name not in files}}

    def _load(self, name: str, source: Path | WellKnown) -> Entry:
        """The dataset of a source, read again only when a file of it has changed."""
        paths = (source,) if isinstance(source, Path) else source.paths
        stamp = tuple(_stamp(path) for path in paths)
        with self._lock:
            known = self._loaded.get(name)
            if known is None or known[0] != stamp:
                known = (stamp, _read(source))
                self._loaded[name] = known
            return known[1]


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"can't read dataset {path}: {error.strerror}") from error
    return status.st_mtime_ns, status.st_size


def _read(source: Path | WellKnown) -> Entry:
    if isinstance(source, Path):
        dataset = Dataset.load(source)
        return Entry(dataset, str(source), _manifest(source, dataset))
    frozen = source.prepare()
    origin = ", ".join(map(str, source.paths)) or "scikit-learn"
    return Entry(frozen.dataset, origin, frozen.document)


def _manifest(path: Path, dataset: Dataset) -> dict[str, object]:
    """What NAME.json says, if it is there and speaks of this file."""
    try:
        document = json.loads(path.with_suffix(MANIFEST_SUFFIX).read_bytes())
    except (OSError, ValueError):
        return {}
    fits = isinstance(document, dict) and document.get("root") == dataset.root.hex()
    return document if fits else {}
