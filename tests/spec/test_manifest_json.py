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
from potnode.spec.layers import Linear
from potnode.spec.manifest import MAX_ETA, Greedy, Imported, Manifest, Values, max_loss
from potnode.spec.manifest_json import (
    LAYER_TYPES,
    check_job,
    decode_manifest,
    encode_manifest,
    nearest,
    read_layer,
)
from potnode.spec.vectors.ledger import Ledger
from potnode.spec.vectors.models import example_manifests
from tests.spec.cases import manifests, model

EXAMPLES = example_manifests()
GOOD = EXAMPLES["relu"]


def _canonical(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _changed(name: str, change: Callable[[Any], None]) -> bytes:
    document = json.loads(encode_manifest(EXAMPLES[name]))
    change(document)
    return _canonical(document)


@pytest.mark.parametrize("manifest", EXAMPLES.values(), ids=EXAMPLES)
def test_an_example_comes_back_from_its_bytes(manifest: Manifest) -> None:
    data = encode_manifest(manifest)
    assert decode_manifest(data) == manifest
    assert data == _canonical(json.loads(data))
    assert data.isascii()
    assert b" " not in data
    assert b"\\" not in data


@given(manifests())
def test_any_manifest_comes_back_from_its_bytes(manifest: Manifest) -> None:
    assert decode_manifest(encode_manifest(manifest)) == manifest


def test_a_manifest_of_a_file_of_weights_comes_back() -> None:
    manifest = replace(GOOD, initial=Imported(bytes(range(32))), strategy=Greedy(7, 2))
    data = encode_manifest(manifest)
    assert json.loads(data)["initial"] == {"file": bytes(range(32)).hex()}
    assert decode_manifest(data) == manifest


def test_the_examples_show_every_layer() -> None:
    shown = {type(layer) for manifest in EXAMPLES.values() for layer in manifest.layers}
    assert shown == set(LAYER_TYPES.values())


def test_what_the_json_of_a_model_looks_like() -> None:
    document = json.loads(encode_manifest(EXAMPLES["depthwise"]))
    assert document["model"] == [
        {
            "type": "conv2d",
            "out": 3,
            "kernel": [3, 3],
            "stride": [1, 1],
            "pad": [1, 1],
            "shift": 5,
            "activation": "clip",
        },
        {
            "type": "depthwise",
            "kernel": [3, 3],
            "stride": [1, 1],
            "pad": [1, 1],
            "shift": 5,
            "activation": "clip",
        },
        {"type": "add", "from": 0},
        {"type": "relu"},
        {"type": "avgpool", "kernel": [3, 3], "stride": [2, 2]},
        {"type": "linear", "out": 3, "shift": 4, "activation": "none"},
    ]
    assert document["tensors"] == [[3, 9], [3], [27], [3], [3, 12], [3]]
    assert document["input"] == [1, 5, 5]
    assert document["weights"] == {"levels": 127, "shift": 8}


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("relu", lambda d: d.update(dataste="x"), r"key 'dataste' \(did you mean 'dataset'\?\)"),
        ("relu", lambda d: d["strategy"].update(etas=1), r"manifest.strategy .*mean 'eta'"),
        ("relu", lambda d: d["model"][1].update(shfit=1), r"manifest.model\[1\] .*mean 'shift'"),
        ("relu", lambda d: d["initial"].update(zzz=1), "initial has the unknown key 'zzz'$"),
        ("relu", lambda d: d["weights"].update(level=1), r"manifest.weights .*mean 'levels'"),
        ("gru", lambda d: d["task"].update(warm_up=1), r"manifest.task .*mean 'warmup'"),
        ("values", lambda d: d["task"].update(tolerence=1), r"manifest.task .*mean 'tolerance'"),
        ("relu", lambda d: d["task"].update(window=1), "manifest.task has the unknown key"),
        (
            "values",
            lambda d: d["strategy"].update(eta=[1, 1]),
            "strategy has the unknown key 'eta'",
        ),
        ("relu", lambda d: d.pop("train"), "manifest lacks the key 'train'"),
        ("gru", lambda d: d["task"].pop("window"), "manifest.task lacks the key 'window'"),
        ("conv", lambda d: d["model"][0].pop("pad"), r"model\[0\] lacks the key 'pad'"),
        ("relu", lambda d: d.update(potnode=2), "manifest.potnode is 2"),
        ("relu", lambda d: d.update(potnode=True), "not canonical"),
        ("relu", lambda d: d.update(perturbation=1.5), "1.5: only integers"),
        ("relu", lambda d: d.update(perturbation=float("nan")), "NaN: only integers"),
        ("relu", lambda d: d.update(perturbation=3), "perturbation must be a list of integers"),
        ("relu", lambda d: d.update(perturbation=[3]), "perturbation must be two integers: at the"),
        (
            "relu",
            lambda d: d.update(perturbation=[True, 0]),
            r"perturbation\[0\] must be an integer",
        ),
        ("relu", lambda d: d.update(perturbation=[7, 0]), "manifest.perturbation must be 0..6"),
        ("relu", lambda d: d.update(dataset="Digits"), "manifest.dataset must be"),
        ("relu", lambda d: d.update(dataset="é"), "manifest.dataset must be"),
        ("relu", lambda d: d.update(dataset=3), "manifest.dataset must be"),
        ("relu", lambda d: d.update(tensors=[[1, 2]]), "not canonical"),
        ("relu", lambda d: d.update(tensors=None), "not canonical"),
        ("relu", lambda d: d.update(input=9), "manifest.input must be a list of integers"),
        ("relu", lambda d: d.update(input=[0]), r"manifest.input\[0\] must be an integer 1.."),
        ("relu", lambda d: d.update(train=[]), "manifest.train must be ascending"),
        ("relu", lambda d: d.update(train=3), "manifest.train must be a list"),
        ("relu", lambda d: d.update(train=[1 << 53]), r"manifest.train\[0\] must be an integer"),
        ("relu", lambda d: d.update(model=[]), "1..64 layers"),
        ("relu", lambda d: d.update(model={}), "manifest.model must be a list of layers"),
        ("relu", lambda d: d.update(model=[3]), r"model\[0\] must be an object with a type: lin"),
        ("relu", lambda d: d["model"][0].pop("type"), r"model\[0\] must be an object with a type"),
        ("relu", lambda d: d["model"][0].update(type="conv"), r"\[0\].type .* mean 'conv2d'\?"),
        ("relu", lambda d: d["model"][0].update(type=[]), r"model\[0\].type must be one of linear"),
        ("relu", lambda d: d["model"][0].update(activation="rel"), r"activation .* mean 'relu'"),
        ("relu", lambda d: d["model"][0].update(activation=["relu"]), r"activation must be one of"),
        ("relu", lambda d: d["model"][0].update(activation="none"), r"model\[0\]: the last layer"),
        ("relu", lambda d: d["model"][0].update(shift=25), r"shift must be an integer 0..24"),
        ("relu", lambda d: d["model"][0].update(shift=True), r"shift must be an integer 0..24"),
        ("relu", lambda d: d["model"][1].update(out=0), r"model\[1\].out must be an integer 1.."),
        ("relu", lambda d: d["model"][1].update(out=257), "2..256 classes, not 257"),
        ("conv", lambda d: d["model"][0].update(kernel=3), r"kernel must be a list of integers"),
        ("conv", lambda d: d["model"][0].update(kernel=[3]), "kernel must be two integers: vert"),
        ("conv", lambda d: d["model"][1].update(stride=[0, 1]), r"stride\[0\] must be an integer"),
        ("conv", lambda d: d["model"][0].update(pad=[-1, 1]), r"pad\[0\] must be an integer 0.."),
        ("conv", lambda d: d["model"][0].update(pad=[3, 0]), r"model\[0\]: a pad of \(3, 0\)"),
        (
            "gru",
            lambda d: d["model"][3].update({"from": -1}),
            r"model\[3\].from must be an integer",
        ),
        ("gru", lambda d: d["model"][3].update({"from": 3}), r"model\[3\]: there is no layer 3"),
        ("relu", lambda d: d.update(task="classes"), "manifest.task must be an object with a type"),
        ("relu", lambda d: d["task"].update(type="class"), r"task.type .*did you mean 'classes'\?"),
        ("gru", lambda d: d["task"].update(warmup=-1), "task.warmup must be an integer 0.."),
        ("gru", lambda d: d["task"].update(window=0), "task.window must be an integer 1.."),
        ("gru", lambda d: d["task"].update(window=2), "0 <= warmup < window"),
        (
            "relu",
            lambda d: d["initial"].update(seed="ab"),
            "initial.seed must be 64 lower-case hex",
        ),
        ("relu", lambda d: d["initial"].update(seed="AB" * 32), "64 lower-case hex"),
        ("relu", lambda d: d["initial"].update(std=[1, 0]), "one integer for each of 4 tensors"),
        ("relu", lambda d: d["initial"].update(std=[-1, 0, 0, 0]), r"std\[0\] must be an integer"),
        ("relu", lambda d: d.update(initial={"file": "00"}), "initial.file must be 64 lower-case"),
        (
            "relu",
            lambda d: d["initial"].update(file="00" * 32),
            "initial has the unknown key 'mean'",
        ),
        ("relu", lambda d: d.update(initial=[]), "manifest.initial must be an object"),
        ("relu", lambda d: d["weights"].update(levels=128), "weights.levels must be an integer 1"),
        ("relu", lambda d: d["weights"].update(shift=9), r"levels << \(shift - 8\)"),
        (
            "relu",
            lambda d: d["strategy"].update(type="evolutio"),
            "strategy.type .* mean 'evolution'",
        ),
        ("relu", lambda d: d["strategy"].update(eta=[1]), "two integers"),
        ("relu", lambda d: d["strategy"].update(eta=[1, 2]), "must not rise"),
        ("relu", lambda d: d["strategy"].update(eta=[MAX_ETA + 1, 2]), "eta must be 0..32767"),
        ("relu", lambda d: d["strategy"].update(rule="momentun"), "rule .* mean 'momentum'"),
        ("relu", lambda d: d["strategy"].update(batch_start=0), "batch_start must be an integer 1"),
        ("values", lambda d: d["strategy"].update(margin=1 << 40), r"margin must be 0..2\^40-1"),
    ],
)
def test_a_wrong_manifest_is_refused_where_it_is_wrong(
    name: str, change: Callable[[Any], None], message: str
) -> None:
    with pytest.raises(InvalidJob, match=message):
        decode_manifest(_changed(name, change))


