"""SHA256d of one header over a range of nonces, as fast as this CPU's vector units allow.

Responsible for compiling `potnode.miner.kernel_source` for the CPU it runs on and for `HeaderScan`,
which finds exactly the nonces that meet a target. Not for where headers come from or who scans.

The code is compiled in memory on first use, in about half a second. ctypes releases the
interpreter's lock while it runs.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable
from functools import cache

from potnode.machinecode.compiler import Compiled, native_lanes
from potnode.machinecode.errors import MachineCodeError
from potnode.miner.errors import KernelError
from potnode.miner.kernel_source import prepare, source

NONCES = 1 << 32  # a header has four bytes of nonce
_HEADER_SIZE = 76
_HASH_BITS, _TOP_SHIFT = 256, 224
_SCAN = ctypes.CFUNCTYPE(
    ctypes.c_uint64,
    ctypes.c_void_p,
    ctypes.c_uint32,
    ctypes.c_uint64,
    ctypes.c_uint32,
    ctypes.c_void_p,
)


@cache
def _compiled(lanes: int) -> tuple[Compiled, Callable[..., int]]:
    """The owner of the machine code, and the code as a function."""
    try:
        code = Compiled(source(lanes), optimisation=3)
    except MachineCodeError as error:
        raise KernelError(f"there is no hashing code for this machine: {error}") from error
    return code, _SCAN(code.address("scan"))


class HeaderScan:
    """One header, ready to be tried with nonces."""

    __slots__ = ("_code", "_first_76", "_lanes", "_mask", "_prepared")

    def __init__(self, header76: bytes, *, lanes: int | None = None) -> None:
        """Compile if this is the first scan of the process, and hash what all nonces share.

        Args:
            header76: the header's first 76 bytes.
            lanes: nonces side by side (4, 8, 16, 32 or 64); by default what the CPU is best at.

        Raises:
            ValueError: not 76 bytes. KernelError: no code could be made for this machine.
        """
        if len(header76) != _HEADER_SIZE:
            raise ValueError(f"a header without its nonce has 76 bytes, not {len(header76)}")
        self._lanes = lanes or native_lanes()
        _, self._code = _compiled(self._lanes)
        self._first_76 = hashlib.sha256(header76)
        self._prepared = (ctypes.c_uint32 * 11)(*prepare(header76))
        self._mask = ctypes.c_uint64()

    def scan(self, first: int, count: int, target: int) -> list[int]:
        """Nonces n, first <= n < first + count, ascending, with int_le(sha256d(header)) <= target.

        All of them and no other: the vector code proposes by the hash's top 32 bits, and every
        proposal is hashed again by hashlib and compared in full.

        Args:
            first: 0..2^32-1, as the number whose little-endian bytes end the header.
            count: first + count <= 2^32. target: 0..2^256-1.
        """
        if not (first >= 0 and count >= 0 and first + count <= NONCES):
            raise ValueError(f"nonces {first}..{first + count} are not within 0..2^32")
        if not 0 <= target < 1 << _HASH_BITS:
            raise ValueError("a target is an unsigned 256-bit integer")
        lanes, top = self._lanes, target >> _TOP_SHIFT
        prepared, mask = ctypes.addressof(self._prepared), ctypes.addressof(self._mask)
        found: list[int] = []
        at, end = first, first + count
        while at < end:
            blocks = -(-(end - at) // lanes)
            passed = self._code(prepared, at, blocks, top, mask)
            at += passed * lanes
            if passed == blocks:
                break
            bits = self._mask.value
            proposed = [at + lane for lane in range(min(lanes, end - at)) if bits >> lane & 1]
            found += [nonce for nonce in proposed if self._hash(nonce) <= target]
            at += lanes
        return found

    def _hash(self, nonce: int) -> int:
        inner = self._first_76.copy()
        inner.update(nonce.to_bytes(4, "little"))
        return int.from_bytes(hashlib.sha256(inner.digest()).digest(), "little")
