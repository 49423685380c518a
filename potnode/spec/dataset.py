"""The canonical dataset file and its root (docs/protocol.md section 4).

A file is a header and samples of one fixed size; training samples come first. Where data come from,
and turning them into this file, is `potnode.data`.
"""

from __future__ import annotations

from dataclasses import dataclass

from potnode.spec import tree
from potnode.spec.errors import InvalidDataset
from potnode.spec.hashing import be16, be32, sha256

MAGIC = b"POTDATA1"
HEADER_SIZE = len(MAGIC) + 14


@dataclass(frozen=True, slots=True)
class DatasetHeader:
    """Counts of a dataset file. input_size: int8 inputs a sample; classes: targets are below it."""

    train_count: int
    held_out_count: int
    input_size: int
    classes: int

    @property
    def count(self) -> int:
        """Samples in all; indices 0..train_count-1 train, the rest are held out."""
        return self.train_count + self.held_out_count

    @property
    def sample_size(self) -> int:
        """Bytes of one sample: the inputs and a be32 target."""
        return self.input_size + 4


def encode_header(header: DatasetHeader) -> bytes:
    """The bytes a dataset file starts with."""
    return (
        MAGIC
        + be32(header.train_count)
        + be32(header.held_out_count)
        + be32(header.input_size)
        + be16(header.classes)
    )


def decode_header(data: bytes) -> DatasetHeader:
    """Parse and check the header and the length of a whole dataset file.

    Raises:
        InvalidDataset: wrong magic, counts or length.
    """
    if len(data) < HEADER_SIZE or not data.startswith(MAGIC):
        raise InvalidDataset(
            "not a potnode dataset file: it must start with POTDATA1 and its counts"
        )
    train_count, held_out_count, input_size = (
        int.from_bytes(data[at : at + 4], "big") for at in (8, 12, 16)
    )
    classes = int.from_bytes(data[20:HEADER_SIZE], "big")
    header = DatasetHeader(train_count, held_out_count, input_size, classes)
    expected = HEADER_SIZE + header.count * header.sample_size
    if len(data) != expected:
        raise InvalidDataset(
            f"a dataset of these counts has {expected} bytes, the file has {len(data)}"
        )
    if header.train_count < 1 or header.input_size < 1 or header.classes < 2:
        raise InvalidDataset("a dataset needs a training sample, an input and two classes")
    return header


def sample_leaf(index: int, sample: bytes) -> bytes:
    """Leaf hash of sample `index`: its bytes as they stand in the file."""
    return sha256(tree.LEAF_TAG + be32(index) + sample)


def dataset_root(data: bytes) -> bytes:
    """dataRoot of a dataset file; InvalidDataset where it is malformed."""
    header = decode_header(data)
    size = header.sample_size
    return tree.root(
        [
            sample_leaf(i, data[HEADER_SIZE + i * size : HEADER_SIZE + (i + 1) * size])
            for i in range(header.count)
        ]
    )


def read_sample(data: bytes, header: DatasetHeader, index: int) -> tuple[list[int], int]:
    """Inputs (-127..127) and target of one sample.

    Raises:
        InvalidDataset: there is no such sample, an input is -128, which no activation may be, or
            the target is not a class.
    """
    if not 0 <= index < header.count:
        raise InvalidDataset(f"there is no sample {index}, the file has {header.count}")
    at = HEADER_SIZE + index * header.sample_size
    inputs = [b - 256 if b > 127 else b for b in data[at : at + header.input_size]]
    target = int.from_bytes(data[at + header.input_size : at + header.sample_size], "big")
    if -128 in inputs or target >= header.classes:
        raise InvalidDataset(f"sample {index} has an input of -128 or a target that is no class")
    return inputs, target
