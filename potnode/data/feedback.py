"""Feedback in files: the parts in which pairs were frozen, put together again and counted.

A part is "POTFEED1" | be32 first | be32 count | be32 input_size, then `count` pairs of int8, the
preferred input before the other (docs/protocol.md section 4). Its name is `<job>.<first>.potfeed`.
Where pairs come from, and when they are frozen, is `potnode.feedback`'s.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from potnode.data.errors import BadDataset, DataError, MissingPart
from potnode.spec import feedback as rules
from potnode.spec import tree
from potnode.spec.dataset import Sample
from potnode.spec.hashing import be32, sha256

MAGIC = b"POTFEED1"
HEADER_SIZE = len(MAGIC) + 12
SUFFIX = ".potfeed"
_FORBIDDEN = -128  # no activation may be it (docs/protocol.md section 3)

Pairs = npt.NDArray[np.int8]
"""[n, 2 * input_size] values -127..127: the preferred input, then the other."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Pairs that were frozen together. first: index of the first of them among the job's."""

    first: int
    pairs: Pairs

    def to_bytes(self) -> bytes:
        """The part's file."""
        count, width = self.pairs.shape
        return MAGIC + be32(self.first) + be32(count) + be32(width // 2) + self.pairs.tobytes()

    @classmethod
    def from_bytes(cls, data: bytes, *, where: str) -> Part:
        """Check a part's file; `where` names it in messages.

        Raises:
            BadDataset: it breaks a rule of the format.
        """
        if len(data) < HEADER_SIZE or not data.startswith(MAGIC):
            raise BadDataset(f"{where} is no part of feedback: it must start with POTFEED1")
        first, count, size = (int.from_bytes(data[at : at + 4], "big") for at in (8, 12, 16))
        if not (count and size) or first + count > rules.MAX_PAIRS:
            raise BadDataset(
                f"{where} says it has {count} pairs of {size} values from {first} on: there must "
                f"be some, and a job has at most {rules.MAX_PAIRS}"
            )
        expected = HEADER_SIZE + count * 2 * size
        if len(data) != expected:
            raise BadDataset(f"{where}: {count} pairs make {expected} bytes, it has {len(data)}")
        pairs = np.frombuffer(data, np.int8, offset=HEADER_SIZE).reshape(count, 2 * size)
        bad = (pairs == _FORBIDDEN).any(axis=1)
        if bad.any():
            raise BadDataset(f"{where}: pair {first + int(bad.argmax())} has a value of -128")
        return cls(first, pairs)


class Roots:
    """data_root of the pairs seen so far, kept up as they are added; `potnode.spec.feedback`'s."""

    def __init__(self) -> None:
        self.count = 0
        # Roots of complete subtrees from left to right, each lower than the one before: a tree
        # whose odd nodes are carried up is these, joined from the right.
        self._peaks: list[tuple[int, bytes]] = []

    def add(self, pair: bytes) -> None:
        """Append a pair's bytes."""
        height, node = 0, rules.leaf(self.count, pair)
        while self._peaks and self._peaks[-1][0] == height:
            node = sha256(tree.NODE_TAG + self._peaks.pop()[1] + node)
            height += 1
        self._peaks.append((height, node))
        self.count += 1

    def copy(self) -> Roots:
        """One that can be added to while this one stays."""
        copied = Roots()
        copied.count, copied._peaks = self.count, self._peaks[:]
        return copied

    @property
    def data_root(self) -> bytes:
        """The root a record has that uses all of them."""
        if not self._peaks:
            return rules.NO_FEEDBACK
        root = self._peaks[-1][1]
        for _, left in reversed(self._peaks[:-1]):
            root = sha256(tree.NODE_TAG + left + root)
        return rules.counted_root(self.count, root)


class Feedback:
    """All pairs of a job that are known here, from the first on."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs
        self._counts: dict[bytes, int] | None = None

    def __len__(self) -> int:
        return len(self.pairs)

    def count_of(self, data_root: bytes) -> int | None:
        """How many pairs a record with this data_root uses; None where it fits no number of them.

        The first call hashes all pairs.
        """
        if self._counts is None:
            roots = Roots()
            self._counts = {roots.data_root: 0}
            for pair in self.pairs:
                roots.add(pair.tobytes())
                self._counts[roots.data_root] = roots.count
        return self._counts.get(data_root)

    def sample(self, index: int) -> Sample:
        """Pair `index` as the specification has it."""
        return Sample(tuple(self.pairs[index].tolist()), ())


NONE = Feedback(np.empty((0, 0), np.int8))
"""Of a job that has none."""


def part_name(job_id: bytes, first: int) -> str:
    """File name of the part that begins with pair `first`."""
    return f"{job_id.hex()}.{first}{SUFFIX}"


def write_part(folder: Path, job_id: bytes, part: Part) -> None:
    """Put a part into a folder, made if missing: all of it or nothing, and on disk. OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / part_name(job_id, part.first)
    temporary = path.with_name(path.name + ".new")
    with temporary.open("wb") as file:
        file.write(part.to_bytes())
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_feedback(job_id: bytes, input_size: int, folders: Sequence[Path]) -> Feedback:
    """The parts of a job in these folders, put together; the first folder wins over the others.

    Raises:
        MissingPart: there are later parts, but not this one. BadDataset: a part is damaged, of
            another job's inputs, or does not follow the one before. DataError: it can't be read.
    """
    parts = []
    following = 0
    for first, path in sorted(_files(job_id, folders).items()):
        if first > following:
            raise missing_part(job_id, following, folders)
        try:
            part = Part.from_bytes(path.read_bytes(), where=str(path))
        except OSError as error:
            raise DataError(f"can't read {path}: {error.strerror}") from error
        if part.first != first or first != following:
            raise BadDataset(
                f"{path} has the pairs from {part.first} on, where {following} is the next: "
                "remove it, and fetch the parts again"
            )
        if part.pairs.shape[1] != 2 * input_size:
            raise BadDataset(
                f"{path} has inputs of {part.pairs.shape[1] // 2} values, the job's have "
                f"{input_size}"
            )
        parts.append(part.pairs)
        following += len(part.pairs)
    empty = np.empty((0, 2 * input_size), np.int8)
    return Feedback(np.concatenate([empty, *parts]))


def missing_part(job_id: bytes, first: int, folders: Sequence[Path]) -> MissingPart:
    """What to raise, and to do, where the pairs from `first` on are needed."""
    name = part_name(job_id, first)
    where = f"put it at {folders[-1] / name}" if folders else "set datasets.path to its folder"
    return MissingPart(
        f"the job uses feedback that is not here, its pairs from {first} on: fetch {name} from the "
        f"operator's node, GET /api/v1/jobs/{job_id.hex()}/feedback/parts/{first}, and {where}"
    )


def _files(job_id: bytes, folders: Iterable[Path]) -> dict[int, Path]:
    found: dict[int, Path] = {}
    name = re.compile(rf"{job_id.hex()}\.(0|[1-9][0-9]{{0,9}}){re.escape(SUFFIX)}")
    for path in _listed(folders):
        if match := name.fullmatch(path.name):
            found.setdefault(int(match[1]), path)
    return found


def _listed(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        try:
            yield from folder.iterdir()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise DataError(f"can't read the folder {folder}: {error.strerror}") from error
