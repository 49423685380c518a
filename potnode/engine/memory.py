"""Arrays that begin where a vector register's loads are fast."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_ALIGNMENT = 64  # bytes of the longest vector register, and of a cache line


def aligned(size: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An array of `size` elements whose first byte's address is a multiple of 64; not cleared."""
    kind = np.dtype(dtype)
    room = np.empty(size * kind.itemsize + _ALIGNMENT, np.uint8)
    skip = -room.ctypes.data % _ALIGNMENT
    return room[skip : skip + size * kind.itemsize].view(kind)
