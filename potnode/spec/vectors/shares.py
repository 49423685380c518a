"""Templates and shares for golden records: coinbases of every form, nonces that meet tiny targets.

A coinbase is put together here from its parts, not with `work.fill_coinbase`: shares can be found
for coinbases that break a rule, too, and the two ways are held against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from potnode.spec import work
from potnode.spec.hashing import be32, be64, sha256d
from potnode.spec.record import Entry, MinerRow, TemplateRow

SEQUENCE = bytes.fromhex("ffffffff")
VERSION_LE = bytes.fromhex("02000000")
LOCKTIME = bytes(4)
P2WPKH = bytes.fromhex("0014") + bytes.fromhex("751e76e8199196d454941c45d1b3a323f1433bd6")
COMMITMENT = bytes.fromhex("6a24aa21a9ed") + bytes(range(32))  # a witness commitment, BIP 141
MARKER_OUTPUT = bytes(8) + b"\x26" + bytes.fromhex("6a24") + b"POT1" + bytes(32)


@dataclass(frozen=True, slots=True)
class Draft:
    """A template and what is needed to fill it without parsing it."""

    row: TemplateRow
    extranonce_at: int
    marker_from_end: int = 36


@dataclass(frozen=True, slots=True)
class Share:
    """A share found: what `record.canonical_order` wants, and its hash."""

    hash_: bytes
    template: TemplateRow
    miner: MinerRow
    entry: Entry


def draft(
    *,
    age: int = 0,
    script_sig: bytes = b"\x03\x01\x02\x03potnode",
    outputs: Sequence[bytes] = (),
    payout_at: int | None = None,
    branch: Sequence[bytes] = (),
    tag: int = 0,
) -> Draft:
    """A template.

    Args:
        script_sig: its bytes before the 16 of the extranonce.
        outputs: scripts of the outputs before the marker's, each paying its place plus one.
        payout_at: which of them is the miner's: its script is left out, whatever it is.
        tag: makes templates differ, by their parent.
    """
    data = VERSION_LE + b"\x01" + bytes(32) + SEQUENCE
    data += bytes([len(script_sig) + 16]) + script_sig
    extranonce_at = len(data)
    data += bytes(16) + SEQUENCE + bytes([len(outputs) + 1])
    script_at = 0
    for i, script in enumerate(outputs):
        data += (i + 1).to_bytes(8, "little")
        if i == payout_at:
            script_at = len(data)
        else:
            data += bytes([len(script)]) + script
    data += MARKER_OUTPUT + LOCKTIME
    prev_hash_le = sha256d(b"parent" + be32(tag))
    nbits_le = bytes.fromhex("ffff001d")
    row = TemplateRow(age, prev_hash_le, nbits_le, script_at, data, tuple(branch))
    return Draft(row, extranonce_at)


def find(
    template: Draft,
    miner: MinerRow,
    work_of_age: Callable[[int], bytes],
    serial: tuple[int, int],
    accept: Callable[[bytes], bool] | None = None,
) -> Share:
    """The share with the lowest nonce: of `miner`, on `template`, its extranonce made of `serial`.

    Args:
        work_of_age: commitment of the step so many steps before.
        accept: a condition on H, instead of its target.
    """
    row = template.row
    extranonce = be32(serial[0]) + b"pool" + be64(serial[1])
    entry = Entry(0, 0, extranonce, bytes.fromhex("00e0ff2f"), be32(serial[1]), bytes(4), (0,))
    marker = work.marker(work_of_age(row.age), miner.miner, miner.bits)
    coinbase = bytearray(row.coinbase)
    coinbase[template.extranonce_at : template.extranonce_at + 16] = extranonce
    marker_at = len(coinbase) - template.marker_from_end
    coinbase[marker_at : marker_at + 32] = marker
    if row.script_at:
        coinbase[row.script_at : row.script_at] = bytes([len(miner.script)]) + miner.script
    node = sha256d(bytes(coinbase))
    for sibling in row.branch:
        node = sha256d(node + sibling)
    head = entry.version_le + row.prev_hash_le + node + entry.ntime_le + row.nbits_le
    nonce = 0
    while True:
        nonce_le = nonce.to_bytes(4, "little")
        hash_ = sha256d(head + nonce_le)
        if accept(hash_) if accept else work.meets(hash_, miner.bits):
            return Share(hash_, row, miner, replace(entry, nonce_le=nonce_le))
        nonce += 1
