from __future__ import annotations

from potnode.spec.draw import candidate_key, draw
from potnode.spec.evaluate import candidate_loss, validation
from potnode.spec.loss import cross_entropy, is_hit
from potnode.spec.network import forward_weights, logits
from potnode.spec.vectors.ledger import Ledger

SAMPLES = [([10, -20, 30, 0, 127, -127], 2), ([1, 2, 3, 4, 5, 6], 0), ([0] * 6, 1)]


def test_losses_are_sums_and_a_sample_drawn_twice_counts_twice(four: Ledger) -> None:
    weights = forward_weights(four.states[0].masters)
    drawn = draw(four.manifest, candidate_key(bytes(32), 0))
    each = [
        cross_entropy(logits(four.manifest, weights, x, drawn), target) for x, target in SAMPLES
    ]
    batch = [SAMPLES[0], SAMPLES[2], SAMPLES[0]]
    assert candidate_loss(four.manifest, weights, batch, drawn) == 2 * each[0] + each[2]


def test_validation_is_unperturbed_and_counts_hits(four: Ledger) -> None:
    weights = forward_weights(four.states[1].masters)
    plain = [logits(four.manifest, weights, x) for x, _ in SAMPLES]
    targets = [target for _, target in SAMPLES]
    assert validation(four.manifest, weights, SAMPLES) == (
        sum(cross_entropy(z, t) for z, t in zip(plain, targets, strict=True)),
        sum(is_hit(z, t) for z, t in zip(plain, targets, strict=True)),
    )
    assert validation(four.manifest, weights, []) == (0, 0)
