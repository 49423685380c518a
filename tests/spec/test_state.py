from __future__ import annotations

import hashlib
import struct
from dataclasses import replace
from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potnode.spec import tree
from potnode.spec.errors import InvalidJob, SpecError
from potnode.spec.layers import Linear
from potnode.spec.manifest import MASTER_LIMIT, MAX_STD, Imported, Manifest, Seeded, Weights
from potnode.spec.network import forward_weight
from potnode.spec.state import (
    CHUNK,
    State,
    check_imported,
    initial_state,
    state_leaves,
    state_root,
)
from potnode.spec.vectors.models import example_manifests
from tests.spec.cases import PRECISIONS, model

FROZEN = example_manifests()["frozen"]
master = st.integers(-MASTER_LIMIT, MASTER_LIMIT)
momentum = st.integers(-(2**24) + 1, 2**24 - 1)


def _leaf(masters: list[int], momenta: list[int], weights: Weights) -> bytes:
    exact = hashlib.sha256(struct.pack("<128i", *masters) + struct.pack("<128i", *momenta)).digest()
    forward = struct.pack("128b", *(forward_weight(m, weights) for m in masters))
    return hashlib.sha256(b"\x00" + exact + forward).digest()


@given(st.lists(st.tuples(master, momentum), min_size=1, max_size=300), st.sampled_from(PRECISIONS))
def test_leaves_are_chunks_of_a_tensor_padded_with_zeros(
    pairs: list[tuple[int, int]], weights: Weights
) -> None:
    masters, momenta = ([p[i] for p in pairs] for i in (0, 1))
    state = State((tuple(masters), (5,)), (tuple(momenta), (6,)))
    pad = -len(pairs) % CHUNK
    padded_masters, padded_momenta = masters + [0] * pad, momenta + [0] * pad
    expected = [
        _leaf(padded_masters[at : at + CHUNK], padded_momenta[at : at + CHUNK], weights)
        for at in range(0, len(padded_masters), CHUNK)
    ]
    expected.append(
        _leaf([5] + [0] * 127, [6] + [0] * 127, weights)
    )  # each tensor starts a new chunk
    assert state_leaves(state, weights) == expected
    assert state_root(state, weights) == tree.root(expected)


def test_initial_weights_are_sums_of_hashed_bytes() -> None:
    seed, std, mean = bytes(range(32)), (0, 0, 5000, 70, 3, 0), (0, 9, -800, 0, 0, -32512)
    manifest = replace(FROZEN, initial=Seeded(seed, std, mean))
    masters = initial_state(manifest).masters
    for t in range(6):
        digest = hashlib.sha256(b"potnode/1/init" + seed + bytes([0, t]) + bytes(4)).digest()
        for i in (0, 1):
            exact = (sum(digest[12 * i : 12 * i + 12]) - 1530) * std[t]
            assert masters[t][i] == mean[t] + (exact + 128) // 256
    assert [len(m) for m in masters] == [prod(shape) for shape in manifest.tensors]
    assert masters[1] == (9,) * 13
    assert initial_state(manifest).momenta == tuple((0,) * len(m) for m in masters)


def test_initial_weights_have_the_deviation_asked_for() -> None:
    manifest = replace(
        model((Linear(20, 8, "none"),), (1000,)), initial=Seeded(bytes(32), (MAX_STD, 0), (0, 0))
    )
    masters = initial_state(manifest).masters[0]
    deviation = (sum(m * m for m in masters) / len(masters)) ** 0.5
    assert abs(sum(masters) / len(masters)) < 0.03 * MAX_STD
    assert 0.98 * MAX_STD < deviation < 1.02 * MAX_STD
    assert max(map(abs, masters)) <= MASTER_LIMIT
    assert (1530 * MAX_STD + 128) >> 8 <= MASTER_LIMIT < (1530 * (MAX_STD + 1) + 128) >> 8


def _imported(values: list[int]) -> tuple[Manifest, bytes]:
    """A model of 3 x 2 weights and 2 biases that starts from a file of these values."""
    data = struct.pack(f"<{len(values)}i", *values)
    manifest = model((Linear(2, 3, "none"),), (3,))
    return replace(manifest, initial=Imported(hashlib.sha256(data).digest())), data


def test_imported_weights_are_masters_tensor_by_tensor() -> None:
    manifest, data = _imported([1, -2, 32512, -32512, 0, 70000 // 4, -7, 256])
    state = initial_state(manifest, data)
    assert state.masters == ((1, -2, 32512, -32512, 0, 17500), (-7, 256))
    assert state.momenta == ((0,) * 6, (0,) * 2)
    assert check_imported(manifest, data) == data


def test_a_wrong_file_of_weights_is_refused() -> None:
    manifest, data = _imported([0] * 8)
    with pytest.raises(
        InvalidJob, match="in the file with SHA-256 " + hashlib.sha256(data).hexdigest()
    ):
        initial_state(manifest)
    with pytest.raises(InvalidJob, match="in the file with SHA-256"):
        initial_state(manifest, data[:-1] + b"\x01")
    for count in (7, 9):
        manifest, data = _imported([0] * count)
        with pytest.raises(InvalidJob, match=f"has 32 bytes, not {4 * count}"):
            initial_state(manifest, data)
    for value in (32513, -32513, -(2**31)):
        manifest, data = _imported([*[0] * 7, value])
        with pytest.raises(InvalidJob, match="go beyond 32512"):
            initial_state(manifest, data)
    with pytest.raises(InvalidJob, match="come from a seed, not from a file"):
        check_imported(FROZEN, data)


def test_a_state_without_weights_has_no_root() -> None:
    with pytest.raises(SpecError):
        state_root(State((), ()), PRECISIONS[0])
