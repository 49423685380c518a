"""Losses as they are recorded: sums over samples (docs/protocol.md sections 3 and 5).

Joins the network, the task and its loss. Which samples a step uses is `search.batch_indices`;
samples come from `dataset.read_sample`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from potnode.spec.dataset import Sample
from potnode.spec.loss import cross_entropy, is_hit, preference, squared_error
from potnode.spec.manifest import Classes, Manifest, NextByte, Pairs, Values
from potnode.spec.network import Perturbation, outputs

Tensors = Sequence[Sequence[int]]


def sample_loss(
    manifest: Manifest,
    weights: Tensors,
    sample: Sample,
    perturbation: Perturbation | None = None,
    shift: int = 0,
) -> tuple[int, int]:
    """Loss and hits of one sample, under a candidate if one is given.

    Args:
        weights: forward weights by tensor, flat. shift: e of the step.

    Returns:
        The sum over the sample's predictions (`Manifest.predictions`), and how many are right.
    """

    def run(positions: Sequence[Sequence[int]]) -> list[list[int]]:
        return outputs(manifest, weights, positions, perturbation, shift)

    inputs, targets = sample.inputs, sample.targets
    match manifest.task:
        case Classes():
            [z] = run([inputs])
            return cross_entropy(z, targets[0]), int(is_hit(z, targets[0]))
        case NextByte(_, warmup):
            logits = run([[byte] for byte in inputs[:-1]])
            scored = [
                (z, after)
                for t, (z, (_, after)) in enumerate(zip(logits, pairwise(inputs), strict=True))
                if t >= warmup
            ]
            return (
                sum(cross_entropy(z, after) for z, after in scored),
                sum(is_hit(z, after) for z, after in scored),
            )
        case Values(tolerance):
            [z] = run([inputs])
            both = list(zip(z, targets, strict=True))
            return (
                sum(squared_error(v, target) for v, target in both),
                int(all(abs(v - target) <= tolerance for v, target in both)),
            )
        case Pairs():
            half = len(inputs) // 2
            [preferred], [other] = run([inputs[:half]])[0], run([inputs[half:]])[0]
            return preference(preferred, other), int(preferred > other)


def candidate_loss(
    manifest: Manifest,
    weights: Tensors,
    batch: Iterable[Sample],
    perturbation: Perturbation | None,
    shift: int = 0,
) -> int:
    """L of a candidate: the sum of its losses over a batch; without perturbation, of the weights.

    Args:
        weights: forward weights before the step, by tensor, flat.
        batch: one drawn twice counts twice. shift: e of the step.
    """
    return sum(sample_loss(manifest, weights, s, perturbation, shift)[0] for s in batch)


def validation(manifest: Manifest, weights: Tensors, held_out: Iterable[Sample]) -> tuple[int, int]:
    """Loss sum and number of hits over the held-out samples, unperturbed.

    Args:
        weights: forward weights after the step, by tensor, flat.
    """
    loss = hits = 0
    for sample in held_out:
        more_loss, more_hits = sample_loss(manifest, weights, sample)
        loss += more_loss
        hits += more_hits
    return loss, hits
