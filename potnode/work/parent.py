"""The Bitcoin block a template belongs to, and its bytes once a header is found.

Responsible for what submitblock needs beyond the header and the coinbase that were hashed. Not for
where transactions come from (`potnode.work.gbt`).
"""

from __future__ import annotations

from dataclasses import dataclass

from potnode.spec.hashing import sha256d

# BIP141: a coinbase's witness is one item of 32 bytes, and where there is a witness commitment it
# is there. The commitment covers the value; zero is what every template's commitment is made for.
RESERVED_VALUE = bytes(32)
_COINBASE_WITNESS = b"\x01\x20" + RESERVED_VALUE
_MARKER_AND_FLAG = b"\x00\x01"  # BIP144
_LOCKTIME_SIZE = 4


@dataclass(frozen=True, slots=True)
class ParentBlock:
    """What a block of this template has besides header and coinbase.

    height: of the block. transactions: whole serialisations, witnesses included, in order, without
    the coinbase; successive templates share them. segwit: the coinbase has a witness commitment.
    """

    height: int
    transactions: tuple[bytes, ...]
    segwit: bool

    def block(self, header80: bytes, coinbase_legacy: bytes) -> bytes:
        """The block as submitblock and the network take it.

        Args:
            header80: the header as hashed.
            coinbase_legacy: the stripped coinbase as hashed, holes filled.
        """
        coinbase = add_witness(coinbase_legacy) if self.segwit else coinbase_legacy
        count = compact_size(1 + len(self.transactions))
        return b"".join((header80, count, coinbase, *self.transactions))


def add_witness(coinbase_legacy: bytes) -> bytes:
    """The coinbase in BIP144's form, with the reserved value as its witness."""
    return b"".join(
        (
            coinbase_legacy[:4],
            _MARKER_AND_FLAG,
            coinbase_legacy[4:-_LOCKTIME_SIZE],
            _COINBASE_WITNESS,
            coinbase_legacy[-_LOCKTIME_SIZE:],
        )
    )


def block_hash(header80: bytes) -> str:
    """A block's hash as people and bitcoind write it: the digest's bytes reversed, in hex."""
    return sha256d(header80)[::-1].hex()


def compact_size(number: int) -> bytes:
    """A count as Bitcoin serialises it, 0..2^32 - 1."""
    if number < 0xFD:
        return bytes([number])
    if number <= 0xFFFF:
        return b"\xfd" + number.to_bytes(2, "little")
    return b"\xfe" + number.to_bytes(4, "little")
