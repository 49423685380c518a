"""Datasets that scikit-learn brings along: no file and no network needed.

The package is optional and slow to import, so it is imported when a set is read.
"""

from __future__ import annotations

from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec

import numpy as np

from potnode.data.errors import BadSource, MissingPackage
from potnode.data.source import Arrays, Origin

PREFIX = "sklearn:"
_LOADERS = {
    "iris": "load_iris",
    "wine": "load_wine",
    "breast_cancer": "load_breast_cancer",
    "digits": "load_digits",
    "diabetes": "load_diabetes",
}
_MAXIMA = {"digits": 16}
# Diabetes comes scaled by default, in floats that depend on the machine; its raw numbers do not.
_RAW = {"diabetes": {"scaled": False}}


def installed() -> bool:
    """Whether scikit-learn is there; does not import it."""
    return find_spec("sklearn") is not None


def read_bundled(name: str) -> Arrays:
    """A bundled set by its name, without the prefix.

    Raises:
        BadSource: there is no such set. MissingPackage: scikit-learn isn't installed.
    """
    if name not in _LOADERS:
        raise BadSource(
            f"scikit-learn has no set {name!r} that is known here: {', '.join(_LOADERS)}"
        )
    if not installed():
        raise MissingPackage(f"{PREFIX}{name} needs scikit-learn: pip install potnode[sklearn]")
    from sklearn import datasets

    load = getattr(datasets, _LOADERS[name])
    inputs, targets = load(return_X_y=True, **_RAW.get(name, {}))
    data = np.ascontiguousarray(inputs, "<f8").tobytes()
    data += np.ascontiguousarray(targets, "<f8").tobytes()
    return Arrays(
        inputs=np.asarray(inputs, np.float64),
        targets=np.asarray(targets),
        origins=(Origin(PREFIX + name, sha256(data).hexdigest(), len(data)),),
        reader={"format": "sklearn", "version": version("scikit-learn")},
        maximum=_MAXIMA.get(name),
    )
