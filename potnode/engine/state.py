"""The state of a model as numpy arrays: masters, momenta, their bytes and their root.

The same state as `potnode.spec.state.State`; see there for what the numbers mean. The byte form is
for checkpoints on this node's disk and is not part of the protocol.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from math import prod

import numpy as np
import numpy.typing as npt

from potnode.engine.errors import BadState
from potnode.engine.kernels.gradients import forward
from potnode.spec import tree
from potnode.spec.hashing import be16, be32
from potnode.spec.manifest import MASTER_LIMIT, Imported, Manifest, Weights
from potnode.spec.network import MASTER_BITS
from potnode.spec.state import CHUNK, State, check_imported

_GROUP, _GROUPS, _MEAN = 12, 2, 1530  # bytes summed for one initial weight, and twice in a digest
_LE32 = np.dtype("<i4")


@dataclass(frozen=True, slots=True, eq=False)
class EngineState:
    """Masters M (|M| <= 32512) and momenta m: a read-only flat int32 array for each tensor."""

    masters: tuple[npt.NDArray[np.int32], ...]
    momenta: tuple[npt.NDArray[np.int32], ...]

    def __post_init__(self) -> None:
        """Make every array read-only: a state is a value."""
        for array in (*self.masters, *self.momenta):
            array.setflags(write=False)

    def __eq__(self, other: object) -> bool:
        """Whether every master and momentum is the same."""
        return isinstance(other, EngineState) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        """Hash of the state's bytes."""
        return hash(self.to_bytes())

    def to_bytes(self) -> bytes:
        """All masters, then all momenta, tensor by tensor, le32 each."""
        return b"".join(a.astype(_LE32).tobytes() for a in (*self.masters, *self.momenta))

    def to_spec(self) -> State:
        """The same state for the specification."""
        return State(
            tuple(tuple(a.tolist()) for a in self.masters),
            tuple(tuple(a.tolist()) for a in self.momenta),
        )


def from_bytes(manifest: Manifest, data: bytes) -> EngineState:
    """Inverse of `EngineState.to_bytes` for the manifest's tensors.

    Raises:
        BadState: the length is not the model's, or a master is out of range.
    """
    sizes = [prod(shape) for shape in manifest.tensors]
    if len(data) != 8 * sum(sizes):
        raise BadState(
            f"a state of this model has {8 * sum(sizes)} bytes, not {len(data)}: "
            "take the checkpoint of the same job"
        )
    flat = np.frombuffer(data, dtype=_LE32).astype(np.int32)
    arrays = np.split(flat, np.cumsum(sizes + sizes)[:-1])
    state = EngineState(tuple(arrays[: len(sizes)]), tuple(arrays[len(sizes) :]))
    for t, masters in enumerate(state.masters):
        if np.any(np.abs(masters.astype(np.int64)) > MASTER_LIMIT):
            raise BadState(f"tensor {t} has a master beyond {MASTER_LIMIT}: the bytes are damaged")
    return state


def from_spec(state: State) -> EngineState:
    """The specification's state as arrays."""
    return EngineState(
        tuple(np.array(m, dtype=np.int32) for m in state.masters),
        tuple(np.array(m, dtype=np.int32) for m in state.momenta),
    )


def initial(manifest: Manifest, imported: bytes | None = None) -> EngineState:
    """State before the first step: masters from the manifest's seed or file, momenta 0.

    Args:
        imported: the file that a manifest with imported weights names.

    Raises:
        InvalidJob: the file is missing or another. BadState: it holds a master out of range.
    """
    start = manifest.initial
    if isinstance(start, Imported):
        data = check_imported(manifest, imported)
        return from_bytes(manifest, data + bytes(len(data)))
    masters = []
    for t, shape in enumerate(manifest.tensors):
        count, std, mean = prod(shape), start.std[t], start.mean[t]
        if std == 0:
            masters.append(np.full(count, mean, np.int32))
            continue
        prefix = b"potnode/1/init" + start.seed + be16(t)
        digests = b"".join(
            sha256(prefix + be32(block)).digest() for block in range(-(-count // _GROUPS))
        )
        blocks = np.frombuffer(digests, np.uint8).reshape(-1, 32)[:, : _GROUPS * _GROUP]
        sums = blocks.reshape(-1, _GROUP).sum(axis=1, dtype=np.int64)[:count]
        masters.append((mean + (((sums - _MEAN) * std + 128) >> 8)).astype(np.int32))
    return EngineState(tuple(masters), tuple(np.zeros_like(m) for m in masters))


def forward_weights(masters: npt.NDArray[np.int32], weights: Weights) -> npt.NDArray[np.int8]:
    """W of masters of any shape: rounded to a level, in weight steps, -127..127."""
    flat = np.ascontiguousarray(masters).reshape(-1)
    out = np.empty(flat.size, np.int8)
    forward(flat, weights.shift, weights.levels, weights.shift - MASTER_BITS, out)
    return out.reshape(masters.shape)


def root(state: EngineState, weights: Weights) -> bytes:
    """State root, as `potnode.spec.state.state_root` of the same state."""
    return tree.root(list(_leaves(state, weights)))


def _leaves(state: EngineState, weights: Weights) -> Iterable[bytes]:
    for masters, momenta in zip(state.masters, state.momenta, strict=True):
        chunks = -(-masters.size // CHUNK)
        exact = np.zeros((chunks, 2, CHUNK), _LE32)  # M[128] then m[128], zero-padded
        for side, values in enumerate((masters, momenta)):
            padded = np.zeros(chunks * CHUNK, _LE32)
            padded[: values.size] = values
            exact[:, side] = padded.reshape(chunks, CHUNK)
        exact_bytes = memoryview(exact.tobytes())
        forward = memoryview(forward_weights(exact[:, 0], weights).tobytes())
        size = 8 * CHUNK
        for i in range(chunks):
            inner = sha256(exact_bytes[i * size : (i + 1) * size]).digest()
            yield sha256(tree.LEAF_TAG + inner + forward[i * CHUNK : (i + 1) * CHUNK]).digest()
