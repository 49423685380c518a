"""SHA-256 of many short messages at once.

Responsible for compiling `potnode.machinecode.hashing_source` for this CPU, and for `MessageHash`.
Not for threads: it works in the calling one and lets go of the interpreter's lock meanwhile, so
whoever has cores to spare gives each its share of the heads.

On a CPU that has both, 16 lanes of AVX-512 measured two to three times as fast as the SHA
extensions. AVX2 and SSE2 have no instruction that rotates, which is much of what hashing is, so
there the extensions are taken where they are.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from potnode.machinecode.compiler import Compiled, host_has_sha, native_lanes
from potnode.machinecode.errors import MachineCodeError
from potnode.machinecode.hashing_source import DIGEST_SIZE, MAX_SIZE, source

_SHA_WAYS: Final = 8
_WIDE: Final = 16  # lanes of AVX-512
_KEPT: Final = 64  # compiled sizes, of some 20 KiB each
_HASH = ctypes.CFUNCTYPE(
    None,
    ctypes.c_void_p,
    ctypes.c_uint64,
    ctypes.c_void_p,
    ctypes.c_uint64,
    ctypes.c_float,
    ctypes.c_void_p,
)


@lru_cache(maxsize=_KEPT)
def _compiled(
    head_size: int, tail_size: int, ways: int, sha: bool, weights: bool
) -> tuple[Compiled, Callable[..., None]]:
    """The owner of the machine code, and the code as a function."""
    if sys.byteorder != "little":
        raise MachineCodeError("the code that hashes messages needs a little-endian CPU")
    text = source(head_size, tail_size, ways=ways, sha=sha, weights=weights)
    code = Compiled(text, optimisation=2)
    return code, _HASH(code.address("hash"))


class MessageHash:
    """Hashes every head with every tail: the messages are head | tail.

    Equal-length messages are heads with one empty tail. Safe to use from several threads.
    """

    def __init__(
        self,
        head_size: int,
        tail_size: int = 0,
        *,
        weights: bool = False,
        ways: int | None = None,
        sha: bool | None = None,
    ) -> None:
        """Compile if these sizes are new to the process; it takes a second or less.

        Args:
            head_size, tail_size: bytes of each, together 0 to 55.
            weights: give weights instead of digests, see `hash`.
            ways, sha: heads side by side, and whether with x86's SHA extensions; by default what
                this CPU is best at.

        Raises:
            ValueError: the messages have not one block. MachineCodeError: there is no code for this
            machine.
        """
        if head_size < 0 or tail_size < 0 or head_size + tail_size > MAX_SIZE:
            raise ValueError(
                f"a message of {head_size} + {tail_size} bytes has not one block: "
                f"at most {MAX_SIZE}"
            )
        if sha is None:
            sha = host_has_sha() and native_lanes() < _WIDE
        if ways is None:
            ways = _SHA_WAYS if sha else native_lanes()
        self.head_size, self.tail_size, self.weights = head_size, tail_size, weights
        self._owner, self._code = _compiled(head_size, tail_size, ways, sha, weights)

    def hash(self, heads: bytes | bytearray, tails: bytes, out: int, *, scale: float = 1.0) -> None:
        """Hash every head with every tail, and write 32 bytes for each pair.

        Args:
            heads, tails: one after another, at least one head. With a tail_size of 0 there is one
                tail, and `tails` is empty.
            out: address of 32 bytes * heads * tails that nobody else writes to; in bytes, the
                result of head i and tail j begins at 32 * (i * number of tails + j). It is the
                digest. With `weights` it is eight float32 in this machine's byte order,
                ((w >> 8) - 2^23) * scale for the digest's big-endian words w: one exact integer and
                one rounded product with float32(scale).

        Raises:
            ValueError: heads or tails have another length.
        """
        count = self._count(heads, self.head_size, "heads")
        tail_count = self._count(tails, self.tail_size, "tails")
        if isinstance(heads, bytearray):
            place = (ctypes.c_char * len(heads)).from_buffer(heads)
            self._code(ctypes.addressof(place), count, tails, tail_count, scale, out)
        else:
            self._code(heads, count, tails, tail_count, scale, out)

    def digests(self, heads: bytes | bytearray, tails: bytes = b"") -> bytearray:
        """The digests of every head with every tail, in the order of `hash`; errors as there."""
        count = self._count(heads, self.head_size, "heads")
        found = bytearray(DIGEST_SIZE * count * self._count(tails, self.tail_size, "tails"))
        place = (ctypes.c_char * len(found)).from_buffer(found)
        self.hash(heads, tails, ctypes.addressof(place))
        return found

    @staticmethod
    def _count(data: bytes | bytearray, size: int, what: str) -> int:
        count, rest = divmod(len(data), size) if size else (1, len(data))
        if rest or not count:
            raise ValueError(f"{len(data)} bytes are not one or more {what} of {size} bytes")
        return count
