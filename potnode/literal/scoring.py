"""Losses of candidates for one layer, the others fixed.

Responsible for samples as the kernels want them, for the activations before the layer, which all
candidates share, and for how a finished net does on the held-out samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from potnode.data.dataset import Dataset
from potnode.literal import kernels
from potnode.literal.expansion import Expansion, Weights
from potnode.literal.kernels import LANES
from potnode.literal.nets import Net

_LARGEST = np.float32(127)


def starting_weights(net: Net) -> Weights:
    """All weights of a net before a search: each layer's are those of the seed that is its name,
    with nonce 0."""
    parts = [
        Expansion(layer.name).weights(0, 1, layer.weights, layer.fan_in)[0, : layer.weights]
        for layer in net.layers
    ]
    return np.concatenate(parts)


def batch_of_round(number: int, train_count: int, size: int) -> npt.NDArray[np.int64]:
    """Training samples a round is scored on, int64 [size], the same for every search.

    Words of sha256("literal batch" | be32(round) | be32(i)), modulo the number of samples.
    """
    head = b"literal batch" + number.to_bytes(4, "big")
    stream = b"".join(sha256(head + i.to_bytes(4, "big")).digest() for i in range(-(-size // 8)))
    return np.frombuffer(stream, ">u4")[:size].astype(np.int64) % train_count


@dataclass(frozen=True, slots=True)
class HeldOut:
    """How a net does on samples it was not chosen by. loss: mean, in nats. accuracy: 0 to 1."""

    loss: float
    accuracy: float


class Scorer:
    """Scores candidates for one layer on one batch. Safe to use from several threads."""

    def __init__(
        self,
        net: Net,
        fixed: Weights,
        layer: int,
        inputs: npt.NDArray[np.int8],
        targets: npt.NDArray[np.int32],
    ) -> None:
        """Compute what all candidates share.

        Args:
            fixed: float32, weights of all layers. layer: which is searched. inputs: int8 [batch,
            inputs of the net]. targets: [batch], classes.
        """
        self._net, self._fixed, self._layer, self._count = net, fixed, layer, len(inputs)
        blocks = -(-len(inputs) // LANES)
        self._targets = np.zeros((blocks, LANES), np.int64)
        self._targets.reshape(-1)[: len(targets)] = targets
        self._blocks = np.empty((blocks, net.layers[layer].inputs, LANES), np.float32)
        scratch = self._scratch()
        for block in range(blocks):
            part = _block(inputs[block * LANES : (block + 1) * LANES])
            before = kernels.forward(part, fixed, net.plan, 0, layer, scratch)
            self._blocks[block] = before[: net.layers[layer].inputs]

    def losses(self, weights: Weights) -> npt.NDArray[np.float64]:
        """Mean cross-entropy of each candidate, in nats: float64 [candidates].

        Args:
            weights: float32 [candidates, at least the layer's weights], C order.
        """
        found = np.empty(len(weights), np.float64)
        kernels.losses(
            self._blocks,
            self._targets,
            self._count,
            weights,
            self._layer,
            self._fixed,
            self._net.plan,
            self._net.classes,
            self._scratch(),
            found,
        )
        return found

    def _scratch(self) -> Weights:
        return np.empty((2, self._net.widest, LANES), np.float32)


def held_out(net: Net, weights: Weights, dataset: Dataset) -> HeldOut:
    """How a whole net does on the dataset's held-out samples; there is at least one."""
    train = dataset.header.train_count
    inputs, targets = dataset.inputs[train:], dataset.targets[train:]
    scratch = np.empty((2, net.widest, LANES), np.float32)
    loss, hits = 0.0, 0
    for first in range(0, len(inputs), LANES):
        part, wanted = inputs[first : first + LANES], targets[first : first + LANES]
        z = kernels.forward(_block(part), weights, net.plan, 0, len(net.layers), scratch)
        logits = z[: net.classes, : len(part)].astype(np.float64)
        most = logits.max(axis=0)
        rows = np.arange(len(part))
        normal = np.log(np.exp(logits - most).sum(axis=0)) + most
        loss += float((normal - logits[wanted, rows]).sum())
        hits += int((logits.argmax(axis=0) == wanted).sum())
    return HeldOut(loss / len(inputs), hits / len(inputs))


def _block(inputs: npt.NDArray[np.int8]) -> Weights:
    """Up to LANES samples side by side: float32 [inputs, LANES], 0 where there is no sample."""
    block = np.zeros((inputs.shape[1], LANES), np.float32)
    block[:, : len(inputs)] = inputs.T
    block /= _LARGEST
    return block
