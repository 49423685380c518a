"""NumPy archives (.npz): inputs and targets as arrays with names.

Known without being told: `x` and `y`; `x_train`, `y_train`, `x_test`, `y_test`, the second two held
out; `preferred` and `other`, pairs of inputs.
"""

from __future__ import annotations

import io
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

from potnode.data.errors import BadSource
from potnode.data.source import Arrays, Numbers, SourceFile, check_numbers, read_source

_SPLIT = ("x_train", "y_train", "x_test", "y_test")
_PAIR = ("preferred", "other")
_PIXEL_MAXIMUM = 255
# What numpy and zipfile raise for headers and members that are not what they should be.
_DAMAGED = (
    ValueError,
    OSError,
    EOFError,
    KeyError,
    OverflowError,
    RuntimeError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_npz(path: Path, *, inputs: str | None = None, target: str | None = None) -> Arrays:
    """The arrays of an archive.

    Args:
        inputs, target: names of the arrays [n, ...] and [n] or [n, outputs]; default the names
            above.

    Raises:
        BadSource: no archive, damaged, an array is missing or holds no finite numbers, or the
            arrays don't fit together.
    """
    file = read_source(path)
    arrays = _load(file)
    if inputs is None and target is None:
        if set(_SPLIT) <= set(arrays):
            return _split(file, arrays)
        if set(_PAIR) <= set(arrays):
            return _preferences(file, arrays)
    x_name, y_name = inputs or "x", target or "y"
    x, y = _named(file, arrays, x_name), _named(file, arrays, y_name, is_target=True)
    _check_lengths(file, (x_name, x), (y_name, y))
    return _arrays(file, x, y, {"inputs": x_name, "target": y_name})


def _split(file: SourceFile, arrays: dict[str, Numbers]) -> Arrays:
    x, y, x_test, y_test = (
        _named(file, arrays, name, is_target=name.startswith("y")) for name in _SPLIT
    )
    _check_lengths(file, ("x_train", x), ("y_train", y))
    _check_lengths(file, ("x_test", x_test), ("y_test", y_test))
    for first, second, name in ((x, x_test, "x"), (y, y_test, "y")):
        if first.shape[1:] != second.shape[1:] or first.dtype.kind != second.dtype.kind:
            raise BadSource(
                f"{file.path}: {name}_train holds {first.dtype} {first.shape[1:]}, {name}_test "
                f"{second.dtype} {second.shape[1:]}: they must be alike"
            )
    names: dict[str, object] = {"inputs": ["x_train", "x_test"], "target": ["y_train", "y_test"]}
    return _arrays(file, np.concatenate([x, x_test]), np.concatenate([y, y_test]), names, len(x))


def _preferences(file: SourceFile, arrays: dict[str, Numbers]) -> Arrays:
    preferred, other = (_named(file, arrays, name) for name in _PAIR)
    if preferred.shape != other.shape or preferred.dtype != other.dtype:
        raise BadSource(
            f"{file.path}: preferred is {preferred.dtype} {preferred.shape}, other is "
            f"{other.dtype} {other.shape}: they must be alike"
        )
    return Arrays(
        inputs=preferred,
        targets=None,
        origins=(file.origin,),
        reader={"format": "npz", "inputs": list(_PAIR)},
        other=other,
        maximum=_maximum(preferred),
    )


def _arrays(
    file: SourceFile,
    x: Numbers,
    y: Numbers,
    names: dict[str, object],
    train_count: int | None = None,
) -> Arrays:
    return Arrays(
        inputs=x,
        targets=y,
        origins=(file.origin,),
        reader={"format": "npz", **names},
        maximum=_maximum(x),
        train_count=train_count,
    )


def _maximum(inputs: Numbers) -> int | None:
    return _PIXEL_MAXIMUM if inputs.dtype == np.uint8 else None


def _load(file: SourceFile) -> dict[str, Numbers]:
    try:
        loaded = np.load(io.BytesIO(file.data), allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise BadSource(f"{file.path} holds one array without a name: save it by np.savez")
        with loaded:
            members = {name: loaded[name] for name in loaded.files}
    except _DAMAGED as error:
        raise BadSource(
            f"{file.path} is no archive of plain arrays, or damaged: {error}"
        ) from error
    except MemoryError as error:
        raise BadSource(f"{file.path} asks for more memory than there is: {error}") from error
    # numpy gives the bytes of members that are no arrays.
    return {name: array for name, array in members.items() if isinstance(array, np.ndarray)}


def _named(
    file: SourceFile, arrays: dict[str, Numbers], name: str, *, is_target: bool = False
) -> Numbers:
    if name not in arrays:
        raise BadSource(f"{file.path} has no array {name!r}; it has {', '.join(sorted(arrays))}")
    array = arrays[name]
    if array.ndim < 1 or len(array) < 1:
        raise BadSource(f"{file.path}: {name} has the shape {array.shape}, not [n, ...], n >= 1")
    if not (is_target and array.dtype.kind == "U"):  # classes may be named by text
        check_numbers(array, f"{file.path}: {name}")
    return array


def _check_lengths(file: SourceFile, x: tuple[str, Numbers], y: tuple[str, Numbers]) -> None:
    if len(x[1]) != len(y[1]):
        raise BadSource(
            f"{file.path}: {x[0]} has {len(x[1])} samples, {y[0]} has {len(y[1])}: one target each"
        )
