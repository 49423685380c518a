from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potnode.spec.errors import InvalidJob
from potnode.spec.hashing import sha256
from potnode.spec.loss import cross_entropy
from potnode.spec.manifest import (
    LIMIT_FLOAT32,
    MAX_ETA,
    MAX_STD,
    Linear,
    Manifest,
    accumulator_bound,
    check_job,
    check_manifest,
    chunk_length,
    decode_manifest,
    encode_manifest,
    logit_bound,
    max_loss,
)
from potnode.spec.vectors.ledger import Ledger
from potnode.spec.vectors.numbers import example_manifests

GOOD = example_manifests()["relu"]


def _canonical(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _changed(change: Callable[[Any], None]) -> bytes:
    document = json.loads(encode_manifest(GOOD))
    change(document)
    return _canonical(document)


@pytest.mark.parametrize("manifest", example_manifests().values(), ids=example_manifests())
def test_a_manifest_comes_back_from_its_bytes(manifest: Manifest) -> None:
    assert decode_manifest(encode_manifest(manifest)) == manifest


def test_the_bytes_are_canonical_ascii_json() -> None:
    data = encode_manifest(GOOD)
    assert data == _canonical(json.loads(data))
    assert data.isascii()
    assert b" " not in data
    assert b"\\" not in data


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(dataste="x"), r"unknown key 'dataste' \(did you mean 'dataset'\?\)"),
        (lambda d: d["update"].update(etas=1), r"manifest.update has .*did you mean 'eta'"),
        (lambda d: d["model"][1].update(shfit=1), r"manifest.model\[1\] .*did you mean 'shift'"),
        (lambda d: d["initial"].update(zzz=1), "manifest.initial has the unknown key 'zzz'$"),
        (lambda d: d.pop("train"), "manifest lacks the key 'train'"),
        (lambda d: d.update(potnode=2), "manifest.potnode is 2"),
        (lambda d: d.update(potnode=True), "not canonical"),
        (lambda d: d.update(perturbation=1.5), "1.5: only integers"),
        (lambda d: d.update(perturbation=float("nan")), "NaN: only integers"),
        (lambda d: d.update(perturbation=True), "manifest.perturbation must be an integer"),
        (lambda d: d.update(perturbation=7), "manifest.perturbation must be an integer 0..6"),
        (lambda d: d.update(dataset="Digits"), "manifest.dataset must be"),
        (lambda d: d.update(dataset="é"), "manifest.dataset must be"),
        (lambda d: d.update(tensors=[[1, 2]]), "not canonical"),
        (lambda d: d.update(tensors=None), "not canonical"),
        (lambda d: d.update(train=[]), "manifest.train must be ascending"),
        (lambda d: d.update(train=[1, 0]), "manifest.train must be ascending"),
        (lambda d: d.update(train=[0, 0]), "manifest.train must be ascending"),
        (lambda d: d.update(train=[4]), "manifest.train must be ascending"),
        (lambda d: d.update(train=3), "manifest.train must be a list"),
        (lambda d: d.update(train=[1 << 53]), r"manifest.train\[0\] must be an integer"),
        (lambda d: d.update(model=[]), "1..64 layers"),
        (lambda d: d.update(model={}), "1..64 layers"),
        (lambda d: d.update(model=[3]), r"manifest.model\[0\] must be an object"),
        (lambda d: d["model"][0].update(type="conv"), r"manifest.model\[0\].type"),
        (lambda d: d["model"][0].update(activation="tanh"), r"model\[0\].activation must be one"),
        (lambda d: d["model"][0].update(activation=["relu"]), r"model\[0\].activation must be one"),
        (lambda d: d["model"][0].update(activation="none"), r"model\[0\].activation: the last"),
        (lambda d: d["model"][1].update(activation="relu"), r"model\[1\].activation: the last"),
        (
            lambda d: d["model"][1].update({"in": 8}),
            r"model\[1\].in is 8, the layer before gives 7",
        ),
        (lambda d: d["model"][0].update(shift=25), r"model\[0\].shift must be an integer 0..24"),
        (lambda d: d["model"][1].update(out=1), "2..256 classes, not 1"),
        (lambda d: d["model"][1].update(out=257), "2..256 classes, not 257"),
        (lambda d: d["initial"].update(seed="ab"), "64 lower-case hex"),
        (lambda d: d["initial"].update(seed="AB" * 32), "64 lower-case hex"),
        (lambda d: d["initial"].update(std=[1, 0]), "one integer for each of 4 tensors"),
        (lambda d: d["initial"].update(std=[1, 1, 1, 0]), r"std\[1\] must be 0: biases"),
        (lambda d: d["initial"].update(std=[MAX_STD + 1, 0, 1, 0]), r"std\[0\] must be an integer"),
        (lambda d: d["update"].update(eta=[1]), "two integers"),
        (lambda d: d["update"].update(eta=[1, 2]), "must not rise"),
        (lambda d: d["update"].update(eta=[MAX_ETA + 1, 2]), r"eta\[0\] must be an integer"),
        (lambda d: d["update"].update(rule="momentun"), "did you mean 'momentum'"),
    ],
)
def test_a_wrong_manifest_is_refused_where_it_is_wrong(
    change: Callable[[Any], None], message: str
) -> None:
    with pytest.raises(InvalidJob, match=message):
        decode_manifest(_changed(change))


