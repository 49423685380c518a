"""IDX files made for tests."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}


def encode(array: npt.NDArray[Any]) -> bytes:
    """The bytes of an IDX file."""
    code = CODES[f"{array.dtype.kind}{array.dtype.itemsize}"]
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    big = array.astype(array.dtype.newbyteorder(">"))
    return bytes([0, 0, code, array.ndim]) + sizes + big.tobytes()


def write_mnist(folder: Path, prefix: str, count: int, seed: int = 0, suffix: str = ".gz") -> None:
    """Images and labels named as MNIST's, of 2 x 3 pixels."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 2, 3)).astype(np.uint8)
    labels = np.arange(count, dtype=np.uint8) % 10
    for name, array in (("images-idx3", images), ("labels-idx1", labels)):
        data = encode(array)
        packed = gzip.compress(data, mtime=0) if suffix else data
        (folder / f"{prefix}-{name}-ubyte{suffix}").write_bytes(packed)
