"""The evaluator of one job: `potnode.engine.ports.Evaluator` over numpy, numba and torch.

Deterministic, without side effects, and safe to call from any thread. A device is trusted only
after it has agreed with the specification on values at the edge of what it must hold.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from potnode.engine import state as states
from potnode.engine import update
from potnode.engine.draw import DrawLayout, Signs, batch_indices
from potnode.engine.errors import EngineError, InexactDevice
from potnode.engine.network import FusedNetwork, Network
from potnode.engine.ports import Samples
from potnode.engine.state import EngineState
from potnode.engine.torch_network import TorchNetwork
from potnode.engine.workers import Workers
from potnode.spec.draw import TensorDraw
from potnode.spec.loss import cross_entropy
from potnode.spec.manifest import Manifest, check_manifest
from potnode.spec.network import logits
from potnode.spec.record import Validation
from potnode.spec.search import coefficients, step_size

Batch = npt.NDArray[np.int64]


class Engine:
    """All the arithmetic of a job: losses, steps, validation, roots."""

    def __init__(
        self, manifest: Manifest, dataset: Samples, device: str = "cpu", threads: int | None = None
    ) -> None:
        """Prepare and test the device; the first time on a machine, compile for some seconds.

        Args:
            dataset: what `params.data_root` names; the caller has checked its root.
            device: "cpu", or a torch device such as "cuda" or "cuda:1".
            threads: CPU threads, at least 1; one a core by default.

        Raises:
            InvalidJob: the manifest breaks a rule. EngineError: model and dataset don't fit, or the
                device can't be used. InexactDevice: the device computes wrong numbers.
        """
        check_manifest(manifest)
        header = dataset.header
        if header.input_size != manifest.layers[0].inputs or header.classes > manifest.classes:
            raise EngineError(
                f"the model takes {manifest.layers[0].inputs} inputs and tells {manifest.classes} "
                f"classes apart, dataset {manifest.dataset!r} has {header.input_size} inputs and "
                f"{header.classes} classes"
            )
        if threads is not None and threads < 1:
            raise EngineError(f"threads must be at least 1, not {threads}")
        self.manifest = manifest
        self.device = device
        self._dataset = dataset
        self._layout = DrawLayout(manifest)
        self._workers = Workers(threads)
        self._network: Network = (
            FusedNetwork(manifest, self._layout, self._workers)
            if device == "cpu"
            else TorchNetwork(manifest, self._layout, device)
        )
        self._drawn: tuple[tuple[bytes, ...], Signs] = ((), self._layout.expand(()))
        self_test(manifest, self._layout, self._network)

    def initial(self) -> EngineState:
        """The state before the first step."""
        return states.initial(self.manifest)

    def root(self, state: EngineState) -> bytes:
        """State root, 32 bytes."""
        return states.root(state)

    def batch(self, work: bytes, batch_size: int) -> Batch:
        """int64 [batch_size] training samples of the step committed to by `work` (32 bytes)."""
        return batch_indices(work, self._dataset.header.train_count, batch_size)

    def losses(self, state: EngineState, hashes: Sequence[bytes], batch: Batch) -> list[int]:
        """Exact loss sum over `batch` of every share's candidate, in the order of `hashes`.

        Args:
            hashes: H of every share, 32 digest bytes. batch: indices of training samples.

        Raises:
            EngineError: a hash is not 32 bytes, or an index is not a training sample's.
        """
        train_count = self._dataset.header.train_count
        if batch.size and (batch.min() < 0 or batch.max() >= train_count):
            raise EngineError(f"a batch holds indices 0..{train_count - 1} only")
        sums, _ = self._network.evaluate(
            _forward(state),
            self._signs(hashes),
            self._dataset.inputs[batch],
            self._dataset.targets[batch],
        )
        return [int(v) for v in sums]

    def advance(
        self,
        state: EngineState,
        hashes: Sequence[bytes],
        losses: Sequence[int],
        step: int,
        step_limit: int,
    ) -> tuple[EngineState, list[int]]:
        """State after `step` (0..step_limit-1), and every candidate's coefficient -127..127.

        Raises:
            EngineError: there are no hashes, or not one loss for each.
        """
        if not hashes or len(hashes) != len(losses):
            raise EngineError(f"{len(hashes)} hashes with {len(losses)} losses make no step")
        factors = coefficients(losses)
        eta = step_size(self.manifest, step, step_limit)
        signs = self._signs(hashes)
        after = update.advance(
            self._workers, self.manifest, self._layout, state, signs, factors, eta
        )
        return after, factors

    def validate(self, state: EngineState) -> Validation:
        """Loss sum and hits over all held-out samples, without perturbation."""
        first = self._dataset.header.train_count
        loss, hits = self._network.evaluate(
            _forward(state),
            np.zeros((1, self._layout.width), np.int8),
            self._dataset.inputs[first:],
            self._dataset.targets[first:],
        )
        return Validation(int(loss[0]), int(hits[0]))

    def _signs(self, hashes: Sequence[bytes]) -> Signs:
        """The draws of these shares. A step asks for the same ones twice, so the last are kept."""
        key = tuple(hashes)
        known, signs = self._drawn
        if known != key:
            signs = self._layout.expand(key)
            self._drawn = (key, signs)
        return signs


def _forward(state: EngineState) -> list[npt.NDArray[np.int8]]:
    return [states.forward_weights(m) for m in state.masters]


def self_test(manifest: Manifest, layout: DrawLayout, network: Network) -> None:
    """Compare two candidates on two samples with the specification: largest values, and mixed ones.

    Raises:
        InexactDevice: a loss differs.
    """
    rng = np.random.default_rng(0)  # any values would do; these are the same every time
    signs = np.where(rng.random((2, layout.width)) < 0.5, -1, 1).astype(np.int8)
    signs[0] = 1
    untrained = [i for i in range(len(manifest.tensors)) if i not in manifest.train]
    for t in untrained:
        signs[:, layout.places[t].rows] = 0
        signs[:, layout.places[t].columns] = 0
    inputs = rng.integers(-127, 128, (2, manifest.layers[0].inputs)).astype(np.int8)
    inputs[0] = 127
    targets = np.array([0, manifest.classes - 1], np.int32)
    sizes = [int(np.prod(shape)) for shape in manifest.tensors]
    mixed = [rng.integers(-127, 128, size).astype(np.int8) for size in sizes]
    largest = [np.full(size, 127, np.int8) for size in sizes]
    for weights in (largest, mixed):
        sums, _ = network.evaluate(weights, signs, inputs, targets)
        plain = [w.tolist() for w in weights]
        for i in range(2):
            drawn = {
                t: TensorDraw(
                    signs[i, layout.places[t].rows].tolist(),
                    signs[i, layout.places[t].columns].tolist(),
                )
                for t in manifest.train
            }
            expected = sum(
                cross_entropy(logits(manifest, plain, x.tolist(), drawn), int(target))
                for x, target in zip(inputs, targets, strict=True)
            )
            if int(sums[i]) != expected:
                raise InexactDevice(
                    f"this device computed a loss of {int(sums[i])} where the specification says "
                    f"{expected}; nothing it computes may be recorded: use device = cpu"
                )
