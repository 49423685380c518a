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
from potnode.spec.dataset import HEADER_SIZE, DatasetHeader, Sample, decode_header, decode_sample
from potnode.spec.errors import InvalidDataset
from potnode.spec.hashing import be32

_FORBIDDEN = -128  # no activation may be it (docs/protocol.md section 3)


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """A whole dataset; training samples first, then the held-out ones.

    inputs: int8 [count, input_size], -127..127; of kind "bytes" every byte 0..255 viewed as int8;
    of kind "pairs" [count, 2 * input_size], the preferred input first. targets: int32: classes
    [count], 0..outputs-1; values [count, outputs], -32768..32767; otherwise [count, 0]. root: the
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
        inputs = np.ascontiguousarray(samples[:, : header.sample_inputs]).view(np.int8)
        targets, bad = _targets(np.ascontiguousarray(samples[:, header.sample_inputs :]), header)
        if header.kind != "bytes":
            bad |= (inputs == _FORBIDDEN).any(axis=1)
        if bad.any():
            index = int(bad.argmax())
            try:
                decode_sample(header, index, samples[index].tobytes())
            except InvalidDataset as error:
                raise BadDataset(f"dataset {name!r}: {error}") from error
        root = _root(data, header)
        if expected_root is not None and root != expected_root:
            raise WrongRoot(
                f"dataset {name!r} has the root {root.hex()}, the job names {expected_root.hex()}: "
                "fetch the file the job was created with"
            )
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

    def sample(self, index: int) -> Sample:
        """Sample `index` (0..count-1) as the specification has it."""
        inputs = self.inputs[index]
        if self.header.kind == "bytes":
            inputs = inputs.view(np.uint8)
        return Sample(tuple(inputs.tolist()), tuple(self.targets[index].reshape(-1).tolist()))


def _targets(
    raw: npt.NDArray[np.uint8], header: DatasetHeader
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool]]:
    """Targets from their bytes [count, n], and which of them break a rule [count]."""
    if header.kind == "classes":
        wide = raw.view(">u4")[:, 0]
        return wide.astype(np.int32), wide >= header.outputs
    none_is_bad = np.zeros(header.count, np.bool)
    if header.kind == "values":
        return raw.view(">i2").astype(np.int32), none_is_bad
    return np.zeros((header.count, 0), np.int32), none_is_bad


def _root(data: bytes, header: DatasetHeader) -> bytes:
    """`potnode.spec.dataset.dataset_root`, without copying the samples."""
    view, size = memoryview(data)[HEADER_SIZE:], header.sample_size
    leaves = []
    for i in range(header.count):
        leaf = sha256(tree.LEAF_TAG + be32(i))
        leaf.update(view[i * size : (i + 1) * size])
        leaves.append(leaf.digest())
    return tree.root(leaves)
