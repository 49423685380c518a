"""Merge-mined work: templates as a Bitcoin node's would be, with the transactions behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from potnode.spec.hashing import be32, sha256, sha256d
from potnode.spec.record import MinerRow, TemplateRow
from potnode.spec.vectors.shares import COMMITMENT, draft
from tests.audit.operating import BITS

NBITS_LE = bytes.fromhex("ffff1f1f")
"""A target four to eight times as hard as that of the tests' shares."""
# One of each kind of address: P2PKH, P2SH, P2WPKH, P2WSH, P2TR.
SCRIPTS = (
    bytes.fromhex("76a914") + b"\x01" * 20 + bytes.fromhex("88ac"),
    bytes.fromhex("a914") + b"\x02" * 20 + bytes.fromhex("87"),
    bytes.fromhex("0014") + b"\x03" * 20,
    bytes.fromhex("0020") + b"\x04" * 32,
    bytes.fromhex("5120") + b"\x05" * 32,
)
SOLO = tuple(MinerRow(bytes([0x30 + i]) * 20, BITS + i % 2, s) for i, s in enumerate(SCRIPTS))
"""Miners whose blocks pay their own scripts."""


@dataclass(frozen=True, slots=True)
class ParentWork:
    """A template on a block, and the ids of the block's transactions after the coinbase."""

    row: TemplateRow
    txids: tuple[bytes, ...]


def parent_work(prev_hash_le: bytes, siblings: int, *, tag: int = 0) -> ParentWork:
    """A template with a branch of so many siblings: as few transactions as give it."""
    count = (1 << siblings - 1) if siblings else 0
    txids = tuple(sha256(b"transaction" + be32(tag) + be32(i)) for i in range(count))
    template = draft(
        script_sig=bytes.fromhex("0340d10c") + b"/potnode/",
        outputs=[b"", COMMITMENT],  # the miner's own, then BIP141's, before the marker
        payout_at=0,
        branch=branch_of(txids),
    )
    return ParentWork(replace(template.row, prev_hash_le=prev_hash_le, nbits_le=NBITS_LE), txids)


def branch_of(txids: Sequence[bytes]) -> list[bytes]:
    """The siblings of a coinbase before these transactions."""
    branch = []
    level: list[bytes] = [bytes(32), *txids]
    while len(level) > 1:
        branch.append(level[1])
        level = _above(level)
    return branch


def root_of(txids: Sequence[bytes]) -> bytes:
    """Merkle root of a block with all these transactions, coinbase included, without a branch."""
    level = list(txids)
    while len(level) > 1:
        level = _above(level)
    return level[0]


def _above(level: list[bytes]) -> list[bytes]:
    if len(level) % 2:
        level = [*level, level[-1]]
    return [sha256d(level[i] + level[i + 1]) for i in range(0, len(level), 2)]
