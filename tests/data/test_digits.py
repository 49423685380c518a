"""The built-in dataset."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
from sklearn.datasets import load_digits

from potnode.data import digits


def test_the_file_is_rebuilt_from_its_source_byte_for_byte() -> None:
    source = load_digits()
    rebuilt = digits.build(source.data.astype(np.int64), source.target)
    assert rebuilt == files("potnode.data").joinpath("digits.potdata").read_bytes()


def test_the_dataset_is_what_the_constants_say() -> None:
    dataset = digits.digits()
    assert dataset.root == digits.ROOT
    header = dataset.header
    assert (header.train_count, header.held_out_count) == (digits.TRAIN_COUNT, 297)
    assert (header.input_size, header.outputs) == (64, digits.CLASSES)
    held_out = dataset.targets[digits.TRAIN_COUNT :]
    assert set(held_out.tolist()) == set(range(10))
