from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potnode.spec import tree
from potnode.spec.dataset import (
    HEADER_SIZE,
    DatasetHeader,
    dataset_root,
    decode_header,
    encode_header,
    read_sample,
    sample_leaf,
)
from potnode.spec.errors import InvalidDataset
from potnode.spec.vectors.ledger import dataset_file

FILE = dataset_file()
HEADER = decode_header(FILE)


@given(
    st.integers(1, 20),
    st.integers(0, 20),
    st.integers(1, 30),
    st.integers(2, 65_535),
    st.binary(max_size=3),
)
def test_a_header_comes_back_and_the_length_must_fit(
    train: int, held_out: int, size: int, classes: int, surplus: bytes
) -> None:
    header = DatasetHeader(train, held_out, size, classes)
    data = encode_header(header) + bytes(header.count * header.sample_size)
    assert len(encode_header(header)) == HEADER_SIZE == 22
    assert decode_header(data) == header
    for wrong in (data[:-1], data + b"\x00" + surplus):
        with pytest.raises(InvalidDataset, match=f"has {len(data)} bytes, the file has"):
            decode_header(wrong)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a potnode dataset"),
        (b"POTDATA2" + FILE[8:], "not a potnode dataset"),
        (encode_header(DatasetHeader(0, 1, 1, 2)) + bytes(5), "needs a training sample"),
        (encode_header(DatasetHeader(1, 0, 0, 2)) + bytes(4), "needs a training sample"),
        (encode_header(DatasetHeader(1, 0, 1, 1)) + bytes(5), "needs a training sample"),
    ],
)
def test_a_wrong_header_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(InvalidDataset, match=message):
        decode_header(data)


def test_the_root_is_that_of_indexed_samples() -> None:
    size = HEADER.input_size + 4
    leaves = []
    for i in range(HEADER.count):
        inputs, target = read_sample(FILE, HEADER, i)
        raw = bytes(v % 256 for v in inputs) + target.to_bytes(4, "big")
        assert raw == FILE[22 + i * size : 22 + (i + 1) * size]
        leaf = hashlib.sha256(b"\x00" + i.to_bytes(4, "big") + raw).digest()
        assert sample_leaf(i, raw) == leaf
        leaves.append(leaf)
    assert dataset_root(FILE) == tree.root(leaves)
    assert len(leaves) == HEADER.train_count + HEADER.held_out_count


@given(st.integers(HEADER_SIZE, len(FILE) - 1), st.integers(1, 255))
def test_every_byte_of_every_sample_is_bound_by_the_root(at: int, flip: int) -> None:
    changed = bytearray(FILE)
    changed[at] ^= flip
    assert dataset_root(bytes(changed)) != dataset_root(FILE)


def test_samples_that_break_a_rule_are_refused() -> None:
    first = bytearray(FILE)
    first[HEADER_SIZE] = 0x80
    with pytest.raises(InvalidDataset, match="sample 0 has an input of -128"):
        read_sample(bytes(first), HEADER, 0)
    target = bytearray(FILE)
    target[HEADER_SIZE + HEADER.sample_size - 1] = HEADER.classes
    with pytest.raises(InvalidDataset, match="a target that is no class"):
        read_sample(bytes(target), HEADER, 0)
    for index in (-1, HEADER.count):
        with pytest.raises(InvalidDataset, match="there is no sample"):
            read_sample(FILE, HEADER, index)
