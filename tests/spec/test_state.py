from __future__ import annotations

import hashlib
import struct
from dataclasses import replace
from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potnode.spec import tree
from potnode.spec.errors import SpecError
from potnode.spec.manifest import MAX_STD, Linear, Manifest
from potnode.spec.network import forward_weight
from potnode.spec.search import MASTER_LIMIT
from potnode.spec.state import CHUNK, State, initial_state, state_leaves, state_root, step
from potnode.spec.vectors.ledger import Ledger
from potnode.spec.vectors.numbers import example_manifests

FROZEN = example_manifests()["frozen"]
master = st.integers(-MASTER_LIMIT, MASTER_LIMIT)
momentum = st.integers(-(2**24) + 1, 2**24 - 1)


def _leaf(masters: list[int], momenta: list[int]) -> bytes:
    exact = hashlib.sha256(struct.pack("<128i", *masters) + struct.pack("<128i", *momenta)).digest()
    forward = struct.pack("128b", *(forward_weight(m) for m in masters))
    return hashlib.sha256(b"\x00" + exact + forward).digest()


@given(st.lists(st.tuples(master, momentum), min_size=1, max_size=300))
def test_leaves_are_chunks_of_a_tensor_padded_with_zeros(pairs: list[tuple[int, int]]) -> None:
    masters, momenta = ([p[i] for p in pairs] for i in (0, 1))
    state = State((tuple(masters), (5,)), (tuple(momenta), (6,)))
    pad = -len(pairs) % CHUNK
    padded_masters, padded_momenta = masters + [0] * pad, momenta + [0] * pad
    expected = [
        _leaf(padded_masters[at : at + CHUNK], padded_momenta[at : at + CHUNK])
        for at in range(0, len(padded_masters), CHUNK)
    ]
    expected.append(_leaf([5] + [0] * 127, [6] + [0] * 127))  # each tensor starts a new chunk
    assert state_leaves(state) == expected
    assert state_root(state) == tree.root(expected)


def test_initial_weights_are_sums_of_hashed_bytes() -> None:
    seed = bytes(range(32))
    digest = hashlib.sha256(b"potnode/1/init" + seed + bytes([0, 2]) + bytes(4)).digest()
    manifest = replace(FROZEN, seed=seed)
    masters = initial_state(manifest).masters
    std = manifest.std[2]
    for i in (0, 1):
        exact = (sum(digest[12 * i : 12 * i + 12]) - 1530) * std
        assert masters[2][i] == (exact + 128) // 256
    assert [len(m) for m in masters] == [prod(shape) for shape in manifest.tensors]
    assert masters[1] == (0,) * 13
    assert initial_state(manifest).momenta == tuple((0,) * len(m) for m in masters)


def test_initial_weights_have_the_deviation_asked_for() -> None:
    manifest = Manifest(
        dataset="wide",
        layers=(Linear(1000, 20, 8, "none"),),
        train=(0,),
        seed=bytes(32),
        std=(MAX_STD, 0),
        perturbation_shift=0,
        rule="momentum",
        eta0=1,
        eta1=1,
    )
    masters = initial_state(manifest).masters[0]
    deviation = (sum(m * m for m in masters) / len(masters)) ** 0.5
    assert abs(sum(masters) / len(masters)) < 0.03 * MAX_STD
    assert 0.98 * MAX_STD < deviation < 1.02 * MAX_STD
    assert max(map(abs, masters)) <= MASTER_LIMIT
    assert (1530 * MAX_STD + 128) >> 8 <= MASTER_LIMIT < (1530 * (MAX_STD + 1) + 128) >> 8


def test_only_trained_tensors_move() -> None:
    before = initial_state(FROZEN)
    hashes = [hashlib.sha256(bytes([i])).digest() for i in range(5)]
    after = step(FROZEN, before, hashes, [100, 200, 300, 250, 90], number=0, step_limit=9)
    for t in range(len(FROZEN.tensors)):
        moved = (before.masters[t], before.momenta[t]) != (after.masters[t], after.momenta[t])
        assert moved == (t in FROZEN.train)
    assert state_root(after) != state_root(before)


def test_a_step_of_equal_losses_from_rest_changes_nothing() -> None:
    before = initial_state(FROZEN)
    hashes = [hashlib.sha256(bytes([i])).digest() for i in range(3)]
    assert step(FROZEN, before, hashes, [7, 7, 7], number=3, step_limit=9) == before


def test_a_hash_belongs_to_its_loss(four: Ledger) -> None:
    before = four.states[0]
    hashes, losses = four.hashes[0], [entry.loss for entry in four.records[0].entries]
    after = step(four.manifest, before, hashes, losses, number=0, step_limit=6)
    assert after == four.states[1]
    both = list(zip(hashes, losses, strict=True))[::-1]
    turned = step(
        four.manifest, before, [h for h, _ in both], [v for _, v in both], number=0, step_limit=6
    )
    assert turned == after  # a sum does not depend on the order
    crossed = step(four.manifest, before, hashes[::-1], losses, number=0, step_limit=6)
    assert crossed != after


def test_the_number_of_a_step_sets_its_size() -> None:
    before = initial_state(FROZEN)
    hashes = [hashlib.sha256(bytes([i])).digest() for i in range(4)]
    early, late = (
        step(FROZEN, before, hashes, [1, 2, 3, 9], number=n, step_limit=9) for n in (0, 8)
    )
    assert early.momenta == late.momenta
    assert early.masters != late.masters


def test_a_state_without_weights_has_no_root() -> None:
    with pytest.raises(SpecError):
        state_root(State((), ()))
