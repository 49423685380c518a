"""The one Merkle tree of the protocol: SHA-256, tagged, an odd node carried up unchanged.

Used by the dataset (docs/protocol.md section 4) and the model state (section 6). Leaves are hashed
by their owners with tag 0x00; inner nodes with tag 0x01, so neither passes for the other.
Not the Bitcoin merkle tree of a block: that one is in `potnode.spec.work`.
"""

from __future__ import annotations

from collections.abc import Sequence

from potnode.spec.errors import SpecError
from potnode.spec.hashing import sha256

LEAF_TAG = b"\x00"
NODE_TAG = b"\x01"


def _level_above(level: Sequence[bytes]) -> list[bytes]:
    above = [sha256(NODE_TAG + level[i] + level[i + 1]) for i in range(0, len(level) - 1, 2)]
    if len(level) % 2:
        above.append(level[-1])
    return above


def root(leaves: Sequence[bytes]) -> bytes:
    """Root of a tree over leaf hashes (32 bytes each); SpecError where there is none."""
    if not leaves:
        raise SpecError("a Merkle tree needs at least one leaf")
    level = list(leaves)
    while len(level) > 1:
        level = _level_above(level)
    return level[0]


def proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Siblings from leaf `index` up to the root; none for a level where the node is carried up.

    Raises:
        SpecError: there is no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise SpecError(f"leaf {index} is not in a tree of {len(leaves)} leaves")
    level, siblings = list(leaves), []
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            siblings.append(level[sibling])
        level, index = _level_above(level), index // 2
    return siblings


def root_from_proof(leaf: bytes, index: int, count: int, siblings: Sequence[bytes]) -> bytes:
    """The root that `leaf` at `index` of `count` leaves and its siblings lead to.

    Raises:
        SpecError: the index is out of range, or such a tree has another number of siblings there.
    """
    if not 0 <= index < count:
        raise SpecError(f"leaf {index} is not in a tree of {count} leaves")
    node, rest = leaf, list(siblings)
    while count > 1:
        if index ^ 1 < count:
            if not rest:
                raise SpecError("the proof has too few siblings")
            sibling = rest.pop(0)
            node = sha256(NODE_TAG + (sibling + node if index % 2 else node + sibling))
        index, count = index // 2, (count + 1) // 2
    if rest:
        raise SpecError("the proof has too many siblings")
    return node
