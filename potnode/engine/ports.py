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
from potnode.spec.schedule import StepTerms

S = TypeVar("S")


class Evaluator(Protocol[S]):
    """The arithmetic of one job. Methods change nothing and may be called from any thread.

    Candidates go by their keys K, 32 bytes each (`potnode.spec.draw.candidate_key`), in the order
    of their shares' hashes and, within a share, of their index; losses and coefficients are in the
    same order. What changes from step to step is in the step's terms.
    """

    def initial(self) -> S:
        """The state before the first step."""
        ...

    def batch(self, work: bytes, batch_size: int, feedback: int = 0) -> npt.NDArray[np.int64]:
        """[batch_size] indices of the training samples of the step committed to by `work`.

        Args:
            feedback: how many pairs of feedback count as training samples, too.
        """
        ...

    def losses(
        self,
        state: S,
        keys: Sequence[bytes],
        batch: npt.NDArray[np.int64],
        terms: StepTerms,
    ) -> list[int]:
        """Exact loss sum over `batch` of every candidate, on the state before the step."""
        ...

    def advance(
        self,
        state: S,
        keys: Sequence[bytes],
        losses: Sequence[int],
        work: bytes,
        terms: StepTerms,
        feedback: int = 0,
    ) -> tuple[S, list[int]]:
        """State after the step and the coefficient -127..127 of every candidate.

        Args:
            losses: what `losses` gave for these keys. work: the step's commitment, 32 bytes, which
                also draws what a strategy looks at beyond the batch. feedback: as for `batch`.
        """
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