@pytest.mark.parametrize(
    "data",
    [
        encode_manifest(GOOD) + b"\n",
        encode_manifest(GOOD).replace(b",", b", ", 1),
        b'{"train":' + encode_manifest(GOOD)[1:].replace(b'"train":', b'"trai":', 1),
        encode_manifest(GOOD).replace(b'"tiny"', b'"\\u0074iny"'),
        encode_manifest(GOOD).replace(b'"dataset"', b'"\\u0064ataset"'),
        encode_manifest(GOOD).replace(b'"mean":[0,', b'"mean":[-0,'),
        encode_manifest(GOOD).replace(b'"tiny"', '"tin\u00fd"'.encode()),
        encode_manifest(GOOD).replace(b'"perturbation":[2', b'"perturbation":[' + b"9" * 5000),
        b"[" * 100_000,
        b"",
        b"3",
    ],
)
def test_other_bytes_are_refused(data: bytes) -> None:
    assert data != encode_manifest(GOOD)
    with pytest.raises(InvalidJob):
        decode_manifest(data)


def test_a_repeated_key_is_refused_though_json_takes_the_last() -> None:
    data = encode_manifest(GOOD)
    doubled = data.replace(b'"potnode":1', b'"potnode":2,"potnode":1')
    assert json.loads(doubled) == json.loads(data)  # what a reader that stops here would believe
    with pytest.raises(InvalidJob, match="not canonical"):
        decode_manifest(doubled)


