"""What a step's losses do to the weights, by the kernels of `potnode.engine.kernels.gradients`.

The rules are those of `potnode.spec.search` and `potnode.spec.step`; coefficients are computed
there, being a few exact integers a step.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from potnode.engine.draw import DrawLayout, Signs, TensorPlace
from potnode.engine.kernels.flavours import OFFSET
from potnode.engine.kernels.gradients import (
    matrix_gradient,
    update_matrix,
    update_vector,
    vector_gradient,
)
from potnode.engine.kernels.vectors import LANES, QUAD
from potnode.engine.memory import aligned
from potnode.engine.plan import DOT_TIME
from potnode.engine.state import EngineState
from potnode.engine.workers import Workers
from potnode.spec.manifest import MASTER_LIMIT, Evolution, Manifest
from potnode.spec.network import MASTER_BITS

Ints = npt.NDArray[np.int32]


def evolved(
    workers: Workers,
    manifest: Manifest,
    strategy: Evolution,
    layout: DrawLayout,
    state: EngineState,
    signs: Signs,
    coefficients: Sequence[int],
    eta: int,
) -> EngineState:
    """The state after a step with these candidates; tensors outside `train` keep their arrays.

    Args:
        signs: as `DrawLayout.expand` gives them. coefficients: -127..127, one a candidate.
    """
    missing = -len(signs) % 4  # candidates that fill up a quad count nothing
    signs = np.pad(signs, ((0, missing), (0, 0)))
    factors = np.array([*coefficients, *[0] * missing], np.int32)
    momentum = strategy.rule == "momentum"
    masters, momenta = list(state.masters), list(state.momenta)
    for t in manifest.train:
        master, moved = masters[t].copy(), momenta[t].copy()
        place = layout.places[t]
        if len(manifest.tensors[t]) == 1:
            slopes = np.zeros(master.size, np.int32)
            vector_gradient(signs.reshape(-1), layout.width, place.rows.start, factors, slopes)
            update_vector(momentum, master, moved, slopes, eta)
        else:
            _update_matrix(workers, place, signs, factors, (master, moved), momentum, eta)
        masters[t], momenta[t] = master, moved
    return EngineState(tuple(masters), tuple(momenta))


def _update_matrix(
    workers: Workers,
    place: TensorPlace,
    signs: Signs,
    factors: Ints,
    values: tuple[Ints, Ints],
    momentum: bool,
    eta: int,
) -> None:
    """Masters and momenta of one matrix in place; `values` are both, flat.

    Only as much of the gradient as a thread's part exists at a time.
    """
    count = place.columns.stop - place.columns.start
    rows = place.rows.stop - place.rows.start
    padded = -(-rows // 4) * 4
    weighted = np.zeros((padded, len(signs)), np.int8)
    weighted[:rows] = signs[:, place.rows].T * factors.astype(np.int8)
    starts = (-OFFSET * weighted.sum(axis=1, dtype=np.int64)).astype(np.int32)

    def part(first: int, last: int) -> None:
        x = aligned(len(signs) // 4 * QUAD, np.uint8)
        offsets = np.empty(len(signs) // 4, np.int32)
        slopes = aligned(padded * LANES, np.int32)
        for block in range(first, last):
            matrix_gradient(
                signs.reshape(-1),
                signs.shape[1],
                padded,
                place.columns.start + block * LANES,
                min(LANES, count - block * LANES),
                weighted.reshape(-1),
                starts,
                x,
                offsets,
                slopes,
            )
            update_matrix(momentum, *values, count, block, slopes, eta)

    each = DOT_TIME * 4 * padded * len(signs) / 4
    workers.share(part, -(-count // LANES), 1, each=each)


def moved_by(
    manifest: Manifest, layout: DrawLayout, state: EngineState, signs: Signs, shift: int
) -> EngineState:
    """Every trained master moved by one candidate's perturbation; momenta stay.

    Args:
        signs: [width], the candidate's. shift: e.
    """
    masters = list(state.masters)
    for t in manifest.train:
        place = layout.places[t]
        a = signs[place.rows].astype(np.int32)
        if len(manifest.tensors[t]) == 2:
            a = np.outer(a, signs[place.columns].astype(np.int32)).reshape(-1)
        moved = masters[t] + (a << (MASTER_BITS + shift))
        masters[t] = moved.clip(-MASTER_LIMIT, MASTER_LIMIT).astype(np.int32)
    return EngineState(tuple(masters), state.momenta)