@pytest.mark.parametrize(
    "data",
    [
        encode_manifest(GOOD) + b"\n",
        encode_manifest(GOOD).replace(b",", b", ", 1),
        b'{"update":' + encode_manifest(GOOD)[1:].replace(b'"update":', b'"updat":', 1),
        encode_manifest(GOOD).replace(b'"tiny"', b'"\\u0074iny"'),
        encode_manifest(GOOD).replace(b'"dataset"', b'"\\u0064ataset"'),
        encode_manifest(GOOD).replace(b'"perturbation":2', b'"perturbation":-0'),
        encode_manifest(GOOD).replace(b'"tiny"', '"tin\u00fd"'.encode()),
        encode_manifest(GOOD).replace(b'"perturbation":2', b'"perturbation":' + b"9" * 5000),
        b"[" * 100_000,
        b"",
        b"3",
    ],
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidJob):
        decode_manifest(data)


def test_a_repeated_key_is_refused_though_json_takes_the_last() -> None:
    data = encode_manifest(GOOD)
    doubled = data.replace(b'"perturbation":2', b'"perturbation":1,"perturbation":2')
    assert json.loads(doubled) == json.loads(data)  # what a reader that stops here would believe
    with pytest.raises(InvalidJob, match="not canonical"):
        decode_manifest(doubled)


@settings(max_examples=300)
@given(st.data())
def test_one_meaning_has_one_byte_string(data: st.DataObject) -> None:
    good = encode_manifest(GOOD)
    at = data.draw(st.integers(0, len(good) - 1))
    mutated = good[:at] + data.draw(st.binary(max_size=2)) + good[at + 1 :]
    try:
        decoded = decode_manifest(mutated)
    except InvalidJob:
        return
    assert encode_manifest(decoded) == mutated


@pytest.mark.parametrize("e", range(7))
def test_a_chunk_is_the_longest_exact_in_float32(e: int) -> None:
    longest = chunk_length(e)
    assert accumulator_bound(longest, e) < LIMIT_FLOAT32 <= accumulator_bound(longest + 1, e)


def test_chunks_have_the_lengths_the_protocol_names() -> None:
    assert (chunk_length(0), chunk_length(2)) == (1031, 1008)


def _wide(inputs: int, shift: int) -> Manifest:
    return replace(GOOD, layers=(Linear(inputs, 2, shift, "none"),), train=(0, 1), std=(1, 0))


def test_a_dot_product_past_its_bound_is_refused() -> None:
    fits = next(k for k in range(129_000, 130_000) if accumulator_bound(k + 1, 2) >= 1 << 31)
    check_manifest(_wide(fits, 24))
    with pytest.raises(InvalidJob, match=f"a dot product of {fits + 1} passes"):
        check_manifest(_wide(fits + 1, 24))


def test_logits_that_may_reach_2_23_are_refused() -> None:
    check_manifest(_wide(900, 1))
    assert logit_bound(_wide(900, 1)) < 1 << 23
    with pytest.raises(InvalidJob, match=r"logits may reach 2\^23"):
        check_manifest(_wide(900, 0))


def test_no_loss_is_above_its_bound() -> None:
    bound = logit_bound(GOOD)
    worst = cross_entropy([-bound, *[bound] * 255], 0)
    assert worst <= max_loss(GOOD)


def test_a_job_is_checked_as_a_whole(four: Ledger) -> None:
    assert check_job(four.params, four.manifest_bytes) == four.manifest
    with pytest.raises(InvalidJob, match="manifest_hash is not"):
        check_job(four.params, four.manifest_bytes + b" ")
    with pytest.raises(InvalidJob, match=r"params\.window"):
        check_job(replace(four.params, window=256), four.manifest_bytes)


def test_a_sum_of_losses_that_may_not_fit_40_bits_is_refused(four: Ledger) -> None:
    manifest = _wide(900, 1)
    data = encode_manifest(manifest)
    params = replace(four.params, manifest_hash=sha256(data), batch_size=65_000)
    fits = ((1 << 40) - 1) // max_loss(manifest)
    check_job(replace(params, held_out_count=fits), data)
    with pytest.raises(InvalidJob, match=r"may reach 2\^40"):
        check_job(replace(params, held_out_count=fits + 1), data)
