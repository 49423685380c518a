"""One step recomputed by the specification alone: plain integers, seconds to minutes, no engine.

The engine is what an audit normally trusts; this says whether it may.
"""

from __future__ import annotations

from collections.abc import Sequence

from potnode.data.dataset import Dataset
from potnode.data.feedback import Feedback
from potnode.spec.dataset import Sample
from potnode.spec.draw import draw
from potnode.spec.evaluate import candidate_loss, validation
from potnode.spec.feedback import sample_at
from potnode.spec.manifest import Manifest
from potnode.spec.network import forward_weights
from potnode.spec.params import JobParams
from potnode.spec.record import Validation
from potnode.spec.schedule import StepTerms
from potnode.spec.search import batch_indices
from potnode.spec.state import State, state_root
from potnode.spec.step import advance


def recompute(
    manifest: Manifest,
    dataset: Dataset,
    params: JobParams,
    state: State,
    keys: Sequence[bytes],
    *,
    work: bytes,
    terms: StepTerms,
    feedback: Feedback,
    pairs: int,
) -> tuple[list[int], Validation | None, bytes]:
    """Losses of a step's candidates, its validation if it has one, and the state root after it.

    Args:
        state: before the step. keys: of its candidates, by ascending H. work: its commitment.
        pairs: how many of the feedback it uses.
    """

    def sample(index: int) -> Sample:
        return sample_at(index, params.train_count, dataset.sample, feedback.sample)

    weights = forward_weights(state.masters, manifest.weights)
    batch = batch_indices(work, params.train_count + pairs, terms.batch_size)
    samples = [sample(i) for i in batch]
    losses = [
        candidate_loss(manifest, weights, samples, draw(manifest, key), terms.shift) for key in keys
    ]
    after, _ = advance(
        manifest,
        state,
        keys,
        losses,
        terms,
        work,
        train_count=params.train_count + pairs,
        sample=sample,
    )
    figures = None
    if params.is_validation_step(terms.step):
        held_out = (dataset.sample(i) for i in range(params.train_count, dataset.header.count))
        trained = forward_weights(after.masters, manifest.weights)
        figures = Validation(*validation(manifest, trained, held_out))
    return losses, figures, state_root(after, manifest.weights)
