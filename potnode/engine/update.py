"""What a step's losses do to the weights: gradient by matrix product, update rules on arrays.

The rules are those of `potnode.spec.search`; coefficients and step size are taken from there, being
a few exact integers a step.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from potnode.engine import kernels
from potnode.engine.draw import DrawLayout, Signs
from potnode.engine.state import EngineState
from potnode.engine.workers import Workers
from potnode.spec.manifest import Manifest
from potnode.spec.search import MASTER_LIMIT

Int64s = npt.NDArray[np.int64]


def gradient(
    workers: Workers,
    layout: DrawLayout,
    tensor: int,
    signs: Signs,
    coefficients: Sequence[int],
) -> Int64s:
    """G of one trained tensor, flat: sum of c a bT (c a for a bias); |G| <= 127 P < 2^17.

    float32 carries it exactly: every partial sum is an integer below 2^24.
    """
    place = layout.places[tensor]
    weighted = signs[:, place.rows].T * np.array(coefficients, np.float32)
    if place.columns == slice(0):
        total: npt.NDArray[np.float32] = weighted.sum(axis=1)
    else:
        columns = signs[:, place.columns]
        total = kernels.unblocked(
            workers.product(weighted, kernels.blocked(columns, np.float32)), columns.shape[1]
        )
    return total.reshape(-1).astype(np.int64)


def rounded_shift(values: Int64s, bits: int) -> Int64s:
    """values / 2^bits, rounded to the nearest integer, ties upwards."""
    return (values + (1 << (bits - 1))) >> bits


def update(
    rule: str, master: Int64s, momentum: Int64s, slope: Int64s, eta: int
) -> tuple[Int64s, Int64s]:
    """New (M, m) of many weights; all int64, where |m * eta| < 2^40."""
    if rule == "momentum":
        momentum = momentum - rounded_shift(momentum, 3) + (slope << 4)
        master = master + rounded_shift(momentum * eta, 12)
    else:
        direction = np.sign(9 * momentum + (slope << 4))
        momentum = momentum - rounded_shift(momentum, 5) + (slope << 1)
        master = master + eta * direction
    return np.clip(master, -MASTER_LIMIT, MASTER_LIMIT), momentum


def advance(
    workers: Workers,
    manifest: Manifest,
    layout: DrawLayout,
    state: EngineState,
    signs: Signs,
    coefficients: Sequence[int],
    eta: int,
) -> EngineState:
    """The state after a step with these candidates; tensors outside `train` keep their arrays."""
    masters, momenta = list(state.masters), list(state.momenta)
    for t in manifest.train:
        master, momentum = update(
            manifest.rule,
            masters[t].astype(np.int64),
            momenta[t].astype(np.int64),
            gradient(workers, layout, t, signs, coefficients),
            eta,
        )
        masters[t], momenta[t] = master.astype(np.int32), momentum.astype(np.int32)
    return EngineState(tuple(masters), tuple(momenta))
