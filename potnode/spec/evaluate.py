"""Losses as they are recorded: sums over samples (docs/protocol.md sections 3 and 5).

Joins the network and its loss. Which samples a step uses is `search.batch_indices`; samples come
from `dataset.read_sample`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from potnode.spec.draw import TensorDraw
from potnode.spec.loss import cross_entropy, is_hit
from potnode.spec.manifest import Manifest
from potnode.spec.network import logits


def candidate_loss(
    manifest: Manifest,
    weights: Sequence[Sequence[int]],
    batch: Iterable[tuple[Sequence[int], int]],
    perturbation: dict[int, TensorDraw],
) -> int:
    """L of a candidate: the sum of its losses over the step's batch, in 1/256 bit.

    Args:
        weights: forward weights before the step, by tensor, flat.
        batch: inputs and target of every sample; one drawn twice counts twice.
    """
    return sum(
        cross_entropy(logits(manifest, weights, inputs, perturbation), target)
        for inputs, target in batch
    )


def validation(
    manifest: Manifest,
    weights: Sequence[Sequence[int]],
    held_out: Iterable[tuple[Sequence[int], int]],
) -> tuple[int, int]:
    """Loss sum in 1/256 bit and number of hits over the held-out samples, unperturbed.

    Args:
        weights: forward weights after the step, by tensor, flat.
    """
    loss = hits = 0
    for inputs, target in held_out:
        z = logits(manifest, weights, inputs)
        loss += cross_entropy(z, target)
        hits += is_hit(z, target)
    return loss, hits
