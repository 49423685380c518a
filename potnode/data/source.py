"""What a reader gives: numbers as they stand in a source, and which bytes they came from.

Responsible for reading and unpacking files too, since every reader of files begins with that.
"""

from __future__ import annotations

import gzip
import io
import zlib
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from potnode.data.errors import BadSource

_GZIP_MAGIC = b"\x1f\x8b"
_MAX_UNPACKED = 1 << 31  # bytes; a few MB of gzip may stand for gigabytes

Numbers = npt.NDArray[Any]
"""An array of integers, booleans or floats; for targets of classes also of strings."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A source, so that anyone can tell whether theirs is the same.

    name: of the file, without folders, or of a bundled set. sha256: hex, of the file as it lies,
    packed or not. size: bytes.
    """

    name: str
    sha256: str
    size: int

    def document(self) -> dict[str, object]:
        """As it stands in a manifest."""
        return {"name": self.name, "sha256": self.sha256, "size": self.size}


@dataclass(frozen=True, slots=True, eq=False)
class Arrays:
    """What a source holds.

    inputs: [n, ...]. targets: [n] or [n, outputs], or None where a sample is all input. other: the
    input each of `inputs` is preferred to, of the same shape, or None. maximum: greatest value an
    input may have if they are counts from 0, such as 255 for pixels; None: not known.
    train_count: that many samples come first to train, where the source says so; None: any may.
    reader: format and what was asked of it, for the manifest.
    """

    inputs: Numbers
    targets: Numbers | None
    origins: tuple[Origin, ...]
    reader: dict[str, object]
    other: Numbers | None = None
    maximum: int | None = None
    train_count: int | None = None


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file's content, unpacked if it was packed by gzip."""

    path: Path
    data: bytes
    origin: Origin


def read_source(path: Path) -> SourceFile:
    """Read a file, and unpack it if it begins as gzip does, whatever it is called.

    Raises:
        BadSource: it can't be read, is empty, or its gzip is damaged or cut off.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BadSource(f"can't read {path}: {error.strerror}") from error
    origin = Origin(path.name, sha256(raw).hexdigest(), len(raw))
    data = raw
    if raw.startswith(_GZIP_MAGIC):
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(raw)) as packed:
                data = packed.read(_MAX_UNPACKED + 1)
        except (EOFError, OSError, zlib.error) as error:
            raise BadSource(
                f"{path}: its gzip is cut off or damaged ({error}); fetch the file again"
            ) from error
    if len(data) > _MAX_UNPACKED:
        raise BadSource(f"{path} unpacks to more than {_MAX_UNPACKED} bytes: unpack it yourself")
    if not data:
        raise BadSource(f"{path} is empty")
    return SourceFile(path, data, origin)


def check_numbers(array: Numbers, what: str) -> None:
    """BadSource, saying where, unless every element is a finite number."""
    if array.dtype.kind not in "biuf":
        raise BadSource(f"{what} has the type {array.dtype}, not numbers")
    if array.dtype.kind == "f":
        finite = np.isfinite(array)
        if not finite.all():
            place = np.unravel_index(int(finite.argmin()), array.shape)
            at = ", ".join(str(int(i)) for i in place)
            raise BadSource(
                f"{what} has {array[place]} at [{at}] (counted from 0): "
                "replace it with a number or leave the sample out"
            )
