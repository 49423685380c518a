"""A dataset in memory: the canonical file as numpy arrays, checked, with its root.

Not responsible for where files come from (`potnode.data.catalog`) or how they are made
(`potnode.data.freeze`).
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt

from potnode.data.errors import BadDataset, DataError, WrongRoot
from potnode.spec import tree
from potnode.spec.dataset import HEADER_SIZE, DatasetHeader, decode_header
from potnode.spec.errors import InvalidDataset
from potnode.spec.hashing import be32

_FORBIDDEN = -128  # no activation may be it (docs/protocol.md section 3)


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """A whole dataset; training samples first, then the held-out ones.

    inputs: int8 [count, input_size], -127..127. targets: int32 [count], 0..classes-1. root: the
    dataRoot, 32 bytes. The arrays are read-only.
    """

    name: str
    header: DatasetHeader
    inputs: npt.NDArray[np.int8]
    targets: npt.NDArray[np.int32]
    root: bytes

    @classmethod
    def from_bytes(cls, name: str, data: bytes, *, expected_root: bytes | None = None) -> Dataset:
        """Check a canonical file and compute its root.

        Args:
            name: what messages call it. expected_root: 32 bytes the root must be, if given.

        Raises:
            BadDataset: the file breaks a rule. WrongRoot: its root is not `expected_root`.
        """
        try:
            header = decode_header(data)
        except InvalidDataset as error:
            raise BadDataset(f"dataset {name!r}: {error}") from error
        samples = np.frombuffer(data, np.uint8, offset=HEADER_SIZE).reshape(
            header.count, header.sample_size
        )
        inputs = np.ascontiguousarray(samples[:, : header.input_size]).view(np.int8)
        wide = np.ascontiguousarray(samples[:, header.input_size :]).view(">u4")[:, 0]
        bad = (inputs == _FORBIDDEN).any(axis=1) | (wide >= header.classes)
        if bad.any():
            raise BadDataset(
                f"dataset {name!r}: sample {int(bad.argmax())} has an input of -128 "
                f"or a target that is none of {header.classes} classes"
            )
        root = _root(data, header)
        if expected_root is not None and root != expected_root:
            raise WrongRoot(
                f"dataset {name!r} has the root {root.hex()}, the job names {expected_root.hex()}: "
                "fetch the file the job was created with"
            )
        targets = wide.astype(np.int32)
        inputs.setflags(write=False)
        targets.setflags(write=False)
        return cls(name, header, inputs, targets, root)

    @classmethod
    def load(cls, path: Path, *, expected_root: bytes | None = None) -> Dataset:
        """Read a file; its name without the suffix names the dataset.

        Raises:
            DataError: the file can't be read, breaks a rule, or has another root.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DataError(f"can't read dataset {path}: {error.strerror}") from error
        return cls.from_bytes(path.stem, data, expected_root=expected_root)


def _root(data: bytes, header: DatasetHeader) -> bytes:
    """`potnode.spec.dataset.dataset_root`, without copying the samples."""
    view, size = memoryview(data)[HEADER_SIZE:], header.sample_size
    leaves = []
    for i in range(header.count):
        leaf = sha256(tree.LEAF_TAG + be32(i))
        leaf.update(view[i * size : (i + 1) * size])
        leaves.append(leaf.digest())
    return tree.root(leaves)
