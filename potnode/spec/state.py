"""The state of a model: integer masters and momenta of every tensor, and their root (section 6).

Also the initial masters a manifest's seed stands for (section 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from potnode.spec import tree
from potnode.spec.draw import TensorDraw, candidate_key, draw
from potnode.spec.hashing import be16, be32, sha256, signed32_le
from potnode.spec.manifest import Manifest
from potnode.spec.network import forward_weight
from potnode.spec.search import coefficients, gradient, rounded_shift, step_size, update

CHUNK = 128  # weights to a leaf; a tensor starts a new one
_GROUP = 12  # bytes summed for one draw: standard deviation 256 (12 * (256^2 - 1) / 12, its root)
_MEAN = 1530  # 12 * 127.5


@dataclass(frozen=True, slots=True)
class State:
    """Masters M (8 fractional bits, |M| <= 32512) and momenta m (int32): by tensor, flat by row."""

    masters: tuple[tuple[int, ...], ...]
    momenta: tuple[tuple[int, ...], ...]


def initial_state(manifest: Manifest) -> State:
    """State before the first step: masters from the seed, momenta 0."""
    masters = []
    for t, (shape, std) in enumerate(zip(manifest.tensors, manifest.std, strict=True)):
        count = prod(shape)
        masters.append(
            tuple(_initial_masters(manifest.seed, t, count, std)) if std else (0,) * count
        )
    return State(tuple(masters), tuple((0,) * len(m) for m in masters))


def _initial_masters(seed: bytes, tensor: int, count: int, std: int) -> list[int]:
    masters: list[int] = []
    block = 0
    while len(masters) < count:
        digest = sha256(b"potnode/1/init" + seed + be16(tensor) + be32(block))
        sums = [sum(digest[at : at + _GROUP]) - _MEAN for at in (0, _GROUP)]
        masters.extend(rounded_shift(s * std, 8) for s in sums)
        block += 1
    return masters[:count]


def state_leaves(state: State) -> list[bytes]:
    """Leaf hashes of every chunk of 128 weights, tensor by tensor, the last of each zero-padded."""
    leaves = []
    for masters, momenta in zip(state.masters, state.momenta, strict=True):
        for at in range(0, len(masters), CHUNK):
            chunk = list(masters[at : at + CHUNK])
            pad = [0] * (CHUNK - len(chunk))
            chunk_momenta = list(momenta[at : at + CHUNK])
            exact = b"".join(signed32_le(v) for v in chunk + pad + chunk_momenta + pad)
            forward = bytes(forward_weight(v) & 0xFF for v in chunk + pad)
            leaves.append(sha256(tree.LEAF_TAG + sha256(exact) + forward))
    return leaves


def state_root(state: State) -> bytes:
    """The root a record names after its step; rebuilding it is the proof of a rebuilt model."""
    return tree.root(state_leaves(state))


def step(
    manifest: Manifest,
    state: State,
    hashes: list[bytes],
    losses: list[int],
    *,
    number: int,
    step_limit: int,
) -> State:
    """The state after step `number`.

    Args:
        hashes: H of its shares, ascending, one candidate each. losses: theirs, u40 each.
        step_limit: steps of the job, which the step size's schedule runs over.
    """
    weights = coefficients(losses)
    draws: list[dict[int, TensorDraw]] = [draw(manifest, candidate_key(h, 0)) for h in hashes]
    eta = step_size(manifest, number, step_limit)
    masters, momenta = list(state.masters), list(state.momenta)
    for t in manifest.train:
        slopes = gradient(manifest.tensors[t], [d[t] for d in draws], weights)
        moved = [
            update(manifest.rule, big_m, m, g, eta)
            for big_m, m, g in zip(state.masters[t], state.momenta[t], slopes, strict=True)
        ]
        masters[t] = tuple(m for m, _ in moved)
        momenta[t] = tuple(m for _, m in moved)
    return State(tuple(masters), tuple(momenta))
