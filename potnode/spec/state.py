"""The state of a model: integer masters and momenta of every tensor, and their root (section 6).

Also the initial masters a manifest's seed stands for (section 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from potnode.spec import tree
from potnode.spec.errors import InvalidJob
from potnode.spec.hashing import be16, be32, sha256, signed32_le
from potnode.spec.manifest import MASTER_LIMIT, Imported, Manifest, Weights
from potnode.spec.network import forward_weight
from potnode.spec.search import rounded_shift

CHUNK = 128  # weights to a leaf; a tensor starts a new one
_GROUP = 12  # bytes summed for one draw: standard deviation 256 (12 * (256^2 - 1) / 12, its root)
_MEAN = 1530  # 12 * 127.5


@dataclass(frozen=True, slots=True)
class State:
    """Masters M (8 fractional bits, |M| <= 32512) and momenta m (int32): by tensor, flat by row."""

    masters: tuple[tuple[int, ...], ...]
    momenta: tuple[tuple[int, ...], ...]


def initial_state(manifest: Manifest, imported: bytes | None = None) -> State:
    """State before the first step: masters from seed or file, momenta 0.

    Args:
        imported: the file that a manifest with imported weights names.

    Raises:
        InvalidJob: the file is missing, is another, or has too few, too many or too large masters.
    """
    initial = manifest.initial
    if isinstance(initial, Imported):
        masters = _imported_masters(manifest, initial, imported)
    else:
        masters = [
            tuple(_initial_masters(initial.seed, t, prod(shape), std, mean))
            for t, (shape, std, mean) in enumerate(
                zip(manifest.tensors, initial.std, initial.mean, strict=True)
            )
        ]
    return State(tuple(masters), tuple((0,) * len(m) for m in masters))


def check_imported(manifest: Manifest, imported: bytes | None) -> bytes:
    """The file of a manifest's imported masters, le32, tensor by tensor, after looking at it.

    Raises:
        InvalidJob: it is missing, is another file, or doesn't have the model's length.
    """
    initial = manifest.initial
    if not isinstance(initial, Imported):
        raise InvalidJob("the model's weights come from a seed, not from a file")
    if imported is None or sha256(imported) != initial.sha256:
        raise InvalidJob(f"the initial weights are in the file with SHA-256 {initial.sha256.hex()}")
    if len(imported) != 4 * manifest.parameters:
        raise InvalidJob(
            f"a file of initial weights for this model has {4 * manifest.parameters} bytes, "
            f"not {len(imported)}"
        )
    return imported


def _imported_masters(
    manifest: Manifest, initial: Imported, imported: bytes | None
) -> list[tuple[int, ...]]:
    data = check_imported(manifest, imported)
    values = [
        int.from_bytes(data[at : at + 4], "little", signed=True) for at in range(0, len(data), 4)
    ]
    if any(abs(v) > MASTER_LIMIT for v in values):
        raise InvalidJob(f"initial weights {initial.sha256.hex()} go beyond {MASTER_LIMIT}")
    masters, at = [], 0
    for shape in manifest.tensors:
        masters.append(tuple(values[at : at + prod(shape)]))
        at += prod(shape)
    return masters


def _initial_masters(seed: bytes, tensor: int, count: int, std: int, mean: int) -> list[int]:
    masters: list[int] = []
    block = 0
    while len(masters) < count:
        digest = sha256(b"potnode/1/init" + seed + be16(tensor) + be32(block))
        sums = [sum(digest[at : at + _GROUP]) - _MEAN for at in (0, _GROUP)]
        masters.extend(mean + rounded_shift(s * std, 8) for s in sums)
        block += 1
    return masters[:count]


def state_leaves(state: State, weights: Weights) -> list[bytes]:
    """Leaf hashes of every chunk of 128 weights, tensor by tensor, the last of each zero-padded."""
    leaves = []
    for masters, momenta in zip(state.masters, state.momenta, strict=True):
        for at in range(0, len(masters), CHUNK):
            chunk = list(masters[at : at + CHUNK])
            pad = [0] * (CHUNK - len(chunk))
            chunk_momenta = list(momenta[at : at + CHUNK])
            exact = b"".join(signed32_le(v) for v in chunk + pad + chunk_momenta + pad)
            forward = bytes(forward_weight(v, weights) & 0xFF for v in chunk + pad)
            leaves.append(sha256(tree.LEAF_TAG + sha256(exact) + forward))
    return leaves


def state_root(state: State, weights: Weights) -> bytes:
    """The root a record names after its step; rebuilding it is the proof of a rebuilt model."""
    return tree.root(state_leaves(state, weights))
