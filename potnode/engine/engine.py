"""The evaluator of one job: `potnode.engine.ports.Evaluator` over numpy, numba and torch.

Deterministic, and safe to call from any thread. A machine is trusted only after it has agreed with
the specification on values at the edge of what it must hold: losses, draws and steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from potnode.engine import state as states
from potnode.engine import update
from potnode.engine.draw import DrawLayout, Signs, batch_indices
from potnode.engine.errors import EngineError
from potnode.engine.features import Features
from potnode.engine.network import FusedNetwork, Network
from potnode.engine.ports import Samples
from potnode.engine.selftest import check_draws, check_steps, self_test, test_manifest
from potnode.engine.state import EngineState
from potnode.engine.workers import Workers
from potnode.spec.manifest import (
    DATASET_KINDS,
    Greedy,
    Manifest,
    NextByte,
    Pairs,
    check_manifest,
)
from potnode.spec.record import Validation
from potnode.spec.schedule import StepTerms
from potnode.spec.search import BATCH, CHECK, best, coefficients, is_better
from potnode.spec.vectors.models import example_manifests

Batch = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.int8]

_HELD_OUT = 4096  # samples that are validated at once


@dataclass(frozen=True, slots=True)
class _Batch:
    """What candidates of a state are evaluated with on a batch."""

    state: EngineState
    indices: bytes
    weights: list[Bytes]
    inputs: Bytes  # of the first trained layer, on the CPU
    targets: npt.NDArray[np.int32]


class Engine:
    """All the arithmetic of a job: losses, steps, validation, roots."""

    def __init__(
        self,
        manifest: Manifest,
        dataset: Samples,
        device: str = "cpu",
        threads: int | None = None,
        imported: bytes | None = None,
    ) -> None:
        """Prepare and test the device; the first time on a machine, compile for some seconds.

        Args:
            dataset: what `params.data_root` names; the caller has checked its root.
            device: "cpu"; or a device of torch such as "cuda", "cuda:1" or "torch:cpu".
            threads: CPU threads, at least 1; one a core by default.
            imported: the file of the initial weights, if the manifest names one.

        Raises:
            InvalidJob: the manifest breaks a rule. EngineError: model and dataset don't fit, or the
                device can't be used. InexactDevice: the device computes wrong numbers.
        """
        check_manifest(manifest)
        check_fit(manifest, dataset)
        if threads is not None and threads < 1:
            raise EngineError(f"threads must be at least 1, not {threads}")
        self.manifest = manifest
        self.device = device
        self._dataset = dataset
        self._imported = imported
        self._layout = DrawLayout(manifest)
        self._workers = Workers(threads)
        self._network = _opened(manifest, self._layout, self._workers, device)
        self._features = None
        if isinstance(self._network, FusedNetwork) and self._network.has_below:
            self._features = Features(self._network, self._rows, manifest.train[0])
        self._feedback = np.zeros((0, dataset.inputs.shape[1]), np.int8)
        self._drawn: tuple[tuple[bytes, ...], Signs] = ((), self._layout.expand(()))
        self._batch: _Batch | None = None
        check_steps(manifest.weights, self._workers)
        _test(manifest, self._layout, self._workers, device)

    def initial(self) -> EngineState:
        """The state before the first step.

        Raises:
            InvalidJob, BadState: the manifest names a file of weights, and this is not it.
        """
        return states.initial(self.manifest, self._imported)

    def root(self, state: EngineState) -> bytes:
        """State root, 32 bytes."""
        return states.root(state, self.manifest.weights)

    @property
    def feedback(self) -> int:
        """Pairs that were added to those of the dataset."""
        return len(self._feedback)

    def add_feedback(self, inputs: Bytes) -> None:
        """Append preferences, between steps.

        Args:
            inputs: [n, 2 * input_size], the preferred input first, -127..127.

        Raises:
            EngineError: the task is another, or the inputs have another shape.
        """
        if not isinstance(self.manifest.task, Pairs):
            raise EngineError("only a model of preferences, task pairs, takes feedback")
        if inputs.ndim != 2 or inputs.shape[1] != self._feedback.shape[1]:
            raise EngineError(
                f"a pair is {self._feedback.shape[1]} values, not an array of {inputs.shape}"
            )
        self._feedback = np.concatenate([self._feedback, inputs.astype(np.int8)])

    def batch(self, work: bytes, batch_size: int, feedback: int = 0) -> Batch:
        """int64 [batch_size] training samples of the step committed to by `work` (32 bytes).

        Args:
            feedback: pairs added that are drawn from as well; their indices follow the dataset's.
        """
        return self._sampled(work, batch_size, feedback, BATCH)

    def losses(
        self, state: EngineState, keys: Sequence[bytes], batch: Batch, terms: StepTerms
    ) -> list[int]:
        """Exact loss sum over `batch` of every candidate, in the order of `keys`.

        Args:
            keys: K_j, 32 bytes each. batch: indices of training samples and of feedback.

        Raises:
            EngineError: a key is not 32 bytes, or an index is not a training sample's.
        """
        return self._losses(state, self._signs(keys), batch, terms.shift)

    def advance(
        self,
        state: EngineState,
        keys: Sequence[bytes],
        losses: Sequence[int],
        work: bytes,
        terms: StepTerms,
        feedback: int = 0,
    ) -> tuple[EngineState, list[int]]:
        """State after the step, and every candidate's coefficient -127..127.

        Args:
            work: 32 bytes. feedback: as for `batch`.

        Raises:
            EngineError: there are no keys, or not one loss for each.
        """
        if not keys or len(keys) != len(losses):
            raise EngineError(f"{len(keys)} keys with {len(losses)} losses make no step")
        signs = self._signs(keys)
        strategy = self.manifest.strategy
        if isinstance(strategy, Greedy):
            return self._greedy(state, signs, losses, work, terms, feedback)
        factors = coefficients(losses)
        after = update.evolved(
            self._workers, self.manifest, strategy, self._layout, state, signs, factors, terms.eta
        )
        return after, factors

    def validate(self, state: EngineState) -> Validation:
        """Loss sum and hits over all held-out samples, without perturbation."""
        header = self._dataset.header
        signs = np.zeros((1, self._layout.width), np.int8)
        weights = self._forward(state)
        loss = hits = 0
        for first in range(header.train_count, header.count, _HELD_OUT):
            samples = np.arange(first, min(first + _HELD_OUT, header.count))
            sums = self._evaluated(
                weights, signs, self._inputs(weights, samples), self._targets(samples), 0
            )
            loss += int(sums[0][0])
            hits += int(sums[1][0])
        return Validation(loss, hits)

    def _greedy(
        self,
        state: EngineState,
        signs: Signs,
        losses: Sequence[int],
        work: bytes,
        terms: StepTerms,
        feedback: int,
    ) -> tuple[EngineState, list[int]]:
        strategy = self.manifest.strategy
        margin = strategy.margin if isinstance(strategy, Greedy) else 0
        chosen = best(losses)
        two = np.stack([np.zeros_like(signs[chosen]), signs[chosen]])
        batch, check = (
            self._sampled(work, terms.batch_size, feedback, purpose) for purpose in (BATCH, CHECK)
        )
        [base] = self._losses(state, two[:1], batch, terms.shift)
        accepted = is_better(losses[chosen], base, margin)
        if accepted:
            base, again = self._losses(state, two, check, terms.shift)
            accepted = is_better(again, base, margin)
        factors = [int(accepted and i == chosen) for i in range(len(losses))]
        if not accepted:
            return state, factors
        after = update.moved_by(self.manifest, self._layout, state, signs[chosen], terms.shift)
        return after, factors

    def _losses(self, state: EngineState, signs: Signs, batch: Batch, shift: int) -> list[int]:
        header = self._dataset.header
        outside = (batch < 0) | (batch >= header.count + self.feedback)
        if (outside | ((batch >= header.train_count) & (batch < header.count))).any():
            raise EngineError(
                f"a batch holds indices 0..{header.train_count - 1} only, and of feedback"
            )
        known = self._batch
        indices = batch.tobytes()
        if known is None or known.state is not state or known.indices != indices:
            weights = self._forward(state)
            known = _Batch(
                state, indices, weights, self._inputs(weights, batch), self._targets(batch)
            )
            self._batch = known
        sums, _ = self._evaluated(known.weights, signs, known.inputs, known.targets, shift)
        return [int(v) for v in sums.tolist()]

    def _evaluated(
        self,
        weights: list[Bytes],
        signs: Signs,
        inputs: Bytes,
        targets: npt.NDArray[np.int32],
        shift: int,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        network = self._network
        if isinstance(network, FusedNetwork):
            return network.evaluate_above(weights, signs, inputs, targets, shift)
        return network.evaluate(weights, signs, inputs, targets, shift)

    def _sampled(self, work: bytes, batch_size: int, feedback: int, purpose: bytes) -> Batch:
        header = self._dataset.header
        drawn = batch_indices(work, header.train_count + feedback, batch_size, purpose)
        return np.where(drawn < header.train_count, drawn, drawn + header.held_out_count)

    def _rows(self, samples: Batch) -> Bytes:
        """Inputs of samples, of feedback after those of the dataset."""
        count = self._dataset.header.count
        if not len(samples) or samples.max() < count:
            return self._dataset.inputs[samples]
        rows = self._feedback[np.maximum(samples - count, 0)]
        own = samples < count
        rows[own] = self._dataset.inputs[samples[own]]
        return rows

    def _inputs(self, weights: list[Bytes], samples: Batch) -> Bytes:
        if self._features is None:
            return self._rows(samples)
        count = self._dataset.header.count + self.feedback
        return self._features.rows(weights, samples, count)

    def _targets(self, samples: Batch) -> npt.NDArray[np.int32]:
        if isinstance(self.manifest.task, Pairs | NextByte):
            return np.zeros((len(samples), 0), np.int32)
        return self._dataset.targets[samples]

    def _forward(self, state: EngineState) -> list[Bytes]:
        return [states.forward_weights(m, self.manifest.weights) for m in state.masters]

    def _signs(self, keys: Sequence[bytes]) -> Signs:
        """The draws of these keys. A step asks for the same ones twice, so the last are kept."""
        key = tuple(keys)
        known, signs = self._drawn
        if known != key:
            signs = self._layout.expand(key, self._workers)
            self._drawn = (key, signs)
        return signs


def check_fit(manifest: Manifest, dataset: Samples) -> None:
    """The model must take the dataset's inputs and tell its targets apart; EngineError if not."""
    header, kind = dataset.header, DATASET_KINDS[type(manifest.task)]
    size = prod(manifest.input) if kind != "bytes" else manifest.input_size
    fits = header.outputs <= manifest.outputs if kind == "classes" else (
        header.outputs == manifest.outputs
    )  # fmt: skip
    if header.kind != kind or header.input_size != size or not fits:
        raise EngineError(
            f"the model takes {size} inputs of {kind} and has {manifest.outputs} outputs, dataset "
            f"{manifest.dataset!r} has {header.input_size} inputs of {header.kind} and "
            f"{header.outputs} outputs"
        )


def check_device(device: str, threads: int | None) -> None:
    """Hold a device against the specification on small models of every layer, before any job.

    Args: as for `Engine`.

    Raises:
        EngineError: the device can't be used. InexactDevice: it computes wrong numbers.
    """
    workers = Workers(threads)
    manifests = example_manifests().values()
    for weights in {manifest.weights for manifest in manifests}:
        check_steps(weights, workers)
    for manifest in manifests:
        _test(manifest, DrawLayout(manifest), workers, device)


def _test(manifest: Manifest, layout: DrawLayout, workers: Workers, device: str) -> None:
    check_draws(manifest, layout)
    shorter = test_manifest(manifest)
    self_test(shorter, layout, _opened(shorter, layout, workers, device))


def _opened(manifest: Manifest, layout: DrawLayout, workers: Workers, device: str) -> Network:
    if device == "cpu":
        return FusedNetwork(manifest, layout, workers)
    from potnode.engine.torch_network import TorchNetwork

    return TorchNetwork(manifest, layout, device.removeprefix("torch:"))
