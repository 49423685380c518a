"""What the layers below the first trained one make of a dataset: computed once, then looked up.

Their weights never change in a job. A sample's values are computed when they are first asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock

import numpy as np
import numpy.typing as npt

from potnode.engine.network import FusedNetwork

Inputs = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int8]]

_BYTES = 1 << 30  # a dataset with more than that is computed batch by batch


class Features:
    """Values of samples below the first trained layer. Safe to use from several threads."""

    def __init__(self, network: FusedNetwork, inputs: Inputs, below: int) -> None:
        """inputs: rows of samples by their indices. below: tensors of those layers."""
        self._network = network
        self._inputs = inputs
        self._below = below
        self._lock = Lock()
        self._weights: list[npt.NDArray[np.int8]] = []
        self._values = np.zeros((0, 0), np.int8)
        self._known = np.zeros(0, np.bool_)

    def rows(
        self, weights: Sequence[npt.NDArray[np.int8]], samples: npt.NDArray[np.int64], count: int
    ) -> npt.NDArray[np.int8]:
        """[len(samples), ...] values of samples, all indices below `count`."""
        with self._lock:
            mine = list(weights[: self._below])
            same = len(self._weights) == len(mine) and all(
                np.array_equal(a, b) for a, b in zip(self._weights, mine, strict=True)
            )
            if not same:
                self._weights, self._known = mine, np.zeros(0, np.bool_)
                self._values = np.zeros((0, 0), np.int8)
            if len(self._known) < count:
                self._known = np.pad(self._known, (0, count - len(self._known)))
            missing = np.unique(samples)
            missing = missing[~self._known[missing]]
            if len(missing):
                fresh = self._network.below(weights, self._inputs(missing))
                if fresh.shape[1] * count > _BYTES:
                    return self._network.below(weights, self._inputs(samples))
                if len(self._values) < count:
                    values = np.zeros((count, fresh.shape[1]), np.int8)
                    values[: len(self._values)] = self._values.reshape(-1, fresh.shape[1])
                    self._values = values
                self._values[missing] = fresh
                self._known[missing] = True
            return self._values[samples]
