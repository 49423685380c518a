"""Where a tensor's weights go among those that the kernels read."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from potnode.engine.arena import Ints
from potnode.engine.inputs import is_straight


class Part:
    """A tensor's place among the weights: rows of a matrix from a column on, or a flat vector."""

    def __init__(self, tensor: int, at: int, rows: int, pitch: int, columns: Ints) -> None:
        """at: of its first weight. columns: the tensor's column at each of a row's, -1 for none."""
        self.tensor, self.at, self.rows, self.pitch = tensor, at, rows, pitch
        self.straight = is_straight(columns)
        self.columns = columns[columns >= 0] if self.straight else columns

    def fill(self, packed: npt.NDArray[np.int8], weights: npt.NDArray[np.int8]) -> None:
        """Copy the tensor's weights to where they belong."""
        matrix = weights.reshape(self.rows, -1)
        place = np.lib.stride_tricks.as_strided(
            packed[self.at :], (self.rows, self.columns.size), (self.pitch, 1)
        )
        if self.straight:
            place[:] = matrix[:, : self.columns.size]
        else:
            place[:] = np.where(self.columns >= 0, matrix[:, self.columns], 0)
