"""How numba compiles the kernels: on first use, in seconds, then kept in files on disk.

Kernels run without the interpreter's lock and start no threads.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

from potnode.spec import loss, manifest

# numba's cache knows when the file of a function changed, not when one that it calls did, nor when
# a number it has from elsewhere did.
_FOLDER = Path(__file__).parent
_NUMBERS = [_FOLDER.parent / "loss.py", *map(Path, (loss.__file__, manifest.__file__))]
_SOURCES = sha256(
    b"".join(path.read_bytes() for path in [*sorted(_FOLDER.glob("*.py")), *_NUMBERS])
).hexdigest()


class _Files(IndexDataCacheFile):
    """A file for each function, its types, the processor and the sources, and no other.

    numba's own index numbers the files and is written before them. Who is killed in between, or
    reads, or writes at the same time, may get the code of other sources or types by its number.
    """

    def __init__(self, folder: str, base: str) -> None:
        super().__init__(folder, f"{base}.{_SOURCES[:16]}", None)  # type: ignore[no-untyped-call]
        self._folder, self._base = Path(folder), base

    def save(self, key: Any, data: Any) -> None:
        """Write the code, and remove that of other sources."""
        self._save_data(self._name(key), data)  # type: ignore[no-untyped-call]
        for old in self._folder.glob(f"{self._base}.*.nbc"):
            if old.name.split(".")[-3] != _SOURCES[:16]:
                old.unlink(missing_ok=True)

    def load(self, key: Any) -> Any:
        """The code, or None where there is none, or a file that was cut off."""
        try:
            return self._load_data(self._name(key))  # type: ignore[no-untyped-call]
        except (OSError, EOFError, UnpicklingError):
            return None

    def _name(self, key: Any) -> str:
        digest = sha256(f"{numba.__version__} {key!r}".encode()).digest()
        number = int.from_bytes(digest[:16], "big")
        return str(self._data_name(number))  # type: ignore[no-untyped-call]


class _Cache(FunctionCache):
    """numba's cache with such files. Where they can't be written every process compiles."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]
        self._cache_file = _Files(self._cache_path, self._impl.filename_base)

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the machine code, unless the disk does not take it."""
        with suppress(OSError):
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]


def compiled(function: Callable[..., Any]) -> Any:
    """The function in machine code, compiled at its first call. Integers wrap, nothing is checked.

    It makes no arrays, so that numba counts no references to them: threads would wait for each
    other's counting of those that they share. Callers bring all memory. Floats are never reordered
    or approximated: numba does neither unless it is asked to.
    """
    return _dispatcher(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Part of each kernel that calls it, and not compiled by itself.

    A call would cost: an array is seven arguments.
    """
    return _dispatcher(function, inline="always")


def _dispatcher(function: Callable[..., Any], **more: Any) -> Any:
    options: dict[str, Any] = {
        "nogil": True,
        "error_model": "numpy",
        "_nrt": False,
        "no_cfunc_wrapper": True,
        **more,
    }
    kernel: Any = numba.njit(**options)(function)
    with suppress(RuntimeError):  # there is no folder it may write to: every process compiles
        kernel._cache = _Cache(function)
    return kernel
