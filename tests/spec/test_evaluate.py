from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from potnode.spec.dataset import Sample
from potnode.spec.draw import candidate_key, draw
from potnode.spec.evaluate import candidate_loss, sample_loss, validation
from potnode.spec.layers import Linear
from potnode.spec.loss import cross_entropy, is_hit, preference, squared_error
from potnode.spec.manifest import Manifest, NextByte, Pairs, Values, max_loss
from potnode.spec.network import forward_weights, outputs
from potnode.spec.vectors.ledger import Ledger
from potnode.spec.vectors.models import example_manifests, filled
from tests.spec.cases import manifests, model

SAMPLES = [
    Sample((10, -20, 30, 0, 127, -127), (2,)),
    Sample((1, 2, 3, 4, 5, 6), (0,)),
    Sample((0,) * 6, (1,)),
]
KEY = candidate_key(bytes(32), 0)


def test_losses_are_sums_and_a_sample_drawn_twice_counts_twice(four: Ledger) -> None:
    manifest = four.manifest
    weights = forward_weights(four.states[0].masters, manifest.weights)
    drawn = draw(manifest, KEY)
    each = [
        cross_entropy(outputs(manifest, weights, [s.inputs], drawn, 1)[0], s.targets[0])
        for s in SAMPLES
    ]
    batch = [SAMPLES[0], SAMPLES[2], SAMPLES[0]]
    assert candidate_loss(manifest, weights, batch, drawn, 1) == 2 * each[0] + each[2]
    assert candidate_loss(manifest, weights, batch, drawn, 3) != 2 * each[0] + each[2]


def test_validation_is_unperturbed_and_counts_hits(four: Ledger) -> None:
    manifest = four.manifest
    weights = forward_weights(four.states[1].masters, manifest.weights)
    plain = [(outputs(manifest, weights, [s.inputs])[0], s.targets[0]) for s in SAMPLES]
    assert validation(manifest, weights, SAMPLES) == (
        sum(cross_entropy(z, t) for z, t in plain),
        sum(is_hit(z, t) for z, t in plain),
    )
    assert (
        candidate_loss(manifest, weights, SAMPLES, None)
        == validation(manifest, weights, SAMPLES)[0]
    )
    assert validation(manifest, weights, []) == (0, 0)


def test_a_text_predicts_each_byte_after_the_warmup_from_those_before() -> None:
    manifest = example_manifests()["gru"]
    weights, e = filled("gru", manifest), 1
    text, drawn = (1, 200, 3, 255, 0, 7), draw(manifest, KEY)
    logits = outputs(manifest, weights, [[byte] for byte in text[:5]], drawn, e)
    scored = [(logits[t], text[t + 1]) for t in (2, 3, 4)]
    loss, hits = sample_loss(manifest, weights, Sample(text, ()), drawn, e)
    assert loss == sum(cross_entropy(z, byte) for z, byte in scored)
    assert hits == sum(is_hit(z, byte) for z, byte in scored)
    # The last byte is only predicted, the first ones only read.
    other = outputs(manifest, weights, [[byte] for byte in (9, *text[1:5])], drawn, e)
    assert other[4] != logits[4]


def test_hits_of_a_text_are_counted_one_by_one() -> None:
    gru = example_manifests()["gru"]
    weights = [[0] * len(t) for t in filled("gru", gru)]  # byte 0 is always the first of equals
    assert sample_loss(gru, weights, Sample((0,) * 6, ()))[1] == 3
    assert sample_loss(gru, weights, Sample((0, 0, 0, 5, 0, 9), ()))[1] == 1
    assert sample_loss(gru, weights, Sample((0,) * 6, ()))[0] == 3 * 8 * 256


def test_a_value_is_hit_if_every_output_is_within_the_tolerance() -> None:
    manifest = model((Linear(2, 0, "none"),), (1,), task=Values(3))
    weights = [[10, -10], [0, 0]]  # z = (10 x, -10 x)

    def loss(*targets: int) -> tuple[int, int]:
        return sample_loss(manifest, weights, Sample((100,), targets))

    assert loss(1000, -1000) == (0, 1)
    assert loss(1003, -1003) == (0, 1)
    assert loss(1003, -1004) == (0, 0)
    assert loss(1020, -1000) == (400 >> 8, 0)
    assert loss(-32768, 32767) == (2 * (32767**2 >> 8), 0)
    assert loss(1000, -960) == (squared_error(-1000, -960), 0)


def test_a_pair_is_hit_if_the_preferred_has_the_higher_score() -> None:
    manifest = model((Linear(1, 0, "none"),), (2,), task=Pairs())
    weights = [[1, 2], [0]]
    assert sample_loss(manifest, weights, Sample((5, 5, 4, 3), ())) == (preference(15, 10), 1)
    assert sample_loss(manifest, weights, Sample((4, 3, 5, 5), ())) == (preference(10, 15), 0)
    assert sample_loss(manifest, weights, Sample((4, 3, 4, 3), ())) == (256, 0)  # a tie is no hit


@settings(max_examples=80)
@given(manifests(), st.sampled_from([-127, 0, 127]), st.integers(0, 2**32), st.data())
def test_no_sample_costs_more_than_its_bound(
    manifest: Manifest, weight: int, seed: int, data: st.DataObject
) -> None:
    random = data.draw(st.randoms(use_true_random=False))
    weights = [
        [random.choice([weight, -weight]) for _ in tensor] for tensor in filled("any", manifest)
    ]
    is_text = isinstance(manifest.task, NextByte)
    size = manifest.input_size * (2 if isinstance(manifest.task, Pairs) else 1)
    values = range(256) if is_text else (-127, 0, 127)
    targets = [0]
    if isinstance(manifest.task, Values):
        targets = [random.choice([-32768, 32767]) for _ in range(manifest.outputs)]
    sample = Sample(tuple(random.choice(values) for _ in range(size)), tuple(targets))
    drawn = draw(manifest, candidate_key(seed.to_bytes(32, "big"), 0))
    loss, hits = sample_loss(manifest, weights, sample, drawn, manifest.perturbation[0])
    assert 0 <= loss <= max_loss(manifest)
    assert 0 <= hits <= manifest.predictions
