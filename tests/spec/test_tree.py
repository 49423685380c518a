from __future__ import annotations

import hashlib

import pytest

from potnode.spec import tree
from potnode.spec.errors import SpecError

LEAVES = [hashlib.sha256(bytes([i])).digest() for i in range(33)]


def _naive_root(level: list[bytes]) -> bytes:
    if len(level) == 1:
        return level[0]
    pairs = [level[i : i + 2] for i in range(0, len(level), 2)]
    return _naive_root(
        [p[0] if len(p) == 1 else hashlib.sha256(b"\x01" + p[0] + p[1]).digest() for p in pairs]
    )


@pytest.mark.parametrize("count", range(1, 34))
def test_every_proof_of_every_tree_leads_to_its_root(count: int) -> None:
    leaves = LEAVES[:count]
    root = tree.root(leaves)
    assert root == _naive_root(leaves)
    for index, leaf in enumerate(leaves):
        siblings = tree.proof(leaves, index)
        assert tree.root_from_proof(leaf, index, count, siblings) == root
        for other in range(count):
            if other != index and len(tree.proof(leaves, other)) == len(siblings):
                assert tree.root_from_proof(leaf, other, count, siblings) != root


@pytest.mark.parametrize("count", [1, 2, 5, 8, 13])
def test_a_proof_of_another_length_is_refused(count: int) -> None:
    siblings = tree.proof(LEAVES[:count], count - 1)
    with pytest.raises(SpecError, match="too many"):
        tree.root_from_proof(LEAVES[count - 1], count - 1, count, [*siblings, LEAVES[0]])
    if siblings:
        with pytest.raises(SpecError, match="too few"):
            tree.root_from_proof(LEAVES[count - 1], count - 1, count, siblings[:-1])


def test_an_odd_node_is_carried_up_not_doubled() -> None:
    # Doubling it, as Bitcoin does, would give two lists of leaves one root (CVE-2012-2459).
    assert tree.root(LEAVES[:3]) != tree.root([*LEAVES[:3], LEAVES[2]])
    assert tree.proof(LEAVES[:3], 2) == [tree.root(LEAVES[:2])]


def test_a_leaf_that_is_not_there_is_refused() -> None:
    for index in (-1, 3):
        with pytest.raises(SpecError, match="not in a tree"):
            tree.proof(LEAVES[:3], index)
        with pytest.raises(SpecError, match="not in a tree"):
            tree.root_from_proof(LEAVES[0], index, 3, [])
    with pytest.raises(SpecError, match="at least one"):
        tree.root([])
