"""The candidates of one step, and what each of them does to the weights."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from potnode.engine.state import EngineState, forward_weights
from potnode.search.errors import SearchError
from potnode.spec.draw import draw
from potnode.spec.manifest import Manifest, names
from potnode.spec.schedule import StepTerms

Arrays = dict[str, npt.NDArray[np.int32]]


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """What `Search.ask` gives: a step's candidates, all around the same weights.

    terms: the step's number, population, batch size, perturbation and step size. keys: 32 bytes a
    candidate, which stand for all of it. batch: int64 [B] indices of the training samples, drawn
    with replacement, that the search itself would evaluate on.
    """

    terms: StepTerms
    keys: tuple[bytes, ...] = field(repr=False)
    batch: npt.NDArray[np.int64] = field(repr=False)
    manifest: Manifest = field(repr=False)
    state: EngineState = field(repr=False)

    def __len__(self) -> int:
        """Number of candidates."""
        return len(self.keys)

    def center(self) -> Arrays:
        """The unperturbed weights by tensor name: int32 in the tensor's shape, -127..127."""
        model = self.manifest
        return {
            name: forward_weights(master, model.weights).astype(np.int32).reshape(shape)
            for name, shape, master in zip(
                names(model), model.tensors, self.state.masters, strict=True
            )
        }

    def weights(self, index: int) -> Arrays:
        """Weights of one candidate by tensor name: int32 in the tensor's shape, -191..191.

        They are the centre plus or minus 2^e (`terms.shift`) in every entry of a trained tensor.
        As in the exact network they are not clipped, but for an embedding's rows, which are.

        Args:
            index: 0..len-1.

        Raises:
            SearchError: there is no such candidate.
        """
        if not 0 <= index < len(self.keys):
            raise SearchError(f"there is no candidate {index}: there are {len(self.keys)}")
        weights = self.center()
        by_name = list(weights)
        for t, drawn in draw(self.manifest, self.keys[index]).items():
            signs = np.array(drawn.rows, np.int32)
            if drawn.columns:
                signs = np.outer(signs, np.array(drawn.columns, np.int32))
            weights[by_name[t]] = weights[by_name[t]] + (signs << self.terms.shift)
        return weights
