"""One step recomputed by the specification alone: plain integers, seconds to minutes, no engine.

The engine is what an audit normally trusts; this says whether it may.
"""

from __future__ import annotations

from collections.abc import Sequence

from potnode.data.dataset import Dataset
from potnode.spec import state as spec_state
from potnode.spec.draw import candidate_key, draw
from potnode.spec.evaluate import candidate_loss, validation
from potnode.spec.manifest import Manifest
from potnode.spec.network import forward_weights
from potnode.spec.params import JobParams
from potnode.spec.record import Validation
from potnode.spec.search import batch_indices
from potnode.spec.state import State


def recompute(
    manifest: Manifest,
    dataset: Dataset,
    params: JobParams,
    state: State,
    hashes: Sequence[bytes],
    *,
    work: bytes,
    step: int,
) -> tuple[list[int], Validation | None, bytes]:
    """Losses of a step's candidates, its validation if it has one, and the state root after it.

    Args:
        state: before the step. hashes: H of its shares, ascending. work: its commitment.
    """
    weights = forward_weights(state.masters)
    batch = batch_indices(work, params.train_count, params.batch_size)
    samples = [_sample(dataset, i) for i in batch]
    losses = [
        candidate_loss(manifest, weights, samples, draw(manifest, candidate_key(hash_, 0)))
        for hash_ in hashes
    ]
    after = spec_state.step(
        manifest, state, list(hashes), losses, number=step, step_limit=params.step_limit
    )
    figures = None
    if params.is_validation_step(step):
        held_out = (_sample(dataset, i) for i in range(params.train_count, dataset.header.count))
        figures = Validation(*validation(manifest, forward_weights(after.masters), held_out))
    return losses, figures, spec_state.state_root(after)


def _sample(dataset: Dataset, index: int) -> tuple[list[int], int]:
    return dataset.inputs[index].tolist(), int(dataset.targets[index])
