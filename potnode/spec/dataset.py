"""The canonical dataset file and its root (docs/protocol.md section 4).

A file is a header and samples of one fixed size; training samples come first. What a sample is
depends on the file's kind, which is the task it is for. Where data come from, and turning them into
this file, is `potnode.data`.
"""

from __future__ import annotations

from dataclasses import dataclass

from potnode.spec import tree
from potnode.spec.errors import InvalidDataset
from potnode.spec.hashing import be16, be32, sha256

MAGIC = b"POTDATA1"
HEADER_SIZE = len(MAGIC) + 15
KINDS = ("classes", "bytes", "values", "pairs")
"""Kinds of samples; a kind's place is its code in the header."""
BYTE_VALUES = 256
"""Outputs of a dataset of kind "bytes": any byte may be the next."""


@dataclass(frozen=True, slots=True)
class DatasetHeader:
    """What all samples of a dataset file have in common.

    kind: one of KINDS. input_size: values of one input; of kind "bytes" the bytes of a sample, of
    which every one but the first is predicted. outputs: classes: targets are below it; bytes: 256;
    values: int16 targets a sample; pairs: 1.
    """

    kind: str
    train_count: int
    held_out_count: int
    input_size: int
    outputs: int

    @property
    def count(self) -> int:
        """Samples in all; indices 0..train_count-1 train, the rest are held out."""
        return self.train_count + self.held_out_count

    @property
    def sample_inputs(self) -> int:
        """Bytes of a sample that are inputs: a pair has two inputs, any other kind one."""
        return 2 * self.input_size if self.kind == "pairs" else self.input_size

    @property
    def sample_size(self) -> int:
        """Bytes of one sample: its inputs, then a be32 class, be16 values, or nothing."""
        targets = {"classes": 4, "values": 2 * self.outputs}
        return self.sample_inputs + targets.get(self.kind, 0)


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample as numbers.

    inputs: -127..127; of kind "bytes" 0..255; of kind "pairs" the preferred input and then the
    other. targets: classes: the class; values: every int16; otherwise empty.
    """

    inputs: tuple[int, ...]
    targets: tuple[int, ...]


def encode_header(header: DatasetHeader) -> bytes:
    """The bytes a dataset file starts with."""
    return (
        MAGIC
        + bytes([KINDS.index(header.kind)])
        + be32(header.train_count)
        + be32(header.held_out_count)
        + be32(header.input_size)
        + be16(header.outputs)
    )


def decode_header(data: bytes) -> DatasetHeader:
    """Parse and check the header and the length of a whole dataset file.

    Raises:
        InvalidDataset: wrong magic, kind, counts or length.
    """
    if len(data) < HEADER_SIZE or not data.startswith(MAGIC):
        raise InvalidDataset(
            "not a potnode dataset file: it must start with POTDATA1, its kind and its counts"
        )
    kind = data[8]
    if kind >= len(KINDS):
        raise InvalidDataset(f"a dataset is of kind 0..{len(KINDS) - 1}, not {kind}")
    train_count, held_out_count, input_size = (
        int.from_bytes(data[at : at + 4], "big") for at in (9, 13, 17)
    )
    outputs = int.from_bytes(data[21:HEADER_SIZE], "big")
    header = DatasetHeader(KINDS[kind], train_count, held_out_count, input_size, outputs)
    check_header(header)
    expected = HEADER_SIZE + header.count * header.sample_size
    if len(data) != expected:
        raise InvalidDataset(
            f"a dataset of these counts has {expected} bytes, the file has {len(data)}"
        )
    return header


def check_header(header: DatasetHeader) -> None:
    """InvalidDataset unless there can be samples of this kind, and one to train."""
    if header.train_count < 1:
        raise InvalidDataset("a dataset needs a training sample")
    least = 2 if header.kind == "bytes" else 1
    if header.input_size < least:
        raise InvalidDataset(
            f"a sample of kind {header.kind!r} needs an input size of at least {least}, "
            f"not {header.input_size}"
        )
    fits, wanted = {
        "classes": (header.outputs >= 2, "at least two classes"),
        "bytes": (header.outputs == BYTE_VALUES, f"{BYTE_VALUES} outputs"),
        "values": (header.outputs >= 1, "at least one output"),
        "pairs": (header.outputs == 1, "one output"),
    }[header.kind]
    if not fits:
        raise InvalidDataset(
            f"a dataset of kind {header.kind!r} has {wanted}, not {header.outputs}"
        )


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


def read_sample(data: bytes, header: DatasetHeader, index: int) -> Sample:
    """One sample of a dataset file.

    Raises:
        InvalidDataset: there is no such sample, or `decode_sample` refuses it.
    """
    if not 0 <= index < header.count:
        raise InvalidDataset(f"there is no sample {index}, the file has {header.count}")
    at = HEADER_SIZE + index * header.sample_size
    return decode_sample(header, index, data[at : at + header.sample_size])


def decode_sample(header: DatasetHeader, index: int, sample: bytes) -> Sample:
    """The numbers of sample `index` from its bytes.

    Raises:
        InvalidDataset: an input is -128, which no activation may be, or the target is not a class.
    """
    raw, rest = sample[: header.sample_inputs], sample[header.sample_inputs :]
    if header.kind == "bytes":
        return Sample(tuple(raw), ())
    inputs = tuple(b - 256 if b > 127 else b for b in raw)
    if -128 in inputs:
        raise InvalidDataset(f"sample {index} has an input of -128, the least is -127")
    if header.kind == "classes":
        target = int.from_bytes(rest, "big")
        if target >= header.outputs:
            raise InvalidDataset(
                f"sample {index} has the target {target}, the classes are 0..{header.outputs - 1}"
            )
        return Sample(inputs, (target,))
    values = (rest[i : i + 2] for i in range(0, len(rest), 2))
    return Sample(inputs, tuple(int.from_bytes(v, "big", signed=True) for v in values))
