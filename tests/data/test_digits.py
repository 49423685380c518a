"""The built-in dataset and its job."""

from __future__ import annotations

from hashlib import sha256
from importlib.resources import files

import numpy as np
from sklearn.datasets import load_digits

from potnode.data import digits
from potnode.engine.engine import Engine
from potnode.spec.manifest import decode_manifest, encode_manifest


def test_the_file_is_rebuilt_from_its_source_byte_for_byte() -> None:
    source = load_digits()
    rebuilt = digits.build(source.data.astype(np.int64), source.target)
    assert rebuilt == files("potnode.data").joinpath("digits.potdata").read_bytes()


def test_the_dataset_is_what_the_constants_say() -> None:
    dataset = digits.digits()
    assert dataset.root == digits.ROOT
    header = dataset.header
    assert (header.train_count, header.held_out_count) == (digits.TRAIN_COUNT, 297)
    assert (header.input_size, header.classes) == (64, digits.CLASSES)
    held_out = dataset.targets[digits.TRAIN_COUNT :]
    assert set(held_out.tolist()) == set(range(10))


def test_the_manifest_is_canonical() -> None:
    manifest = digits.digits_manifest(bytes(range(32)))
    assert decode_manifest(encode_manifest(manifest)) == manifest
    assert manifest.parameters == 64 * 32 + 32 + 32 * 10 + 10


def test_the_job_learns() -> None:
    """A tenth of the job, at the same schedule: accuracy is far above chance and still rising."""
    manifest = digits.digits_manifest(sha256(b"digits job").digest())
    engine = Engine(manifest, digits.digits(), threads=1)
    state = engine.initial()
    hits = [engine.validate(state).hits]
    for step in range(digits.STEP_LIMIT // 10):
        shares = [sha256(b"%d %d" % (step, i)).digest() for i in range(digits.POPULATION)]
        batch = engine.batch(sha256(b"%d" % step).digest(), digits.BATCH_SIZE)
        losses = engine.losses(state, shares, batch)
        state, _ = engine.advance(state, shares, losses, step, digits.STEP_LIMIT)
        hits.append(engine.validate(state).hits)
    assert hits[0] < 100
    assert hits[-1] > 240
