from __future__ import annotations

import hashlib

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from potnode.spec import tree
from potnode.spec.dataset import (
    HEADER_SIZE,
    KINDS,
    DatasetHeader,
    Sample,
    dataset_root,
    decode_header,
    encode_header,
    read_sample,
    sample_leaf,
)
from potnode.spec.errors import InvalidDataset
from potnode.spec.vectors.ledger import dataset_file
from potnode.spec.vectors.numbers import other_dataset_files

FILE = dataset_file()
HEADER = decode_header(FILE)
FILES = {decode_header(file).kind: file for file in (FILE, *other_dataset_files())}
LEAST = {"classes": (1, 2), "bytes": (2, 256), "values": (1, 1), "pairs": (1, 1)}
MOST = {"classes": 65_535, "bytes": 256, "values": 9, "pairs": 1}


@st.composite
def headers(draws: st.DrawFn) -> DatasetHeader:
    kind = draws(st.sampled_from(KINDS))
    size, outputs = LEAST[kind]
    return DatasetHeader(
        kind,
        draws(st.integers(1, 20)),
        draws(st.integers(0, 20)),
        draws(st.integers(size, 30)),
        draws(st.integers(outputs, MOST[kind])),
    )


def blank(header: DatasetHeader) -> bytes:
    return encode_header(header) + bytes(header.count * header.sample_size)


@given(headers(), st.binary(max_size=3))
def test_a_header_comes_back_and_the_length_must_fit(header: DatasetHeader, surplus: bytes) -> None:
    data = blank(header)
    assert len(encode_header(header)) == HEADER_SIZE == 23
    assert decode_header(data) == header
    for wrong in (data[:-1], data + b"\x00" + surplus):
        with pytest.raises(InvalidDataset, match=f"has {len(data)} bytes, the file has"):
            decode_header(wrong)


def test_a_header_is_laid_out_as_the_protocol_says() -> None:
    assert encode_header(DatasetHeader("values", 1, 2, 3, 4)) == (
        b"POTDATA1\x02" + b"\0\0\0\x01" + b"\0\0\0\x02" + b"\0\0\0\x03" + b"\0\x04"
    )
    assert KINDS == ("classes", "bytes", "values", "pairs")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a potnode dataset"),
        (b"POTDATA2" + FILE[8:], "not a potnode dataset"),
        (FILE[: HEADER_SIZE - 1], "not a potnode dataset"),
        (FILE[:8] + b"\x04" + FILE[9:], "of kind 0..3, not 4"),
        (blank(DatasetHeader("classes", 0, 1, 1, 2)), "needs a training sample"),
        (blank(DatasetHeader("classes", 1, 0, 0, 2)), "input size of at least 1, not 0"),
        (blank(DatasetHeader("classes", 1, 0, 1, 1)), "at least two classes, not 1"),
        (blank(DatasetHeader("bytes", 1, 0, 1, 256)), "input size of at least 2, not 1"),
        (blank(DatasetHeader("bytes", 1, 0, 2, 255)), "256 outputs, not 255"),
        (blank(DatasetHeader("values", 1, 0, 1, 0)), "at least one output, not 0"),
        (blank(DatasetHeader("pairs", 1, 0, 1, 2)), "one output, not 2"),
    ],
)
def test_a_wrong_header_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(InvalidDataset, match=message):
        decode_header(data)


@pytest.mark.parametrize("kind", KINDS)
def test_the_root_is_that_of_indexed_samples(kind: str) -> None:
    file = FILES[kind]
    header = decode_header(file)
    size = header.sample_size
    width = {"classes": 4, "values": 2}.get(kind, 0)
    leaves = []
    for i in range(header.count):
        sample = read_sample(file, header, i)
        raw = bytes(v % 256 for v in sample.inputs)
        raw += b"".join((t % (1 << 8 * width)).to_bytes(width, "big") for t in sample.targets)
        assert raw == file[23 + i * size : 23 + (i + 1) * size]
        leaf = hashlib.sha256(b"\x00" + i.to_bytes(4, "big") + raw).digest()
        assert sample_leaf(i, raw) == leaf
        leaves.append(leaf)
    assert dataset_root(file) == tree.root(leaves)
    assert len(leaves) == header.train_count + header.held_out_count


@given(st.sampled_from(KINDS), st.data(), st.integers(1, 255))
def test_every_byte_of_every_sample_is_bound_by_the_root(
    kind: str, data: st.DataObject, flip: int
) -> None:
    file = FILES[kind]
    changed = bytearray(file)
    changed[data.draw(st.integers(HEADER_SIZE, len(file) - 1))] ^= flip
    assert dataset_root(bytes(changed)) != dataset_root(file)


@given(headers(), st.data())
def test_samples_are_numbers_of_their_kind(header: DatasetHeader, data: st.DataObject) -> None:
    size = header.sample_size
    raw = data.draw(st.binary(min_size=size, max_size=size))
    inputs, rest = raw[: header.sample_inputs], raw[header.sample_inputs :]
    if header.kind == "bytes":
        expected = Sample(tuple(inputs), ())
    else:
        assume(0x80 not in inputs)
        signed = tuple(int.from_bytes([b], signed=True) for b in inputs)
        if header.kind == "classes":
            target = int.from_bytes(rest, "big") % header.outputs
            rest = target.to_bytes(4, "big")
            expected = Sample(signed, (target,))
        else:
            values = [rest[i : i + 2] for i in range(0, len(rest), 2)]
            targets = (int.from_bytes(v, "big", signed=True) for v in values)
            expected = Sample(signed, tuple(targets))
    file = encode_header(header) + (inputs + rest) * header.count
    assert read_sample(file, header, header.count - 1) == expected
    counts = {"classes": 1, "values": header.outputs}
    assert len(expected.targets) == counts.get(header.kind, 0)


@pytest.mark.parametrize("kind", ["classes", "values", "pairs"])
def test_an_input_of_minus_128_is_refused(kind: str) -> None:
    file, header = bytearray(FILES[kind]), decode_header(FILES[kind])
    file[HEADER_SIZE + header.sample_inputs - 1] = 0x80
    with pytest.raises(InvalidDataset, match="sample 0 has an input of -128"):
        read_sample(bytes(file), header, 0)


def test_a_target_that_is_no_class_is_refused() -> None:
    target = bytearray(FILE)
    target[HEADER_SIZE + HEADER.sample_size - 1] = HEADER.outputs
    with pytest.raises(InvalidDataset, match=r"sample 0 has the target 3, the classes are 0\.\.2"):
        read_sample(bytes(target), HEADER, 0)


def test_there_are_no_samples_but_those_counted() -> None:
    for index in (-1, HEADER.count):
        with pytest.raises(InvalidDataset, match="there is no sample"):
            read_sample(FILE, HEADER, index)
