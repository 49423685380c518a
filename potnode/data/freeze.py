"""Making canonical dataset files: arrays in, bytes out, the same bytes for the same arrays.

Responsible for the order as well: it follows from the number of samples alone, so that nobody
chooses which are held out and anybody can repeat it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from potnode.data.errors import CannotFreeze
from potnode.spec.dataset import DatasetHeader, encode_header

_MAX_COUNT = (1 << 32) - 1
_MAX_CLASSES = (1 << 16) - 1


def shuffled_order(count: int) -> npt.NDArray[np.int64]:
    """A fixed order of 0..count-1 that has nothing to do with the samples.

    It is `RandomState(0).permutation(count)`, the shuffle that `random_state=0` stands for in
    scikit-learn; NumPy promises that this generator's stream never changes (NEP 19). Source files
    are often sorted, by class or by who wrote a digit; cut as they stand, the held-out part would
    be of another kind than the training part.
    """
    return np.random.RandomState(0).permutation(count)


def freeze(
    inputs: npt.NDArray[np.integer],
    targets: npt.NDArray[np.integer],
    *,
    train_count: int,
    classes: int,
) -> bytes:
    """The canonical file of samples in the order given.

    Args:
        inputs: [n, input_size], -127..127. targets: [n], 0..classes-1.
        train_count: 1..n; that many samples train, the rest are held out. classes: 2..65535.

    Raises:
        CannotFreeze: a shape, type or value is outside these.
    """
    if inputs.ndim != 2 or targets.shape != inputs.shape[:1] or inputs.shape[1] < 1:
        raise CannotFreeze(
            f"inputs must be [n, size] and targets [n], not {inputs.shape} and {targets.shape}"
        )
    if not (np.issubdtype(inputs.dtype, np.integer) and np.issubdtype(targets.dtype, np.integer)):
        raise CannotFreeze(
            f"inputs and targets must be integers, not {inputs.dtype} and {targets.dtype}"
        )
    count = len(inputs)
    if not 1 <= train_count <= count <= _MAX_COUNT:
        raise CannotFreeze(f"{train_count} of {count} samples can't train")
    if not 2 <= classes <= _MAX_CLASSES:
        raise CannotFreeze(f"a dataset has 2..{_MAX_CLASSES} classes, not {classes}")
    if inputs.min() < -127 or inputs.max() > 127:
        raise CannotFreeze(f"inputs must be -127..127, not {inputs.min()}..{inputs.max()}")
    if targets.min() < 0 or targets.max() >= classes:
        raise CannotFreeze(
            f"targets must be 0..{classes - 1}, not {targets.min()}..{targets.max()}"
        )
    header = DatasetHeader(train_count, count - train_count, inputs.shape[1], classes)
    samples = np.concatenate(
        [
            inputs.astype(np.int8).view(np.uint8),
            targets.astype(">u4").reshape(count, 1).view(np.uint8),
        ],
        axis=1,
    )
    return encode_header(header) + samples.tobytes()
