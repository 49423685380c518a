"""Block templates: what a job's header and coinbase are built from, before a miner is known.

A `Template` has the coinbase with its holes empty, in the form of docs/protocol.md section 2.
Sources implement `TemplateSource`. Filling a template for one miner is `potnode.work.jobs`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from potnode.spec.work import EXTRANONCE_SIZE, MARKER_PREFIX
from potnode.work.parent import ParentBlock

COINBASE_VERSION = (2).to_bytes(4, "little")
FINAL_SEQUENCE = b"\xff\xff\xff\xff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One block template.

    version, nbits, ntime: numbers as in the header, the version with the rolling bits zero.
    prev_hash_le: 32 bytes as in the header. coinbase: stripped serialisation, holes zero.
    script_at: place of the miner's payout script, 0 for none. branch: siblings of the coinbase,
    32 bytes each. network_target: a hash at or below it is a block of the parent chain, 0 for none.
    parent: the rest of that block, None for standalone work, which has nothing to submit.
    """

    version: int
    prev_hash_le: bytes
    nbits: int
    ntime: int
    coinbase: bytes
    script_at: int = 0
    branch: tuple[bytes, ...] = ()
    network_target: int = 0
    parent: ParentBlock | None = None


class TemplateSource(Protocol):
    """What the node needs of a source of templates."""

    def current(self, now: int) -> Template | None:
        """The template to mine on at `now` (Unix seconds); None while there is none yet."""
        ...

    def problems(self) -> Sequence[str]:
        """What an operator should know of: empty while all is well."""
        ...


def height_script(height: int) -> bytes:
    """A block's height as BIP34 has it at the scriptSig's start: minimally pushed script number."""
    if height < 0:
        raise ValueError("a height is not negative")
    if height <= 16:
        return bytes([0x50 + height]) if height else b"\x00"
    number = height.to_bytes((height.bit_length() + 8) // 8, "little")  # room for the sign bit
    return bytes([len(number)]) + number


def payout_place(script_sig_head: bytes) -> int:
    """Where the first output's script stands in `build_coinbase(script_sig_head, ...)`.

    That is `script_at` of a template whose first output pays each miner's own script.
    """
    # version, input count, outpoint, length, scriptSig with the extranonce's push, sequence,
    # output count, value
    return 4 + 1 + 36 + 1 + len(script_sig_head) + 1 + EXTRANONCE_SIZE + 4 + 1 + 8


def build_coinbase(script_sig_head: bytes, outputs: Sequence[tuple[int, bytes | None]]) -> bytes:
    """A coinbase with empty holes: height and tag, extranonce, outputs, then the marker output.

    Args:
        script_sig_head: what precedes the extranonce push; at most 83 bytes.
        outputs: value in satoshi and script of every output before the marker's; None leaves the
            script and its length byte out, for the miner's own to be put there.
    """
    # The push opcode lets the scriptSig read as well-formed script: data of 16 bytes.
    script_sig = script_sig_head + bytes([EXTRANONCE_SIZE]) + bytes(EXTRANONCE_SIZE)
    marker_script = MARKER_PREFIX + bytes(32)
    all_outputs = [*outputs, (0, marker_script)]
    return b"".join(
        [
            COINBASE_VERSION,
            b"\x01" + bytes(32) + b"\xff\xff\xff\xff",
            bytes([len(script_sig)]) + script_sig,
            FINAL_SEQUENCE,
            bytes([len(all_outputs)]),
            *(v.to_bytes(8, "little") + _with_length(s) for v, s in all_outputs),
            bytes(4),
        ]
    )


def _with_length(script: bytes | None) -> bytes:
    return b"" if script is None else bytes([len(script)]) + script
