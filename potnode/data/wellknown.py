"""Datasets that need no freezing step: well-known files by their own names, and bundled sets.

Each is frozen in memory, the same on every machine, so that a job on one can be trained and audited
by whoever has the file. Nothing is written: the folder may be read-only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from potnode.data.errors import WrongRoot
from potnode.data.readers import bundled
from potnode.data.readers.idx import read_idx
from potnode.data.readers.text import read_text
from potnode.data.recipe import Frozen, Recipe, prepare
from potnode.data.source import Arrays

_MNIST = "MNIST, Y. LeCun, C. Cortes and C. J. C. Burges"
_FORM = "in the form that scikit-learn distributes"
_UCI = f"UCI Machine Learning Repository, {_FORM}"
_TRAIN = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
_TEXT = "tinyshakespeare.txt"
_TEST = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

# Name here: set of scikit-learn, root, attribution. The roots say which version of a set is meant.
_BUNDLED = {
    "iris": (
        "iris",
        "fae44162d96257ea1a14806c1fc9035539a88293b16f3aa7740e6d932cbd5aff",
        f"Iris, R. A. Fisher, {_UCI}",
    ),
    "wine": (
        "wine",
        "d7fc6a6ebeed94ea088b21ff305ef0dbb5f6bea17a5b7f952156227cff41ae6b",
        f"Wine, S. Aeberhard and M. Forina, {_UCI}",
    ),
    "breast-cancer": (
        "breast_cancer",
        "d47f8177200c09c2db00fe23af82c75be9c45392fc1e7b5d98615d7607709bf9",
        f"Breast Cancer Wisconsin (Diagnostic), W. Wolberg et al., {_UCI}",
    ),
    "diabetes": (
        "diabetes",
        "a444560d599e4cde24ee5b9456a3328361218635f0388dc26dcf39f8ec361daf",
        f"Diabetes, B. Efron, T. Hastie, I. Johnstone and R. Tibshirani (2004), {_FORM}",
    ),
}


@dataclass(frozen=True, slots=True)
class WellKnown:
    """A dataset that can be made here. paths: the files it is made of; none for a bundled set."""

    name: str
    paths: tuple[Path, ...]
    read: Callable[[], Arrays]
    attribution: str
    root: bytes | None = None

    def prepare(self) -> Frozen:
        """Read and freeze it.

        Raises:
            DataError: its files are damaged, or a bundled set is of another version.
        """
        frozen = prepare(self.name, self.read(), Recipe(attribution=self.attribution))
        if self.root is not None and frozen.dataset.root != self.root:
            raise WrongRoot(
                f"the installed scikit-learn has another {self.name!r} (root "
                f"{frozen.dataset.root.hex()}) than jobs of this name are on: update it"
            )
        return frozen


def in_folder(folder: Path) -> dict[str, WellKnown]:
    """Those whose files lie in the folder, packed by gzip or not."""
    found = {}
    test, train = _all(folder, _TEST), _all(folder, _TRAIN)
    if test is not None:
        found["mnist-t10k"] = WellKnown("mnist-t10k", test, lambda: read_idx(test), _MNIST)
        if train is not None:
            both = (*train, *test)
            found["mnist"] = WellKnown("mnist", both, lambda: read_idx(both), _MNIST)
    text = folder / _TEXT
    if text.is_file():
        attribution = "Works of Shakespeare, the selection of A. Karpathy (char-rnn)"
        found["tinyshakespeare"] = WellKnown(
            "tinyshakespeare", (text,), lambda: read_text(text), attribution
        )
    return found


def files_of(name: str) -> tuple[str, ...]:
    """Names of the files that a well-known dataset is made of; none for any other name."""
    known = {"mnist-t10k": _TEST, "mnist": (*_TRAIN, *_TEST), "tinyshakespeare": (_TEXT,)}
    return known.get(name, ())


def in_scikit_learn() -> dict[str, WellKnown]:
    """Those that scikit-learn brings, if it is installed. Does not import it."""
    if not bundled.installed():
        return {}
    return {
        name: WellKnown(name, (), _reader(set_), attribution, bytes.fromhex(root))
        for name, (set_, root, attribution) in _BUNDLED.items()
    }


def _reader(name: str) -> Callable[[], Arrays]:
    return lambda: bundled.read_bundled(name)


def _all(folder: Path, names: tuple[str, ...]) -> tuple[Path, ...] | None:
    paths = []
    for name in names:
        choices = (folder / name, folder / f"{name}.gz")
        present = [path for path in choices if path.is_file()]
        if not present:
            return None
        paths.append(present[0])
    return tuple(paths)
