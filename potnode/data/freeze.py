"""Making canonical dataset files: arrays in, bytes out, the same bytes for the same arrays.

Responsible for the order as well: it follows from the number of samples alone, so that nobody
chooses which are held out and anybody can repeat it. Where arrays come from is
`potnode.data.readers`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from potnode.data.errors import CannotFreeze
from potnode.spec.dataset import BYTE_VALUES, DatasetHeader, encode_header

_MAX_COUNT = (1 << 32) - 1
_MAX_OUTPUTS = (1 << 16) - 1

Integers = npt.NDArray[np.integer]


def shuffled_order(count: int) -> npt.NDArray[np.int64]:
    """A fixed order of 0..count-1 that has nothing to do with the samples.

    It is `RandomState(0).permutation(count)`, the shuffle that `random_state=0` stands for in
    scikit-learn; NumPy promises that this generator's stream never changes (NEP 19). Source files
    are often sorted, by class or by who wrote a digit; cut as they stand, the held-out part would
    be of another kind than the training part.
    """
    return np.random.RandomState(0).permutation(count)


def freeze(inputs: Integers, targets: Integers, *, train_count: int, classes: int) -> bytes:
    """The canonical file of kind "classes", samples in the order given.

    Args:
        inputs: [n, input_size], -127..127. targets: [n], 0..classes-1.
        train_count: 1..n; that many samples train, the rest are held out. classes: 2..65535.

    Raises:
        CannotFreeze: a shape, type or value is outside these.
    """
    _check_inputs(inputs, train_count)
    if targets.shape != inputs.shape[:1]:
        raise CannotFreeze(f"targets must be [{len(inputs)}], one a sample, not {targets.shape}")
    _check_integers("targets", targets)
    if not 2 <= classes <= _MAX_OUTPUTS:
        raise CannotFreeze(f"a dataset has 2..{_MAX_OUTPUTS} classes, not {classes}")
    _check_range("targets", targets, 0, classes - 1)
    return _file("classes", train_count, inputs.shape[1], classes, [_int8(inputs), _be32(targets)])


def freeze_values(inputs: Integers, targets: Integers, *, train_count: int) -> bytes:
    """The canonical file of kind "values", samples in the order given.

    Args:
        inputs: [n, input_size], -127..127. targets: [n, outputs], -32768..32767; 1..65535 outputs.
        train_count: 1..n; that many samples train, the rest are held out.

    Raises:
        CannotFreeze: a shape, type or value is outside these.
    """
    _check_inputs(inputs, train_count)
    if targets.ndim != 2 or len(targets) != len(inputs):
        raise CannotFreeze(f"targets must be [{len(inputs)}, outputs], not {targets.shape}")
    _check_integers("targets", targets)
    outputs = targets.shape[1]
    if not 1 <= outputs <= _MAX_OUTPUTS:
        raise CannotFreeze(f"a dataset has 1..{_MAX_OUTPUTS} target values, not {outputs}")
    _check_range("targets", targets, -32768, 32767)
    parts = [_int8(inputs), np.ascontiguousarray(targets.astype(">i2")).view(np.uint8)]
    return _file("values", train_count, inputs.shape[1], outputs, parts)


def freeze_bytes(windows: Integers, *, train_count: int) -> bytes:
    """The canonical file of kind "bytes", samples in the order given.

    Args:
        windows: [n, T+1], 0..255: byte t + 1 of a window is predicted from bytes 0..t; T >= 1.
        train_count: 1..n; that many windows train, the rest are held out.

    Raises:
        CannotFreeze: a shape, type or value is outside these.
    """
    _check_table("windows", windows, train_count)
    if windows.shape[1] < 2:
        raise CannotFreeze("a window needs two bytes: one to see and one to predict")
    _check_range("windows", windows, 0, BYTE_VALUES - 1)
    return _file("bytes", train_count, windows.shape[1], BYTE_VALUES, [windows.astype(np.uint8)])


def freeze_pairs(preferred: Integers, other: Integers, *, train_count: int) -> bytes:
    """The canonical file of kind "pairs", samples in the order given.

    Args:
        preferred, other: [n, input_size], -127..127: of two inputs, the one that is to be scored
            higher and the one that is not.
        train_count: 1..n; that many pairs train, the rest are held out.

    Raises:
        CannotFreeze: a shape, type or value is outside these.
    """
    for inputs in (preferred, other):
        _check_inputs(inputs, train_count)
    if preferred.shape != other.shape:
        raise CannotFreeze(
            f"both inputs of a pair have one shape, not {preferred.shape} and {other.shape}"
        )
    return _file("pairs", train_count, preferred.shape[1], 1, [_int8(preferred), _int8(other)])


def _file(
    kind: str, train_count: int, input_size: int, outputs: int, parts: list[npt.NDArray[np.uint8]]
) -> bytes:
    count = len(parts[0])
    header = DatasetHeader(kind, train_count, count - train_count, input_size, outputs)
    return encode_header(header) + np.concatenate(parts, axis=1).tobytes()


def _int8(inputs: Integers) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(inputs.astype(np.int8)).view(np.uint8)


def _be32(targets: Integers) -> npt.NDArray[np.uint8]:
    return targets.astype(">u4").reshape(len(targets), 1).view(np.uint8)


def _check_inputs(inputs: Integers, train_count: int) -> None:
    _check_table("inputs", inputs, train_count)
    _check_range("inputs", inputs, -127, 127)


def _check_table(name: str, table: Integers, train_count: int) -> None:
    if table.ndim != 2 or table.shape[1] < 1:
        raise CannotFreeze(f"{name} must be [n, size], not {table.shape}")
    _check_integers(name, table)
    if not 1 <= train_count <= len(table) <= _MAX_COUNT:
        raise CannotFreeze(f"{train_count} of {len(table)} samples can't train")


def _check_integers(name: str, array: Integers) -> None:
    if not np.issubdtype(array.dtype, np.integer):
        raise CannotFreeze(f"{name} must be integers, not {array.dtype}")


def _check_range(name: str, array: Integers, least: int, most: int) -> None:
    if array.min() < least or array.max() > most:
        raise CannotFreeze(f"{name} must be {least}..{most}, not {array.min()}..{array.max()}")