@settings(max_examples=300)
@given(st.sampled_from(list(EXAMPLES.values())), st.data())
def test_one_meaning_has_one_byte_string(manifest: Manifest, data: st.DataObject) -> None:
    good = encode_manifest(manifest)
    at = data.draw(st.integers(0, len(good) - 1))
    mutated = good[:at] + data.draw(st.binary(max_size=2)) + good[at + 1 :]
    try:
        decoded = decode_manifest(mutated)
    except InvalidJob:
        return
    assert encode_manifest(decoded) == mutated


def test_a_layer_is_read_by_itself() -> None:
    layer = {"type": "linear", "out": 5, "shift": 7, "activation": "relu"}
    assert read_layer(layer, "model[0]") == Linear(5, 7, "relu")
    with pytest.raises(InvalidJob, match=r"model\[0\] has the unknown key 'outt' \(did you mean"):
        read_layer({**layer, "outt": 3}, "model[0]")


def test_the_nearest_word_is_only_named_where_one_is_near() -> None:
    assert nearest("lineer", LAYER_TYPES) == " (did you mean 'linear'?)"
    assert nearest("qqq", LAYER_TYPES) == ""


def test_a_job_is_checked_as_a_whole(four: Ledger) -> None:
    assert check_job(four.params, four.manifest_bytes) == four.manifest
    with pytest.raises(InvalidJob, match="manifest_hash is not"):
        check_job(four.params, four.manifest_bytes + b" ")
    with pytest.raises(InvalidJob, match=r"params\.window"):
        check_job(replace(four.params, window=256), four.manifest_bytes)


def test_a_first_batch_above_the_last_is_refused(four: Ledger) -> None:
    assert four.manifest.strategy.batch_start == four.params.batch_size
    with pytest.raises(InvalidJob, match=r"batch_start is 4, beyond params\.batch_size, 3"):
        check_job(replace(four.params, batch_size=3), four.manifest_bytes)


@pytest.mark.parametrize(
    "manifest",
    [
        model((Linear(2, 1, "none"),), (900,), perturbation=(2, 0)),
        model((Linear(9, 1, "none"),), (5,), task=Values(1)),
        EXAMPLES["gru"],
    ],
    ids=["classes", "values", "bytes"],
)
def test_a_sum_of_losses_that_may_not_fit_40_bits_is_refused(
    four: Ledger, manifest: Manifest
) -> None:
    data = encode_manifest(manifest)
    params = replace(four.params, manifest_hash=sha256(data))
    fits = ((1 << 40) - 1) // max_loss(manifest)
    check_job(replace(params, held_out_count=fits), data)
    with pytest.raises(InvalidJob, match=r"may reach 2\^40"):
        check_job(replace(params, held_out_count=fits + 1), data)
    if fits < 65_536:
        check_job(replace(params, batch_size=fits), data)
        with pytest.raises(InvalidJob, match=r"may reach 2\^40"):
            check_job(replace(params, batch_size=fits + 1), data)
