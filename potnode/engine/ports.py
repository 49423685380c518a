"""What the trainer needs of an evaluator, and what an evaluator needs of a dataset.

The trainer treats a state as an opaque value of type `S`; tests supply evaluators of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from potnode.spec.dataset import DatasetHeader
from potnode.spec.record import Validation

S = TypeVar("S")


class Evaluator(Protocol[S]):
    """The arithmetic of one job. Methods change nothing and may be called from any thread."""

    def initial(self) -> S:
        """The state before the first step."""
        ...

    def batch(self, work: bytes, batch_size: int) -> npt.NDArray[np.int64]:
        """[batch_size] indices of the training samples of the step committed to by `work`."""
        ...

    def losses(self, state: S, hashes: Sequence[bytes], batch: npt.NDArray[np.int64]) -> list[int]:
        """Exact loss sum over `batch` of every share's candidate, in the order of `hashes`."""
        ...

    def advance(
        self, state: S, hashes: Sequence[bytes], losses: Sequence[int], step: int, step_limit: int
    ) -> tuple[S, list[int]]:
        """State after `step` and the coefficient -127..127 of every candidate."""
        ...

    def validate(self, state: S) -> Validation:
        """Loss sum and hits over all held-out samples, without perturbation."""
        ...

    def root(self, state: S) -> bytes:
        """State root, 32 bytes."""
        ...


class Samples(Protocol):
    """A dataset in memory: training samples first, then the held-out ones."""

    @property
    def header(self) -> DatasetHeader:
        """Counts and sizes."""
        ...

    @property
    def inputs(self) -> npt.NDArray[np.int8]:
        """[count, input_size] inputs, -127..127."""
        ...

    @property
    def targets(self) -> npt.NDArray[np.int32]:
        """[count] true classes."""
        ...
